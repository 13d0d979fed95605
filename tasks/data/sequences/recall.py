"""Generated sequences whose answer lies in the past: how much a network remembers, and how long."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from tasks.data.sampler import generator
from tasks.data.sequences.base import IGNORED, InMemorySequences, Part
from tasks.data.split import PARTS
from tasks.errors import ArgumentError, must_be_one_of, must_be_positive

KINDS = ("lag", "hold", "copy", "reverse", "sort")
FORMS = ("line", "pair")


class Recall(InMemorySequences):
    """Random symbols, and a question about them.

    Every epoch has new training samples; validation and test stay.

    Args:
        kind: lag: predict the symbol `lag` steps ago, at each of the last `answers` positions.
            hold: predict the first symbol after `lag` steps of fillers, which are as many other
            symbols. copy, reverse, sort: after the separator predict the `lag` symbols in the same
            order, backwards, or sorted.
        lag: how far back the answer lies; for the other kinds, how many symbols there are.
        symbols: how many different symbols there are.
        answers: positions that are judged, for kind=lag.
        form: line: one sequence, the question after what it asks about. pair: copy, reverse and
            sort as `source` and `target`, for an encoder-decoder; the separator is the target's
            start mark.
        train: samples of an epoch.
        val: samples for validation.
        test: samples for the test.
        options: those of `InMemorySequences`.

    Source:
        The long time lag problems of Hochreiter and Schmidhuber 1997,
            doi:10.1162/neco.1997.9.8.1735, section 5; copy
        and sort of Graves et al. 2014, arXiv:1410.5401, section 4.
    """

    quick = True
    batch_axes: ClassVar[Mapping[str, tuple[str, ...]]] = {"label": ("tokens",)}

    def __init__(
        self,
        *,
        kind: Literal["lag", "hold", "copy", "reverse", "sort"] = "lag",
        lag: int = 200,
        symbols: int = 8,
        answers: int = 8,
        form: Literal["line", "pair"] = "line",
        train: int = 2048,
        val: int = 256,
        test: int = 1024,
        **options: Any,
    ):
        super().__init__(**options)
        self.counts = {"train": train, "val": val, "test": test}
        must_be_one_of("kind", kind, KINDS)
        for name, value in {"lag": lag, "answers": answers, **self.counts}.items():
            must_be_positive(name, value)
        must_be_positive("symbols", symbols - 1)
        must_be_one_of("form", form, FORMS)
        self.kind, self.lag, self.symbols = kind, lag, symbols
        self.positions, self.form = answers, form
        if kind not in ("lag", "hold"):
            self.direction = "forward"  # the answer is predicted token by token
        if form == "pair":
            self.predicted_input = "target"
            if kind in ("lag", "hold"):
                got, fits = f"form=pair, kind={kind}", "kind=copy, reverse, sort"
                raise ArgumentError("form", f"{kind} has no target", got=got, fits=fits)

    def load(self) -> dict[str, Part]:
        # validation and test have random sources of their own, which no epoch of training uses
        parts = {}
        for salt, part in enumerate(PARTS):
            parts[part] = self.make(self.counts[part], self.split_seed, -1 - salt)
        return parts

    def fresh(self, epoch: int) -> Part:
        return self.make(self.counts["train"], self.seed, epoch)

    def make(self, count: int, *numbers: int) -> Part:
        """Return samples that depend on `numbers` only.

        Returns:
            tokens, or source and target; and label; each (count, tokens).
        """
        source = generator(*numbers)
        if self.kind == "lag":
            length = self.lag + self.positions
            tokens = torch.randint(self.symbols, (count, length), generator=source)
            label = torch.full_like(tokens, IGNORED)
            label[:, self.lag :] = tokens[:, : self.positions]
            return {"tokens": tokens, "label": label}
        if self.kind == "hold":
            shape = (count, self.lag + 1)
            tokens = torch.randint(self.symbols, 2 * self.symbols, shape, generator=source)
            tokens[:, 0] -= self.symbols
            label = torch.full_like(tokens, IGNORED)
            label[:, -1] = tokens[:, 0]
            return {"tokens": tokens, "label": label}
        given = torch.randint(self.symbols, (count, self.lag), generator=source)
        answer = self.answer(given)
        target = torch.cat([torch.full((count, 1), self.symbols), answer[:, :-1]], dim=1)
        if self.form == "pair":
            return {"source": given, "target": target, "label": answer}
        label = torch.cat([torch.full_like(given, IGNORED), answer], dim=1)
        return {"tokens": torch.cat([given, target], dim=1), "label": label}

    def answer(self, given: Tensor) -> Tensor:
        """Return the symbols to predict after the separator, (count, lag)."""
        if self.kind == "sort":
            return given.sort(dim=1).values
        if self.kind == "reverse":
            return given.flip(1)
        return given

    def facts(self) -> dict[str, Any]:
        length, vocab = 2 * self.lag, self.symbols + 1
        if self.kind == "lag":
            length, vocab = self.lag + self.positions, self.symbols
        elif self.kind == "hold":
            length, vocab = self.lag + 1, 2 * self.symbols
        if self.form == "pair":
            side = {"tokens": self.lag, "dtype": "int", "vocab": vocab}
            return {"source": side, "target": dict(side), "vocab": vocab}
        return {"tokens": {"tokens": length, "dtype": "int", "vocab": vocab}, "vocab": vocab}

    def shown(self, ids: list[int]) -> str:
        """Return symbols as letters, the separator as a bar, fillers as dots."""
        return "".join(map(self._letter, ids))

    def _letter(self, number: int) -> str:
        if self.kind == "hold" and number >= self.symbols:
            return "."
        if self.kind != "hold" and number == self.symbols:
            return "|"
        return chr(ord("a") + number % 26)
