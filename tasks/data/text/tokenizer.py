"""Encode and decode texts: characters, bytes, words or byte pairs, by the library `tokenizers`."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Literal

import numpy as np
from tokenizers import Regex
from tokenizers import Tokenizer as Trained
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.decoders import Fuse
from tokenizers.models import BPE, WordLevel
from tokenizers.pre_tokenizers import ByteLevel, Split
from tokenizers.trainers import BpeTrainer, WordLevelTrainer

from blocks.support.files import read_file
from tasks.errors import ArgumentError, must_be_one_of

SPECIAL = ("<pad>", "<start>", "<end>", "<unknown>", "<mask>")
PAD, START, END, UNKNOWN, MASK = range(len(SPECIAL))
PIECE = 500_000  # characters
BYTES = 256
KINDS = ("characters", "bytes", "words", "bpe")
CHARACTERS = "(?m:.)"
# a word, or a single mark; a blank belongs to the word after it, so that nothing is lost
WORDS = r" ?[\p{L}\p{M}\p{N}]+|[^\p{L}\p{M}\p{N}]"


def pieces(texts: Iterable[str]) -> Iterator[str]:
    """Yield the text that consecutive texts make up in pieces that end with a line.

    The library needs hundreds of bytes for each token of a piece. Where the pieces end does not
    depend on where the texts do. A line of a million characters is cut.
    """
    held: list[str] = []
    size = 0
    for text in texts:
        held.append(text)
        size += len(text)
        if size >= 2 * PIECE:
            whole, start = "".join(held), 0
            while len(whole) - start >= 2 * PIECE:
                stop = find_stop(whole, start)
                yield whole[start:stop]
                start = stop
            held = [whole[start:]]
            size = len(held[0])
    whole, start = "".join(held), 0
    while start < len(whole):
        stop = find_stop(whole, start)
        yield whole[start:stop]
        start = stop


def find_stop(text: str, start: int) -> int:
    """Return where the piece ends that begins at `start`."""
    most = start + 2 * PIECE
    return text.find("\n", start + PIECE, most) + 1 or min(most, len(text))


class Tokenizer:
    """A vocabulary, and the rule that splits a text into its entries. Use `train` or `load`.

    Texts that contain "<pad>" are split like any other text: special tokens are added by number
    only.

    Source:
        Byte pairs: Sennrich et al. 2016, arXiv:1508.07909, over bytes as in Radford et al. 2019
            (GPT-2).
    """

    def __init__(self, trained: Trained):
        self.trained = trained
        content = json.loads(trained.to_str())
        cut = content["pre_tokenizer"]
        # the library takes 2 µs for each character or byte, and 300 bytes
        self.characters: dict[str, int] | None = None
        self.bytes: np.ndarray | None = None  # the token of each byte
        if cut.get("pattern") == {"Regex": CHARACTERS}:
            self.characters = trained.get_vocab()
        elif cut["type"] == "ByteLevel" and not content["model"]["merges"]:
            vocab = trained.get_vocab()
            self.bytes = np.array([vocab[sign] for sign in byte_alphabet()], self.dtype)

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        kind: Literal["characters", "bytes", "words", "bpe"],
        size: int = 8000,
    ) -> "Tokenizer":
        """Learn a vocabulary from texts.

        Args:
            texts: what to learn from; the training part alone.
            kind: characters: one token a character, all that occur. bytes: one token a byte of
                UTF-8. words: words with the blank before them, and marks. bpe: pieces of words that
                occur often. With bytes and bpe any text can be encoded.
            size: the most tokens, the special ones included, for words and bpe; bpe needs 261 or
                more.

        Raises:
            ArgumentError: an unknown kind; a size too small.
        """
        must_be_one_of("tokenizer", kind, KINDS)
        if kind == "characters":
            return cls(train_characters(texts))
        if kind == "bytes":
            return cls._without_special_search(train_bpe((), len(SPECIAL) + BYTES))
        if kind == "words":
            return cls._without_special_search(train_words(texts, size))
        return cls._without_special_search(train_bpe(texts, size))

    @classmethod
    def _without_special_search(cls, trained: Trained) -> "Tokenizer":
        """Turn off the search for special tokens in texts, which would read "<pad>" as padding."""
        content = json.loads(trained.to_str())
        content["added_tokens"] = []
        return cls(Trained.from_str(json.dumps(content)))

    @property
    def vocab(self) -> int:
        """The number of tokens."""
        return self.trained.get_vocab_size()

    @property
    def dtype(self) -> str:
        """The smallest type of NumPy that holds all tokens, in little-endian order."""
        if self.vocab <= 1 << 16:
            return "<u2"
        return "<u4"

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text, without start and end."""
        if self.characters is not None:
            known = self.characters
            return [known.get(sign, UNKNOWN) for sign in text]
        if self.bytes is not None:
            return self.encode_array(text).tolist()
        ids: list[int] = []
        for piece in pieces([text]):
            ids += self.trained.encode(piece, add_special_tokens=False).ids
        return ids

    def encode_array(self, text: str) -> np.ndarray:
        """Return the tokens of a long text as an array of `dtype`."""
        if self.bytes is not None:
            return self.bytes[np.frombuffer(text.encode(), np.uint8)]
        found = [np.array(self.encode(piece), self.dtype) for piece in pieces([text])]
        return np.concatenate([np.empty(0, self.dtype), *found])

    def unknown_bytes(self, text: str) -> int:
        """Return how many bytes of a text, in UTF-8, the unknown tokens stand for."""
        if self.characters is not None:
            return sum(len(sign.encode()) for sign in text if sign not in self.characters)
        if isinstance(self.trained.decoder, ByteLevelDecoder):
            return 0  # every byte has a token
        total = 0
        for piece in pieces([text]):
            found = self.trained.encode(piece, add_special_tokens=False)
            for number, (start, end) in zip(found.ids, found.offsets, strict=True):
                if number == UNKNOWN:
                    total += len(piece[start:end].encode())
        return total

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of tokens; special ones are left out."""
        return self.trained.decode([number for number in ids if number >= len(SPECIAL)])

    def name(self, number: int) -> str:
        """Return one token as text; raises ArgumentError for a number that no token has."""
        if not 0 <= number < self.vocab:
            got, fits = f"{number}", f"0 to {self.vocab - 1}"
            raise ArgumentError("number", "no token has this number", got=got, fits=fits)
        if number < len(SPECIAL):
            return SPECIAL[number]
        return self.decode([number])

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        path.write_text(self.trained.to_str(), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> "Tokenizer":
        """Read what `save` wrote; raises ArgumentError for anything else."""
        try:
            trained = Trained.from_str(read_file(path).decode("utf-8"))
        except Exception as error:  # the library raises Exception itself
            raise ArgumentError("tokenizer", f"{path} is no tokenizer: {error}") from error
        if list(map(trained.id_to_token, range(len(SPECIAL)))) != list(SPECIAL):
            fits = f"first tokens {' '.join(SPECIAL)}"
            raise ArgumentError("tokenizer", f"{path} is not one of ours", fits=fits)
        return cls(trained)


def train_characters(texts: Iterable[str]) -> Trained:
    """Return a vocabulary of all characters, the commonest first."""
    counts = Counter(chain.from_iterable(texts))
    found = sorted(counts, key=lambda sign: (-counts[sign], sign))
    vocab = {name: number for number, name in enumerate((*SPECIAL, *found))}
    return split_by(Trained(WordLevel(vocab, SPECIAL[UNKNOWN])), CHARACTERS)


def train_words(texts: Iterable[str], size: int) -> Trained:
    """Return a vocabulary of the commonest words and marks."""
    trained = split_by(Trained(WordLevel(unk_token=SPECIAL[UNKNOWN])), WORDS)
    trainer = WordLevelTrainer(vocab_size=size, special_tokens=list(SPECIAL), show_progress=False)
    trained.train_from_iterator(cut_each(texts), trainer)
    return trained


def train_bpe(texts: Iterable[str], size: int) -> Trained:
    """Return a vocabulary of bytes and of the pairs that occur most often."""
    least = len(SPECIAL) + BYTES
    if size < least:
        got, fits = f"vocab={size}", f"{least} or more"
        raise ArgumentError("vocab", "bpe starts from the 256 bytes", got=got, fits=fits)
    trained = Trained(BPE())
    trained.pre_tokenizer = ByteLevel(add_prefix_space=False)
    trained.decoder = ByteLevelDecoder()
    trainer = BpeTrainer(
        vocab_size=size,
        special_tokens=list(SPECIAL),
        initial_alphabet=sorted(ByteLevel.alphabet()),
        show_progress=False,
    )
    trained.train_from_iterator(cut_each(texts), trainer)
    return trained


def cut_each(texts: Iterable[str]) -> Iterator[str]:
    """Yield the pieces of each text; none holds parts of two texts."""
    for text in texts:
        yield from pieces([text])


def byte_alphabet() -> list[str]:
    """Return the sign by which a vocabulary of bytes writes each byte.

    Source:
        Radford et al. 2019 (GPT-2): bytes that are printed stand for themselves, the others are the
        signs from U+0100 on.
    """
    printed = {
        *range(ord("!"), ord("~") + 1),
        *range(ord("¡"), ord("¬") + 1),
        *range(ord("®"), 256),
    }
    signs = []
    others = 0
    for byte in range(BYTES):
        if byte in printed:
            signs.append(chr(byte))
        else:
            signs.append(chr(BYTES + others))
            others += 1
    return signs


def split_by(trained: Trained, pattern: str) -> Trained:
    """Make each match of a pattern a token; all tokens together are the text."""
    trained.pre_tokenizer = Split(Regex(pattern), "isolated")
    trained.decoder = Fuse()
    return trained
