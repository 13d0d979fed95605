"""Encode a corpus once, into a folder of files that trainings map into memory."""

import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from glob import escape
from pathlib import Path

import numpy as np

from tasks.data.base import TOKENIZER
from tasks.data.split import check_shares
from tasks.data.text.compressed import ENOUGH, compressed
from tasks.data.text.tokenizer import KINDS, START, Tokenizer, pieces
from tasks.data.tokens.corpus import Corpus, find_corpus
from tasks.data.tokens.divide import Share, divide
from tasks.data.tokens.encode import Encoded, Encoder, open_pool
from tasks.data.tokens.header import Header, PartFile, hash_tokenizer, part_file
from tasks.errors import (
    ArgumentError,
    SampleError,
    must_be_one_of,
    must_be_positive,
    must_not_be_negative,
)

Report = Callable[[str, int], None]  # is told the part and how many of its characters are written


@dataclass(frozen=True)
class Options:
    """How a corpus is encoded.

    Args:
        tokenizer: characters, bytes, words or bpe, trained on the training part alone; or a
            tokenizer.json, or a folder that has one.
        vocab: the most different tokens, for words and bpe.
        sample: characters of the training part, from its beginning, that train the tokenizer;
            0: all.
        val: share of the text for validation.
        test: share of the text for the test.
        seed: of the split, as `data.split_seed`.
        processes: how many encode; the result is the same.
    """

    tokenizer: str = "bpe"
    vocab: int = 4000
    sample: int = 0
    val: float = 0.1
    test: float = 0.1
    seed: int = 0
    processes: int = 1

    def __post_init__(self) -> None:
        must_be_positive("vocab", self.vocab)
        must_be_positive("processes", self.processes)
        must_not_be_negative("sample", self.sample)
        check_shares(self.val, self.test)
        if not self.val * self.test:
            raise ArgumentError(
                "val",
                "a training needs text for validation and test",
                got=f"val={self.val}, test={self.test}",
                fits="shares greater than zero",
            )
        if self.given_file is None:
            must_be_one_of("tokenizer", self.tokenizer, (*KINDS, "a tokenizer.json"))

    @property
    def given_file(self) -> Path | None:
        """The file of a tokenizer that is not trained; None where it is."""
        path = Path(self.tokenizer).expanduser()
        if self.tokenizer in KINDS or not path.exists():
            return None
        if path.is_dir():
            return path / TOKENIZER
        return path


def write_tokens(paths: Sequence[Path], folder: Path, options: Options, report: Report) -> Header:
    """Encode documents into a folder, which appears when it is whole.

    Args:
        paths: files, and folders that are read with all below them.
        folder: does not exist yet.
        options: how they are encoded.
        report: is told what is written.

    Raises:
        ArgumentError: the folder exists, a text cannot be read, or a part has no text.
        SampleError: a process ended, or a text changed while it was read.
    """
    if folder.exists():
        raise ArgumentError(
            "output", f"{folder} exists", fits="a new folder", fix="another -o, or remove it"
        )
    with draft_folder(folder) as draft, open_pool(options.processes) as pool:
        corpus = find_corpus(paths, pool)
        shares, notes = divide_corpus(corpus, options)
        tokenizer = find_tokenizer(corpus, shares["train"], options)
        tokenizer.save(draft / TOKENIZER)
        parts = {}
        for part, share in shares.items():
            encoder = Encoder(draft / TOKENIZER, counts_unknown=part == "test")
            text = pieces(share.read(corpus.sizes, corpus.read))
            encoded = pool.map(encoder, text)
            path = part_file(draft, part)
            parts[part] = write_part(path, encoded, tokenizer.dtype, partial(report, part))
            check_unchanged(share, parts[part])
        header = Header(
            dtype=tokenizer.dtype,
            kind=options.tokenizer if options.given_file is None else "given",
            vocab=tokenizer.vocab,
            tokenizer=hash_tokenizer(tokenizer),
            sources=corpus.sha256,
            documents=len(corpus.files),
            split={"val": options.val, "test": options.test, "seed": options.seed},
            parts=parts,
            compressed=compare_compressors(corpus, shares),
            notes=[*corpus.notes, *notes],
        )
        header.write(draft)
    return header


def divide_corpus(corpus: Corpus, options: Options) -> tuple[dict[str, Share], list[str]]:
    """Return the share of each part, and a note if documents are cut.

    Raises:
        ArgumentError: a part has no text.
    """
    shares = {"train": 1 - options.val - options.test, "val": options.val, "test": options.test}
    found, whole = divide(corpus.sizes, shares, options.seed)
    for part, share in found.items():
        if share.stop <= share.start:
            raise ArgumentError(
                "path",
                f"the part {part} has no text",
                got=f"{sum(corpus.sizes):,} characters in {len(corpus.sizes):,} documents",
                fits="a longer corpus",
            )
    notes = []
    if not whole and len(corpus.files) > 1:
        notes.append(
            "the documents are too few or too uneven to stay whole: their text is cut in three"
        )
    return found, notes


def find_tokenizer(corpus: Corpus, share: Share, options: Options) -> Tokenizer:
    """Return the tokenizer that is given, or train it on the beginning of the training part."""
    if options.given_file is not None:
        return Tokenizer.load(options.given_file)
    stop = share.stop
    if options.sample:
        stop = min(stop, share.start + options.sample)
    text = Share(share.documents, share.start, stop).read(corpus.sizes, corpus.read)
    return Tokenizer.train(pieces(text), options.tokenizer, options.vocab)  # type: ignore[arg-type]


def write_part(
    path: Path, encoded: Iterable[Encoded], dtype: str, report: Callable[[int], None]
) -> PartFile:
    """Write the tokens of a part, the start before them.

    Args:
        path: of the file.
        encoded: the pieces of the text, in order.
        dtype: of a token.
        report: is told how many characters are written.
    """
    tokens, characters, size, unknown = 1, 0, 0, 0
    with open(path, "xb") as file:
        file.write(np.array([START], dtype).tobytes())
        for piece in encoded:
            file.write(piece.ids)
            tokens += piece.tokens
            characters += piece.characters
            size += piece.bytes
            unknown += piece.unknown_bytes
            report(characters)
        file.flush()
        os.fsync(file.fileno())
    return PartFile(tokens, characters, size, unknown)


def check_unchanged(share: Share, written: PartFile) -> None:
    """Raise a SampleError if a part has other text than was measured."""
    expected = share.stop - share.start
    if written.characters != expected:
        raise SampleError(
            f"the texts changed while they were read: {written.characters:,} characters, "
            f"not {expected:,}; fix: start again"
        )


def compare_compressors(corpus: Corpus, shares: Mapping[str, Share]) -> str:
    """Describe what general compressors reach on the beginning of the test text."""
    train, test = shares["train"], shares["test"]
    known = replace(train, start=max(train.start, train.stop - ENOUGH))
    asked = replace(test, stop=min(test.stop, test.start + ENOUGH))
    texts = ["".join(share.read(corpus.sizes, corpus.read)) for share in (known, asked)]
    return compressed(texts[0], texts[1])


# The folder ---------------------------------------------------------------------------------------


@contextmanager
def draft_folder(folder: Path) -> Iterator[Path]:
    """Make a folder as a whole: yields a draft beside it, which takes its name on success.

    The draft is removed when anything fails; what a killed process left is removed by the next one.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        remove_abandoned(folder)
        draft = folder.with_name(f".{folder.name}.{os.getpid()}.part")
        draft.mkdir()
    except OSError as error:
        text = f"{folder} cannot be written: {error.strerror}"
        raise ArgumentError("output", text, fix="another -o") from error
    try:
        yield draft
        os.replace(draft, folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def remove_abandoned(folder: Path) -> None:
    """Remove the drafts of a folder whose processes have ended."""
    if sys.platform == "win32":
        return  # has no signal that only asks
    for draft in folder.parent.glob(f".{escape(folder.name)}.*.part"):
        number = draft.name.split(".")[-2]
        if number.isdecimal() and not is_running(int(number)):
            shutil.rmtree(draft, ignore_errors=True)


def is_running(process: int) -> bool:
    """Return whether a process of this number is there."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
