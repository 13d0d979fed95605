"""Made sequences whose answer lies in the past: what a network can hold in mind, and for how
long.
"""

from typing import Any, Literal

import torch
from torch import Tensor

from tasks.data.sampler import generator
from tasks.data.sequences.base import IGNORED, HeldSequences, Part
from tasks.data.split import PARTS
from tasks.errors import ArgumentError, must_be_one_of, must_be_positive

KINDS = ("lag", "hold", "copy", "reverse", "sort")
FORMS = ("line", "pair")


class Recall(HeldSequences):
    """Random symbols, and a question about them. Every epoch has new training samples;
    validation and test stay.

    Args:
        kind: lag: name the symbol `lag` steps ago, at each of the last `answers` places. hold: name
            the symbol at the front after `lag` steps of fillers, which are as many other symbols.
            copy, reverse, sort: after the separator say the `lag` symbols again, as they came,
            backwards, or in order.
        lag: how far back the answer lies; of the other kinds, how many symbols there are.
        symbols: how many different symbols there are.
        answers: places that are judged, for kind=lag.
        form: line: one sequence, the question behind what is asked about. pair: copy, reverse and
            sort as `source` and `target`, for an encoder-decoder; the separator is the target's
            start mark.
        train: samples of an epoch.
        val: samples for validation.
        test: samples for the test.
        options: those of `HeldSequences`.

    Source:
        The long time lag problems of Hochreiter and Schmidhuber 1997,
            doi:10.1162/neco.1997.9.8.1735, section 5; copy
        and sort of Graves et al. 2014, arXiv:1410.5401, section 4.
    """

    quick = True

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
        must_be_one_of("kind", kind, KINDS)
        for name, value in {
            "lag": lag,
            "answers": answers,
            "train": train,
            "val": val,
            "test": test,
        }.items():
            must_be_positive(name, value)
        must_be_positive("symbols", symbols - 1)
        must_be_one_of("form", form, FORMS)
        if form == "pair" and kind in ("lag", "hold"):
            fits = "kind=copy, reverse, sort"
            raise ArgumentError(
                "form", f"{kind} has no target", got=f"form=pair, kind={kind}", fits=fits
            )
        self.kind, self.lag, self.symbols, self.places, self.form = (
            kind,
            lag,
            symbols,
            answers,
            form,
        )
        self.said = "target" if form == "pair" else "tokens"
        self.direction = (
            None if kind in ("lag", "hold") else "forward"
        )  # the others say their answer token by token
        self.counts = {"train": train, "val": val, "test": test}

    def load(self) -> dict[str, Part]:
        # validation and test have sources of their own, which no epoch of training can meet
        return {
            part: self.make(self.counts[part], self.split_seed, -1 - salt)
            for salt, part in enumerate(PARTS)
        }

    def fresh(self, epoch: int) -> Part:
        return self.make(self.counts["train"], self.seed, epoch)

    def make(self, count: int, *numbers: int) -> Part:
        """`count` samples that depend on `numbers` alone: tokens, or source and target; label; each
        (count, tokens).
        """
        source = generator(*numbers)
        if self.kind == "lag":
            tokens = torch.randint(self.symbols, (count, self.lag + self.places), generator=source)
            label = torch.full_like(tokens, IGNORED)
            label[:, self.lag :] = tokens[:, : self.places]
            return {"tokens": tokens, "label": label}
        if self.kind == "hold":
            tokens = torch.randint(
                self.symbols, 2 * self.symbols, (count, self.lag + 1), generator=source
            )
            tokens[:, 0] -= self.symbols
            label = torch.full_like(tokens, IGNORED)
            label[:, -1] = tokens[:, 0]
            return {"tokens": tokens, "label": label}
        given = torch.randint(self.symbols, (count, self.lag), generator=source)
        answer = self.answer(given)
        separator = torch.full((count, 1), self.symbols)
        if self.form == "pair":
            return {
                "source": given,
                "target": torch.cat([separator, answer[:, :-1]], dim=1),
                "label": answer,
            }
        tokens = torch.cat([given, separator, answer[:, :-1]], dim=1)
        label = torch.cat([torch.full_like(given, IGNORED), answer], dim=1)
        return {"tokens": tokens, "label": label}

    def answer(self, given: Tensor) -> Tensor:
        """What is to be said after the separator."""
        if self.kind == "sort":
            return given.sort(dim=1).values
        return given.flip(1) if self.kind == "reverse" else given

    def facts(self) -> dict[str, Any]:
        length, vocab = 2 * self.lag, self.symbols + 1
        if self.kind in ("lag", "hold"):
            length = self.lag + (self.places if self.kind == "lag" else 1)
            vocab = self.symbols * (1 if self.kind == "lag" else 2)
        if self.form == "pair":
            side = {"tokens": self.lag, "dtype": "int", "vocab": vocab}
            return {"source": side, "target": dict(side), "vocab": vocab}
        return {"tokens": {"tokens": length, "dtype": "int", "vocab": vocab}, "vocab": vocab}

    def shown(self, ids: list[int]) -> str:
        """Symbols as letters, the separator as a bar, fillers as dots."""
        if self.kind == "hold":
            return "".join(
                chr(ord("a") + number % 26) if number < self.symbols else "." for number in ids
            )
        return "".join(
            "|" if number == self.symbols else chr(ord("a") + number % 26) for number in ids
        )
