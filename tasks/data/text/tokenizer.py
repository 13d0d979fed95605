"""Encode and decode texts: characters, words or byte pairs, by the library `tokenizers`."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Literal

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
KINDS = ("characters", "words", "bpe")
CHARACTERS = "(?m:.)"
# a word, or a single mark; a blank belongs to the word after it, so that nothing is lost
WORDS = r" ?[\p{L}\p{M}\p{N}]+|[^\p{L}\p{M}\p{N}]"


def pieces(text: str) -> Iterator[str]:
    """Yield a long text in pieces that end with a line.

    The library needs hundreds of bytes for each token of a piece.
    """
    start = 0
    while start < len(text):
        stop = text.find("\n", start + PIECE) + 1 or len(text)
        yield text[start:stop]
        start = stop


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
        cut = json.loads(trained.to_str())["pre_tokenizer"]
        alone = cut.get("pattern") == {"Regex": CHARACTERS}
        self.characters: dict[str, int] | None = trained.get_vocab() if alone else None

    @classmethod
    def train(
        cls, texts: Iterable[str], kind: Literal["characters", "words", "bpe"], size: int = 8000
    ) -> "Tokenizer":
        """Learn a vocabulary from texts.

        Args:
            texts: what to learn from; the training part alone.
            kind: characters: one token a character, all that occur. words: words with the blank
                before them, and marks. bpe: pieces of words that occur often; any text can be
                encoded.
            size: the most tokens, the special ones included, for words and bpe; bpe needs 261 or
                more.

        Raises:
            ArgumentError: an unknown kind; a size too small.
        """
        must_be_one_of("tokenizer", kind, KINDS)
        if kind == "characters":
            return cls(train_characters(texts))
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

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text, without start and end."""
        if self.characters is not None:  # the library takes 2 µs for each, and 300 bytes
            known = self.characters
            return [known.get(sign, UNKNOWN) for sign in text]
        ids: list[int] = []
        for piece in pieces(text):
            ids += self.trained.encode(piece, add_special_tokens=False).ids
        return ids

    def unknown_bytes(self, text: str) -> int:
        """Return how many bytes of a text, in UTF-8, the unknown tokens stand for."""
        if self.characters is not None:
            return sum(len(sign.encode()) for sign in text if sign not in self.characters)
        total = 0
        for piece in pieces(text):
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
    trained.train_from_iterator(chain.from_iterable(map(pieces, texts)), trainer)
    return trained


def train_bpe(texts: Iterable[str], size: int) -> Trained:
    """Return a vocabulary of bytes and of the pairs that occur most often."""
    least = len(SPECIAL) + 256
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
    trained.train_from_iterator(chain.from_iterable(map(pieces, texts)), trainer)
    return trained


def split_by(trained: Trained, pattern: str) -> Trained:
    """Make each match of a pattern a token; all tokens together are the text."""
    trained.pre_tokenizer = Split(Regex(pattern), "isolated")
    trained.decoder = Fuse()
    return trained
