"""One line of a weight map: how tensors of a file make one tensor of the model."""

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
    *("from", "parts", "of", "axis", "transpose", "permute"),
    *("flip", "interleaved", "add", "reshape", "fit", "prefix", "grid"),
)


TensorPart = tuple[int, int | tuple[int, ...]]
"""A part of a tensor: its index, and the number of equal parts or the size of each."""


def count_parts(of: int | tuple[int, ...]) -> int:
    """Return into how many parts a tensor is divided."""
    return of if isinstance(of, int) else len(of)


def show_sizes(of: int | tuple[int, ...]) -> str:
    """Return the number of equal parts, or the sizes, as they are written in a map."""
    return str(of) if isinstance(of, int) else str(list(of))


def divide(value: Tensor, of: int | tuple[int, ...], axis: int) -> tuple[Tensor, ...]:
    """Return equal parts of a tensor, or parts of the given sizes.

    Raises:
        RuntimeError: the axis cannot be divided so.
    """
    if not isinstance(of, int):
        return value.split(list(of), axis)
    if value.shape[axis] % of:
        raise RuntimeError(f"{of} parts do not divide axis {axis}")
    return value.chunk(of, axis)


@dataclass(frozen=True)
class Line:
    """A line of a map for one tensor of the model.

    Args:
        pattern: its left side.
        sources: names of tensors of the file.
        words: its keys and values.
        parts: which of the parts `of` along `axis` are taken; none for all.
        of: number of equal parts, or the size of each.
        axis: the axis along which sources are joined and divided into parts.
        prefix: rows of a position table before those of the grid.
        grid: rows and columns of the source, a position table.
    """

    pattern: str
    sources: tuple[str, ...]
    words: Mapping[str, Any]
    parts: tuple[int, ...] = ()
    of: int | tuple[int, ...] = 1
    axis: int = 0
    prefix: int = 0
    grid: Grid | None = None

    def text(self) -> str:
        """Return the sources, for a report."""
        text = " + ".join(self.sources)
        if self.parts:
            text += f" [{list(self.parts)} of {show_sizes(self.of)}]"
        return text

    def taken(self) -> set[TensorPart]:
        """Return what it takes of each source: (part, of)."""
        return {(part, self.of) for part in self.parts or (0,)}

    def value(self, theirs: Mapping[str, Tensor], shape: tuple[int, ...]) -> Tensor:
        """Return the sources as the model needs them, except for their resolution: axes permuted,
        then sources joined, then parts taken, then the shape changed. `add` comes first.

        Raises:
            ExpressionError: the shapes of the sources do not allow this.
        """
        try:
            sources = [self._permute(theirs[name]) for name in self.sources]
            value = sources[0]
            if len(sources) > 1:
                value = torch.cat(sources, self.axis)
            if self.parts:
                chunks = divide(value, self.of, self.axis)
                value = torch.cat([chunks[part] for part in self.parts], self.axis)
            if self.words.get("reshape") is True and tuple(value.shape) != shape:
                value = value.reshape(shape)
        except (RuntimeError, IndexError, TypeError) as error:
            shapes = ", ".join(f"{name} {tuple(theirs[name].shape)}" for name in self.sources)
            why = (str(error).strip().splitlines() or [""])[0]
            raise ExpressionError(f"{shapes} cannot become {shape}: {why}") from None
        return value

    def _permute(self, value: Tensor) -> Tensor:
        """Return a tensor with `add` added, and its axes in another order or direction."""
        if "add" in self.words:
            value = value + self.words["add"]
        if self.words.get("transpose") is True and value.dim() == 2:
            value = value.t()
        if "permute" in self.words:
            value = value.permute(*self.words["permute"])
        if "flip" in self.words:
            value = value.flip(self.words["flip"])
        if "interleaved" in self.words:
            count = self.words["interleaved"]
            rows = value.movedim(self.axis, 0)
            rows = torch.cat([rows[first::count] for first in range(count)])
            value = rows.movedim(0, self.axis)
        return value


def read_line(pattern: str, raw: Any, pieces: Mapping[str, str]) -> Line:
    """Read a line for the name that its pattern matched with these pieces; raise
    ExpressionError.
    """
    words: dict[Any, Any] = {"from": raw}
    if isinstance(raw, Mapping):
        words = dict(raw)
    for word in words:
        if word not in WORDS:
            raise ExpressionError(
                f"a line of a map has no {word!r}", did_you_mean(str(word), WORDS)
            )
    if not words.get("from"):
        raise ExpressionError(
            "a line of a map says where from", "ours: theirs, or ours: {from: theirs}"
        )
    words |= _read_changes(words, pieces)
    numbers = {}
    for word in ("axis", "prefix"):
        if word in words:
            numbers[word] = _read_number(words[word], pieces, word)
    parts, of = _read_parts(words, pieces)
    grid = None
    if "grid" in words:
        grid = read_grid(words["grid"])
    sources = tuple(fill_template(str(name), pieces) for name in _as_list(words["from"]))
    return Line(pattern, sources, words, parts, of, grid=grid, **numbers)


def _read_changes(words: Mapping[Any, Any], pieces: Mapping[str, str]) -> dict[str, float]:
    """Return what changes the values or their order: `add` and `interleaved`."""
    found: dict[str, float] = {}
    if "add" in words:
        if type(words["add"]) not in (int, float):
            raise ExpressionError(f"add of a map is a number, not {words['add']!r}", "add: 1")
        found["add"] = words["add"]
    if "interleaved" in words:
        found["interleaved"] = _read_number(words["interleaved"], pieces, "interleaved")
        if found["interleaved"] < 1:
            raise ExpressionError(f"interleaved: {words['interleaved']}", "interleaved: 2")
    return found


def _read_parts(
    words: Mapping[Any, Any], pieces: Mapping[str, str]
) -> tuple[tuple[int, ...], int | tuple[int, ...]]:
    """Return the parts that are taken, and into what a tensor is divided."""
    of: int | tuple[int, ...] = 1
    if isinstance(words.get("of"), list):
        of = tuple(_read_number(size, pieces, "of") for size in words["of"])
    elif "of" in words:
        of = _read_number(words["of"], pieces, "of")
    parts: tuple[int, ...] = ()
    if "parts" in words:
        parts = tuple(_read_number(part, pieces, "parts") for part in _as_list(words["parts"]))
        if not parts or min(parts) < 0 or max(parts) >= count_parts(of):
            raise ExpressionError(
                f"parts {list(parts)} of {show_sizes(of)}", "parts: [0, 2], of: 3"
            )
    return parts, of


def _as_list(value: Any) -> list[Any]:
    if isinstance(value, list):
        return value
    return [value]


def _read_number(raw: Any, pieces: Mapping[str, str], word: str) -> int:
    value = raw
    if isinstance(raw, str):
        value = evaluate(raw, Pieces(pieces))
    if not isinstance(value, int) or isinstance(value, bool):
        raise ExpressionError(f"{word} of a map is a whole number, not {raw!r}")
    return value
