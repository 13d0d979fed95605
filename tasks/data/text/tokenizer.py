"""Texts to numbers and back: characters, words or byte pairs, by the library `tokenizers`."""

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
# A word, or a single mark; blanks go with the word behind them, so that nothing is lost.
CHARACTERS = "(?m:.)"
WORDS = r" ?[\p{L}\p{M}\p{N}]+|[^\p{L}\p{M}\p{N}]"


def pieces(text: str) -> Iterator[str]:
    """A long text in pieces that end with a line, as the library needs hundreds of bytes for each
    token of a piece.
    """
    start = 0
    while start < len(text):
        stop = text.find("\n", start + PIECE) + 1 or len(text)
        yield text[start:stop]
        start = stop


class Tokenizer:
    """A vocabulary, and the rule that cuts a text into its entries. Use `train` or `load`.

    Texts that happen to hold "<pad>" are cut like any other text: special tokens are added by
    number only.

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
                before them, and marks. bpe: pieces of words that occur often; any text at all can
                be written.
            size: at most so many tokens, the special ones included, for words and bpe; bpe needs
                261 or more.

        Raises:
            ArgumentError: an unknown kind; a size too small.
        """
        must_be_one_of("tokenizer", kind, KINDS)
        if kind == "bpe":
            least = len(SPECIAL) + 256
            if size < least:
                raise ArgumentError(
                    "vocab",
                    "bpe starts from the 256 bytes",
                    got=f"vocab={size}",
                    fits=f"{least} or more",
                )
            trained = Trained(BPE())
            trained.pre_tokenizer = ByteLevel(add_prefix_space=False)
            trained.decoder = ByteLevelDecoder()
            alphabet = sorted(ByteLevel.alphabet())
            trainer = BpeTrainer(
                vocab_size=size,
                special_tokens=list(SPECIAL),
                initial_alphabet=alphabet,
                show_progress=False,
            )
            trained.train_from_iterator(
                (piece for text in texts for piece in pieces(text)), trainer
            )
            return cls._plain(trained)
        if kind == "characters":
            counts = Counter(chain.from_iterable(texts))
            found = sorted(counts, key=lambda sign: (-counts[sign], sign))
            model = WordLevel(
                {name: number for number, name in enumerate((*SPECIAL, *found))}, SPECIAL[UNKNOWN]
            )
            return cls(cls._cut(Trained(model), CHARACTERS))
        trained = cls._cut(Trained(WordLevel(unk_token=SPECIAL[UNKNOWN])), WORDS)
        words = WordLevelTrainer(vocab_size=size, special_tokens=list(SPECIAL), show_progress=False)
        trained.train_from_iterator((piece for text in texts for piece in pieces(text)), words)
        return cls._plain(trained)

    @classmethod
    def _cut(cls, trained: Trained, pattern: str) -> Trained:
        """With the rule that what the pattern finds is a token, and all tokens together are the
        text.
        """
        trained.pre_tokenizer = Split(Regex(pattern), "isolated")
        trained.decoder = Fuse()
        return trained

    @classmethod
    def _plain(cls, trained: Trained) -> "Tokenizer":
        """Without the library's search for special tokens in texts, which would read "<pad>" as
        padding.
        """
        content = json.loads(trained.to_str())
        content["added_tokens"] = []
        return cls(Trained.from_str(json.dumps(content)))

    @property
    def vocab(self) -> int:
        """How many tokens there are."""
        return self.trained.get_vocab_size()

    def encode(self, text: str) -> list[int]:
        """The tokens of a text, without start and end."""
        if self.characters is not None:  # the library takes 2 µs for each, and 300 bytes
            known = self.characters
            return [known.get(sign, UNKNOWN) for sign in text]
        return [
            number
            for piece in pieces(text)
            for number in self.trained.encode(piece, add_special_tokens=False).ids
        ]

    def unknown_bytes(self, text: str) -> int:
        """How many bytes of a text, in UTF-8, its tokens do not tell: what the unknown tokens stand
        for.
        """
        if self.characters is not None:
            return sum(len(sign.encode()) for sign in text if sign not in self.characters)
        total = 0
        for piece in pieces(text):
            found = self.trained.encode(piece, add_special_tokens=False)
            spans = zip(found.ids, found.offsets, strict=True)
            total += sum(
                len(piece[start:end].encode())
                for number, (start, end) in spans
                if number == UNKNOWN
            )
        return total

    def decode(self, ids: Iterable[int]) -> str:
        """The text of tokens; special ones are left out."""
        return self.trained.decode([number for number in ids if number >= len(SPECIAL)])

    def name(self, number: int) -> str:
        """One token as people read it; raises ArgumentError for a number that no token has."""
        if not 0 <= number < self.vocab:
            raise ArgumentError(
                "number", "no token has this number", got=f"{number}", fits=f"0 to {self.vocab - 1}"
            )
        return SPECIAL[number] if number < len(SPECIAL) else self.decode([number])

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
        if [trained.id_to_token(number) for number in range(len(SPECIAL))] != list(SPECIAL):
            raise ArgumentError(
                "tokenizer", f"{path} is not one of ours", fits=f"first tokens {' '.join(SPECIAL)}"
            )
        return cls(trained)
