"""One line of a weight map: which of theirs make one of ours, and how."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from blocks.graph.errors import did_you_mean
from blocks.graph.language.expression import ExpressionError, evaluate
from blocks.graph.language.patterns import Pieces, fill_template
from blocks.graph.record.token_grid import Grid, read_grid

WORDS = (
    "from",
    "parts",
    "of",
    "axis",
    "transpose",
    "permute",
    "flip",
    "reshape",
    "fit",
    "prefix",
    "grid",
)


@dataclass(frozen=True)
class Line:
    """A line as it stands for one of ours.

    Args:
        pattern: its left side.
        sources: names of theirs.
        words: what is done with them.
        parts: which of `of` equal parts along `axis`; none for all.
        prefix: rows in front of a position table that stand nowhere.
        grid: rows and columns of the position table that theirs is.
    """

    pattern: str
    sources: tuple[str, ...]
    words: Mapping[str, Any]
    parts: tuple[int, ...] = ()
    of: int = 1
    axis: int = 0
    prefix: int = 0
    grid: Grid | None = None

    def text(self) -> str:
        """The sources, for a report."""
        return " + ".join(self.sources) + (
            f" [{list(self.parts)} of {self.of}]" if self.parts else ""
        )

    def taken(self) -> set[tuple[int, int]]:
        """What it takes of each source: (part, of)."""
        return {(part, self.of) for part in self.parts or (0,)}

    def value(self, theirs: Mapping[str, Tensor], shape: tuple[int, ...]) -> Tensor:
        """Theirs as ours needs it, but for its resolution. In the order: axes, join, parts, shape.

        Raises:
            ExpressionError: shapes for which this cannot be done.
        """
        tensors = [theirs[name] for name in self.sources]
        try:
            turned = [self._turn(tensor) for tensor in tensors]
            value = torch.cat(turned, self.axis) if len(turned) > 1 else turned[0]
            if self.parts:
                if value.shape[self.axis] % self.of:
                    raise RuntimeError(f"{self.of} parts do not divide axis {self.axis}")
                chunks = value.chunk(self.of, self.axis)
                value = torch.cat([chunks[part] for part in self.parts], self.axis)
            if self.words.get("reshape") is True and tuple(value.shape) != shape:
                value = value.reshape(shape)
        except (RuntimeError, IndexError, TypeError) as error:
            shapes = ", ".join(f"{name} {tuple(theirs[name].shape)}" for name in self.sources)
            why = (str(error).strip().splitlines() or [""])[0]
            raise ExpressionError(f"{shapes} cannot become {shape}: {why}") from None
        return value

    def _turn(self, value: Tensor) -> Tensor:
        """Axes of one tensor in another order or direction."""
        if self.words.get("transpose") is True and value.dim() == 2:
            value = value.t()
        if "permute" in self.words:
            value = value.permute(*self.words["permute"])
        return value.flip(self.words["flip"]) if "flip" in self.words else value


def read_line(pattern: str, raw: Any, pieces: Mapping[str, str]) -> Line:
    """A line for the name that its pattern matched with these pieces; raises ExpressionError."""
    words = dict(raw) if isinstance(raw, Mapping) else {"from": raw}
    for word in words:
        if word not in WORDS:
            raise ExpressionError(
                f"a line of a map has no {word!r}", did_you_mean(str(word), WORDS)
            )
    if not words.get("from"):
        raise ExpressionError(
            "a line of a map says where from", "ours: theirs, or ours: {from: theirs}"
        )
    names = words["from"] if isinstance(words["from"], list) else [words["from"]]
    numbers = {
        word: _number(words[word], pieces, word)
        for word in ("of", "axis", "prefix")
        if word in words
    }
    parts: tuple[int, ...] = ()
    if "parts" in words:
        given = words["parts"] if isinstance(words["parts"], list) else [words["parts"]]
        parts = tuple(_number(part, pieces, "parts") for part in given)
        if not parts or not all(0 <= part < numbers.get("of", 1) for part in parts):
            raise ExpressionError(
                f"parts {list(parts)} of {numbers.get('of', 1)}", "parts: [0, 2], of: 3"
            )
    grid = read_grid(words["grid"]) if "grid" in words else None
    sources = tuple(fill_template(str(name), pieces) for name in names)
    return Line(pattern, sources, words, parts, grid=grid, **numbers)


def _number(raw: Any, pieces: Mapping[str, str], word: str) -> int:
    value = evaluate(raw, Pieces(pieces)) if isinstance(raw, str) else raw
    if not isinstance(value, int) or isinstance(value, bool):
        raise ExpressionError(f"{word} of a map is a whole number, not {raw!r}")
    return value
