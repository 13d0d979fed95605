"""The base of the data modules of running text: a long sequence of tokens for each part."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from tasks.data.permutation import mix_key, random_rows
from tasks.data.sequences.base import IGNORED, Part, Sequences
from tasks.data.split import PARTS
from tasks.data.text.mask import DRAWS, by_frequency, by_neighbours, masked
from tasks.data.text.tokenizer import MASK
from tasks.data.tokens.windows import WindowBatches, Windows
from tasks.errors import ArgumentError, must_be_positive, must_be_share

GAPS = "model/attention=causal, or data.mask=0.15 to fill gaps"
UNMASK = "model/attention=full, or data.mask=0 to predict the next token"
COUNTED = 1_000_000  # tokens of each part that counting reads; more of them change the last digit


class TokenWindows(Sequences):
    """Base of the data modules that cut windows from sequences of tokens.

    A subclass returns the sequence of each part. Windows do not overlap, and every token of a part
    is predicted once, or hidden at most once. A window is cut when a batch asks for it.

    Args:
        length: tokens in a window.
        mask: share of the tokens that are hidden and predicted, in [0, 1); 0: the next token is
            predicted everywhere. Masks of training are new in each epoch, those of validation and
            test stay.
        options: those of `Sequences`.

    Attributes:
        tokens_per_character: of the test part; it converts a loss per token into bits per
            character.
        unknown_bits_per_character: 8 bits for each byte of the test that unknown tokens hide.
    """

    batch_axes: ClassVar[Mapping[str, tuple[str, ...]]] = {"label": ("tokens",)}

    def __init__(self, *, length: int = 128, mask: float = 0.0, **options: Any):
        super().__init__(**options)
        must_be_positive("length", length)
        must_be_share("mask", mask)
        self.length, self.mask = length, mask
        self.direction, self.remedy = "forward", GAPS
        if mask:
            self.direction, self.remedy = "both", UNMASK
        self.windows: dict[str, Windows] = {}
        self.tokens_per_character = self.unknown_bits_per_character = 0.0

    def load(self) -> dict[str, Windows]:
        """Return the windows of each part; sets the tokenizer and what measures the test."""
        raise NotImplementedError

    def read(self) -> None:
        if not self.windows:
            self.windows = self.load()
            if self.mask:
                self._note_counts()

    def bounds(self) -> tuple[int, int]:
        """Return which token of a part comes first, and how far labels are ahead.

        The next token is predicted from the start on, which a mask does not need.
        """
        if self.mask:
            return 1, 0
        return 0, 1

    def check_length(self, part: str, tokens: int) -> None:
        """Raise an ArgumentError if a part with so many tokens has no window."""
        if tokens <= self.length:
            raise ArgumentError(
                "length",
                "the text is shorter than a window",
                got=f"{tokens} tokens in the part {part}, windows of {self.length}",
                fix="a smaller data.length",
            )

    def measure_test(self, *, characters: int, size: int, tokens: int, unknown: int) -> None:
        """Measure what converts a loss per token of the test into bits per character.

        Args:
            characters: of the test part.
            size: its bytes in UTF-8.
            tokens: its tokens.
            unknown: its bytes that unknown tokens stand for.
        """
        self.tokens_per_character = tokens / characters
        self.unknown_bits_per_character = 8 * unknown / characters
        if unknown and not self.mask:
            bits = f"{self.unknown_bits_per_character:.3f} bits per character"
            self.notes.append(
                f"unknown tokens hide {unknown / size:.1%} of the test text: 8 bits a byte, "
                f"{bits}, are added"
            )

    def cut(self, part: str, index: Tensor, epoch: int = 0) -> Part:
        """Return the windows of an index (windows,): "tokens" and "label", (windows, length).

        A mask depends on the window alone: not on the batch, nor on the process that asks for it.
        """
        found = self.windows[part].take(index)
        if not self.mask:
            return found
        key = mix_key(self.split_seed, -PARTS.index(part))
        if part == "train":
            key = mix_key(self.seed, epoch)
        draws = random_rows(key, index, DRAWS * self.length).unflatten(1, (DRAWS, self.length))
        return masked(found, self.mask, self.tokenizer.vocab, draws)

    def _note_counts(self) -> None:
        """Note what counting reaches on the masked tokens of the test."""
        vocab = self.tokenizer.vocab
        known = self.windows["train"].take_first(COUNTED)["tokens"]
        count = len(self.windows["test"].take_first(COUNTED)["tokens"])
        test = self.cut("test", torch.arange(count))
        asked = test["label"]
        common, perplexity = by_frequency(known, asked[asked != IGNORED], vocab)
        before, both = by_neighbours(known, test, vocab)
        self.notes.append(
            f"what counting reaches on the masked test tokens: always the commonest {common:.2%}, "
            f"the commonest after the token before {before:.2%}, "
            f"between both neighbours {both:.2%}; perplexity by frequency {perplexity:.1f}"
        )

    def facts(self) -> dict[str, Any]:
        self.read()
        vocab = self.tokenizer.vocab
        tokens = {"tokens": self.length, "dtype": "int", "vocab": vocab}
        found: dict[str, Any] = {"tokens": tokens, "vocab": vocab}
        if self.mask:
            found["mask"] = self.mask
        return found

    def sizes(self) -> dict[str, int]:
        return {part: len(windows) for part, windows in self.windows.items()}

    def loader(self, part: str) -> WindowBatches:
        def cut(index: Tensor, epoch: int) -> Part:
            return self.cut(part, index, epoch)

        return WindowBatches(cut, self.batch_size, self.order(part))

    def shown(self, ids: list[int]) -> str:
        pieces: list[list[int]] = [[]]
        for number in ids:
            if number == MASK:
                pieces.append([])
            else:
                pieces[-1].append(number)
        return "▢".join(map(self.tokenizer.decode, pieces))

    def answers(self, ids: list[int]) -> str:
        if self.mask:
            return " · ".join(map(self.tokenizer.name, ids))
        return self.shown(ids)
