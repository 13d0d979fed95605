"""Running text, cut into windows: what a language model learns from."""

import bz2
import gzip
import lzma
from typing import Any, Literal

import torch

from tasks.data.order import generator
from tasks.data.sequences import IGNORED, HeldSequences, Part
from tasks.data.split import PARTS, check_shares
from tasks.data.tokenizer import START, Tokenizer
from tasks.errors import ArgumentError, must_be_one_of, must_be_positive


class HeldText(HeldSequences):
    """Base of the data modules of running text: a subclass reads documents, this one splits and cuts them.

    Whole documents go to one part. Windows do not overlap, and every token of a part is foreseen once.

    Args:
        length: tokens in a window.
        tokenizer: characters, words or bpe; trained on the training part alone.
        vocab: at most so many different tokens, for bpe and words.
        val: share of the text for validation.
        test: share of the text for the test.
        options: those of `HeldSequences`.
    """

    def __init__(
        self,
        *,
        length: int = 128,
        tokenizer: Literal["characters", "words", "bpe"] = "characters",
        vocab: int = 4000,
        val: float = 0.1,
        test: float = 0.1,
        **options: Any,
    ):
        super().__init__(**options)
        must_be_positive("length", length)
        must_be_positive("vocab", vocab)
        must_be_one_of("tokenizer", tokenizer, ("characters", "words", "bpe"))
        check_shares(val, test)
        self.length, self.kind, self.vocab = length, tokenizer, vocab
        self.shares = {"train": 1 - val - test, "val": val, "test": test}

    def documents(self) -> list[str]:
        """All documents, in an order that does not change."""
        raise NotImplementedError

    def load(self) -> dict[str, Part]:
        texts = self.divide(self.documents())
        self.tokenizer = self.tokenizer or Tokenizer.train([texts["train"]], self.kind, self.vocab)
        ids = {part: self.tokenizer.encode(text) for part, text in texts.items()}
        for part, found in ids.items():
            if len(found) <= self.length:
                got = f"{len(found)} tokens in the part {part}, windows of {self.length}"
                raise ArgumentError("length", "the text is shorter than a window", got=got, fix="a smaller data.length")
        self.tokens_per_character = len(ids["test"]) / len(texts["test"])
        self.notes.append(f"the test text compressed: {compressed(texts['train'], texts['test'])}")
        return {part: self.windows(found) for part, found in ids.items()}

    def divide(self, documents: list[str]) -> dict[str, str]:
        """The text of each part. Documents are dealt out by size; one alone is cut where the shares say."""
        if len(documents) < 3:
            text = "\n".join(documents)
            first, second = (round(len(text) * share) for share in (self.shares["train"], 1 - self.shares["test"]))
            return {"train": text[:first], "val": text[first:second], "test": text[second:]}
        total = sum(map(len, documents))
        found: dict[str, list[str]] = {part: [] for part in PARTS}
        for number in torch.randperm(len(documents), generator=generator(self.split_seed)).tolist():
            held = {part: sum(map(len, found[part])) / total for part in PARTS}
            poorest = max(PARTS, key=lambda part: self.shares[part] - held[part])
            found[poorest].append(documents[number])
        return {part: "\n".join(texts) for part, texts in found.items()}

    def windows(self, ids: list[int]) -> Part:
        """Tokens and the ones that follow, (windows, length). The last window reaches back to be full."""
        whole = torch.tensor([START, *ids])
        starts = [*range(0, len(whole) - 1 - self.length, self.length), len(whole) - 1 - self.length]
        cut = torch.stack([whole[start : start + self.length + 1] for start in starts])
        label = cut[:, 1:].clone()
        if len(starts) > 1:
            label[-1, : starts[-2] + self.length - starts[-1]] = IGNORED  # foreseen in the window before
        return {"tokens": cut[:, :-1].contiguous(), "label": label}

    def facts(self) -> dict[str, Any]:
        self.read()
        vocab = self.tokenizer.vocab
        return {"tokens": {"tokens": self.length, "dtype": "int", "vocab": vocab}, "vocab": vocab}

    def shown(self, ids: list[int]) -> str:
        return self.tokenizer.decode(ids)


def compressed(known: str, text: str) -> str:
    """What general compressors need for `text`, in bits per character: alone, and after they have read `known`."""
    told = []
    compressors: dict[str, Any] = {"gzip": gzip.compress, "bzip2": bz2.compress, "xz": lzma.compress}
    for name, compress in compressors.items():
        alone = len(compress(text.encode()))
        after = len(compress((known + text).encode())) - len(compress(known.encode()))
        told.append(f"{name} {8 * alone / len(text):.3f} (after the training text {8 * after / len(text):.3f})")
    return ", ".join(told) + " bits per character"


class Topics(HeldText):
    """The help pages of Python itself, `pydoc_data.topics`: some 465,000 characters of English prose and grammar.

    Args: those of `HeldText`. Its text differs a little from one version of Python to the next.
    """

    def documents(self) -> list[str]:
        from pydoc_data.topics import topics

        return [topics[name] for name in sorted(topics)]
