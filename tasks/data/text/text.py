"""Running text, cut into windows, for language models."""

from typing import Any, Literal

import numpy as np

from tasks.data.split import PARTS, check_shares
from tasks.data.text.compressed import compressed
from tasks.data.text.tokenizer import KINDS, START, Tokenizer
from tasks.data.tokens.divide import divide
from tasks.data.tokens.module import TokenWindows
from tasks.data.tokens.windows import Windows
from tasks.errors import must_be_one_of, must_be_positive


class RunningText(TokenWindows):
    """Base of the data modules of running text.

    A subclass reads documents; this class splits them and encodes them. Whole documents go to one
    part, unless they are too uneven.

    Args:
        tokenizer: characters, bytes, words or bpe; trained on the training part alone.
        vocab: the most different tokens, for bpe and words.
        val: share of the text for validation.
        test: share of the text for the test.
        options: those of `TokenWindows`.
    """

    def __init__(
        self,
        *,
        tokenizer: Literal["characters", "bytes", "words", "bpe"] = "characters",
        vocab: int = 4000,
        val: float = 0.1,
        test: float = 0.1,
        **options: Any,
    ):
        super().__init__(**options)
        must_be_positive("vocab", vocab)
        must_be_one_of("tokenizer", tokenizer, KINDS)
        check_shares(val, test)
        self.kind, self.vocab = tokenizer, vocab
        self.shares = {"train": 1 - val - test, "val": val, "test": test}

    def documents(self) -> list[str]:
        """Return all documents, in a fixed order."""
        raise NotImplementedError

    def load(self) -> dict[str, Windows]:
        texts = self.divide(self.documents())
        self.tokenizer = self.tokenizer or Tokenizer.train([texts["train"]], self.kind, self.vocab)
        found = {}
        for part in PARTS:
            ids = self.tokenizer.encode_array(texts[part])
            self.check_length(part, len(ids))
            if part == "test":
                self._measure(texts[part], len(ids))
            first, ahead = self.bounds()
            found[part] = Windows(np.insert(ids, 0, START)[first:], self.length, ahead)
        if not self.mask:
            bits = compressed(texts["train"], texts["test"])
            self.notes.append(f"the test text compressed: {bits}")
        return found

    def _measure(self, text: str, tokens: int) -> None:
        """Measure the text of the test."""
        self.measure_test(
            characters=len(text),
            size=len(text.encode()),
            tokens=tokens,
            unknown=self.tokenizer.unknown_bytes(text),
        )

    def divide(self, documents: list[str]) -> dict[str, str]:
        """Return the text of each part."""
        sizes = list(map(len, documents))
        shares, whole = divide(sizes, self.shares, self.split_seed)
        if not whole and len(documents) > 1:
            self.notes.append(
                "the documents are too few or too uneven to stay whole: their text is cut in three"
            )

        def open_document(number: int) -> list[str]:
            return [documents[number]]

        return {part: "".join(shares[part].read(sizes, open_document)) for part in PARTS}


class Topics(RunningText):
    """The help pages of Python, `pydoc_data.topics`: 465,000 characters of prose and grammar.

    Args: those of `RunningText`. The text differs a little from one version of Python to the next.
    """

    quick = True

    def documents(self) -> list[str]:
        from pydoc_data.topics import topics

        return [topics[name] for name in sorted(topics)]
