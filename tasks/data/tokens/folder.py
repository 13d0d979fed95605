"""A folder of tokens that `python -m tasks tokenize` wrote, mapped into memory."""

from pathlib import Path
from typing import Any

import numpy as np

from blocks.support.files import open_file
from tasks.data.base import TOKENIZER
from tasks.data.split import PARTS
from tasks.data.text.tokenizer import Tokenizer
from tasks.data.tokens.header import (
    HEADER,
    Header,
    hash_tokenizer,
    part_file,
    read_header,
)
from tasks.data.tokens.module import TokenWindows
from tasks.data.tokens.windows import Windows
from tasks.errors import ArgumentError, SampleError


class FileWindows(Windows):
    """Windows of a file.

    Args:
        path: the file, for messages.
        vocab: what all tokens are below; checked where they are read.
        options: those of `Windows`.
    """

    def __init__(self, path: Path, vocab: int, **options: Any):
        super().__init__(**options)
        self.path, self.vocab = path, vocab

    def read(self, places: np.ndarray) -> np.ndarray:
        found = super().read(places)
        if found.max() >= self.vocab:
            place = int(places[found >= self.vocab][0])
            raise SampleError(
                f"{self.path} is damaged: token {self.ids[place]} at place {place:,}, "
                f"not below {self.vocab:,}"
            )
        return found


class TokenFolder(TokenWindows):
    """A folder of tokens: `data=tokens data.path=FOLDER`.

    Its files are mapped into memory: the system reads the pages that a batch needs and forgets
    them, so that the memory of a training does not grow with the corpus. Tokenizer and split are
    those that the folder was written with.

    Args:
        path: the folder.
        options: those of `TokenWindows`.
    """

    quick = True

    def __init__(self, path: str, **options: Any):
        super().__init__(**options)
        self.path = Path(path).expanduser()

    def load(self) -> dict[str, Windows]:
        header = read_header(self.path)
        self.tokenizer = self._check_tokenizer(header)
        test = header.parts["test"]
        self.measure_test(
            characters=test.characters,
            size=test.bytes,
            tokens=test.tokens - 1,
            unknown=test.unknown_bytes,
        )
        total = sum(part.tokens for part in header.parts.values())
        self.notes += [
            *header.notes,
            f"{header.documents:,} documents, {total:,} tokens of {header.vocab:,} "
            f"({header.kind}), split with val={header.split['val']}, test={header.split['test']}",
        ]
        if not self.mask:
            self.notes.append(f"the test text compressed: {header.compressed}")
        return {part: self._map_part(header, part) for part in PARTS}

    def _check_tokenizer(self, header: Header) -> Tokenizer:
        """Return the tokenizer of the folder, which must be that of the run if there is one."""
        path = self.path / TOKENIZER
        tokenizer = Tokenizer.load(path)
        if tokenizer.vocab != header.vocab or hash_tokenizer(tokenizer) != header.tokenizer:
            raise ArgumentError(
                "path",
                f"{path} is not the tokenizer that the folder was written with",
                got=f"SHA-256 {hash_tokenizer(tokenizer)[:12]}, {tokenizer.vocab:,} tokens",
                fits=f"SHA-256 {header.tokenizer[:12]}, {header.vocab:,} tokens, as in {HEADER}",
            )
        run = self.tokenizer
        if run is not None and hash_tokenizer(run) != header.tokenizer:
            raise ArgumentError(
                "path",
                f"{self.path} was written with another tokenizer than the run's",
                got=f"{header.kind}, {header.vocab:,} tokens, SHA-256 {header.tokenizer[:12]}",
                fits=f"{run.vocab:,} tokens, SHA-256 {hash_tokenizer(run)[:12]}",
                fix="python -m tasks tokenize FILES -o FOLDER --tokenizer RUN",
            )
        return tokenizer

    def _map_part(self, header: Header, part: str) -> Windows:
        """Return the windows of a part; raises ArgumentError if its file is missing or cut off."""
        path, tokens = part_file(self.path, part), header.parts[part].tokens
        self.check_length(part, tokens - 1)
        expected = tokens * np.dtype(header.dtype).itemsize
        try:
            with open_file(path) as file:
                size = file.seek(0, 2)
                if size == expected:
                    ids = np.memmap(file, header.dtype, "r", shape=(tokens,))
        except OSError as error:
            raise ArgumentError("path", f"{path} cannot be read: {error.strerror}") from error
        if size != expected:
            raise ArgumentError(
                "path",
                f"{path} is cut off or damaged",
                got=f"{size:,} bytes",
                fits=f"{expected:,} bytes, {tokens:,} tokens, as {HEADER} states",
                fix=f"python -m tasks tokenize FILES -o {self.path}, after it is removed",
            )
        first, ahead = self.bounds()
        return FileWindows(path, header.vocab, ids=ids[first:], length=self.length, ahead=ahead)
