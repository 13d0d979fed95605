"""Axes reordered, split, merged, reduced and repeated, as einops writes it."""

import re
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import einops
import torch
from einops import EinopsError
from einops.layers.torch import Rearrange as EinopsRearrange
from einops.layers.torch import Reduce as EinopsReduce
from jaxtyping import Shaped
from torch import Tensor, nn

from blocks.errors import BlockError

LETTERS = {
    "b": "batch",
    "t": "tokens",
    "n": "tokens",
    "d": "dim",
    "c": "channels",
    "h": "height",
    "w": "width",
}


OPERATIONS: dict[str, Callable[..., Tensor]] = {
    "mean": torch.mean,
    "sum": torch.sum,
    "max": torch.amax,
    "min": torch.amin,
}


class Rearrange(nn.Module):
    """Reorder, split and merge axes, in the language of einops.

    Args:
        pattern: for example "batch channels height width -> batch (height width) channels".
        sizes: sizes of axes that the input does not give, for example {height: 14}.

    Shape:
        as `pattern` says

    Raises:
        BlockError: the pattern is no pattern, or the input does not match it; the text is that of
            einops.

    Source:
        Rogozhnikov 2022, "Einops: clear and reliable tensor manipulations with Einstein-like
        notation", ICLR.
    """

    def __init__(self, pattern: str, sizes: dict[str, int] | None = None):
        super().__init__()
        self.pattern, self.sizes = pattern, sizes or {}
        must_be_pattern(lambda: EinopsRearrange(pattern, **self.sizes))

    @property
    def axis_names(self) -> tuple[str | None, ...]:
        """Names of the axes that leave, for expressions in YAML."""
        return name_axes(self.pattern)

    def forward(self, x: Shaped[Tensor, "..."]) -> Shaped[Tensor, "..."]:
        try:
            return self.rearrange(x)
        except (RuntimeError, IndexError, ValueError) as error:
            raise BlockError(
                "the input does not match the pattern",
                got=_misfit(x, self.pattern, self.sizes, einops.rearrange),
                code="shape-mismatch",
            ) from error

    def rearrange(self, x: Tensor) -> Tensor:
        """Split every axis that is a group on the left, reorder, and merge the groups on the
        right.
        """
        left, right = read_groups(self.pattern, x.ndim)
        x, names = split_axes(x, left, self.sizes)
        x = x.permute([names.index(name) for group in right for name in group])
        return merge_axes(x, right)


class Reduce(nn.Module):
    """Reduce the axes that the right side of a pattern of einops leaves out.

    Formula:
        mean, sum, max, min or product over those axes

    Args:
        pattern: for example "batch (height rows) width dim -> batch height dim".
        operation: what is computed; the largest and smallest of masks are "any" and "all".
        sizes: sizes of axes that the input does not give, for example {rows: 2}.

    Shape:
        as `pattern` says

    Raises:
        BlockError: the pattern is no pattern, the operation is unknown; in forward: the input does
            not match; the text is that of einops.

    Source:
        Rogozhnikov 2022, "Einops: clear and reliable tensor manipulations with Einstein-like
        notation", ICLR; equals `einops.reduce`.
    """

    def __init__(
        self,
        pattern: str,
        operation: Literal["mean", "sum", "max", "min", "prod"] = "mean",
        *,
        sizes: dict[str, int] | None = None,
    ):
        super().__init__()
        known = (*OPERATIONS, "prod")
        if operation not in known:
            raise BlockError(
                "operation is not known", got=f"operation={operation}", fits=", ".join(known)
            )
        self.pattern, self.operation, self.sizes = pattern, operation, sizes or {}
        must_be_pattern(lambda: EinopsReduce(pattern, operation, **self.sizes))

    @property
    def axis_names(self) -> tuple[str | None, ...]:
        """Names of the axes that leave, for expressions in YAML."""
        return name_axes(self.pattern)

    def forward(self, x: Shaped[Tensor, "..."]) -> Shaped[Tensor, "..."]:
        try:
            return self.reduce(x)
        except (RuntimeError, IndexError, ValueError) as error:
            raise BlockError(
                "the input does not match the pattern",
                got=_misfit(x, self.pattern, self.sizes, partial(_reduce, self.operation)),
                code="shape-mismatch",
            ) from error

    def reduce(self, x: Tensor) -> Tensor:
        """Split the groups on the left, reduce, reorder, and merge the groups on the right."""
        left, right = read_groups(self.pattern, x.ndim)
        x, names = split_axes(x, left, self.sizes)
        kept = [name for group in right for name in group]
        lost = [at for at, name in enumerate(names) if name not in kept]
        if lost and self.operation != "prod":
            x = OPERATIONS[self.operation](x, dim=lost)
        elif lost:
            for at in reversed(lost):
                x = x.prod(at)
        left_over = [name for name in names if name in kept]
        return merge_axes(x.permute([left_over.index(name) for name in kept]), right)


class Repeat(nn.Module):
    """Repeat a value along the axes that the left side of a pattern of einops does not have.

    Args:
        pattern: for example "batch dim -> batch tokens dim".
        sizes: sizes of the new axes, and of others that the input does not give, for example
            {tokens: 4}.

    Shape:
        as `pattern` says; a view where no new axis is merged with another

    Raises:
        BlockError: the pattern is no pattern, or a new axis has no size; in forward: the input does
            not match; the text is that of einops.

    Source:
        Rogozhnikov 2022, "Einops: clear and reliable tensor manipulations with Einstein-like
        notation", ICLR; equals `einops.repeat`, which einops does not have as a layer.
    """

    def __init__(self, pattern: str, sizes: dict[str, int] | None = None):
        super().__init__()
        self.pattern, self.sizes = pattern, sizes or {}
        must_be_pattern(lambda: _repeat_sample(pattern, self.sizes))

    @property
    def axis_names(self) -> tuple[str | None, ...]:
        """Names of the axes that leave, for expressions in YAML."""
        return name_axes(self.pattern)

    def forward(self, x: Shaped[Tensor, "..."]) -> Shaped[Tensor, "..."]:
        try:
            return self.repeat(x)
        except (RuntimeError, IndexError, ValueError) as error:
            raise BlockError(
                "the input does not match the pattern",
                got=_misfit(x, self.pattern, self.sizes, einops.repeat),
                code="shape-mismatch",
            ) from error

    def repeat(self, x: Tensor) -> Tensor:
        """Split the groups on the left, reorder, add the new axes, and merge the groups on the
        right.
        """
        left, right = read_groups(self.pattern, x.ndim)
        x, names = split_axes(x, left, self.sizes)
        wanted = [name for group in right for name in group]
        x = x.permute([names.index(name) for name in wanted if name in names])
        for at, name in enumerate(wanted):
            if name not in names:
                x = x.unsqueeze(at)
        x = x.expand([-1 if name in names else size_of(name, self.sizes) for name in wanted])
        return merge_axes(x, right)


def must_be_pattern(read: Callable[[], Any]) -> None:
    """Raise a BlockError with the text of einops unless einops reads a pattern."""
    try:
        read()
    except EinopsError as error:
        raise BlockError("einops cannot read the pattern", got=_one_line(error)) from error


def name_axes(pattern: str) -> tuple[str | None, ...]:
    """The names of the axes on the right: names in the pattern, or what a letter stands for."""
    groups = re.findall(r"\([^)]*\)|\S+", pattern.split("->")[1])
    return tuple(
        None if not group.isidentifier() else LETTERS.get(group, group) for group in groups
    )


def groups_of(side: str) -> list[list[str]]:
    """The names on each axis: "b (h w) 1" is [["b"], ["h", "w"], []]."""
    groups = re.findall(r"\([^)]*\)|\S+", side)
    return [[name for name in group.strip("()").split() if name != "1"] for group in groups]


def read_groups(pattern: str, axes: int) -> tuple[list[list[str]], list[list[str]]]:
    """The names on each axis of the left and the right side, for an input of so many axes."""
    left, right = pattern.split("->")
    rest = " ".join(f"...{index}" for index in range(axes + 1 - len(groups_of(left))))
    return groups_of(left.replace("...", rest)), groups_of(right.replace("...", rest))


def size_of(name: str, sizes: dict[str, int]) -> int:
    """The size of an axis, which a number has of itself; -1 where the input gives it."""
    if name.isdecimal():
        return int(name)
    return sizes.get(name, -1)


def split_axes(x: Tensor, left: list[list[str]], sizes: dict[str, int]) -> tuple[Tensor, list[str]]:
    """The input with an axis for each name on the left, and those names."""
    names: list[str] = []
    for group in left:
        if not group:
            x = x.squeeze(len(names))
        elif len(group) > 1 or size_of(group[0], sizes) > 0:
            x = x.unflatten(len(names), [size_of(name, sizes) for name in group])
        names += group
    return x, names


def merge_axes(x: Tensor, right: list[list[str]]) -> Tensor:
    """The axes of each group on the right as one."""
    for at, group in enumerate(right):
        if not group:
            x = x.unsqueeze(at)
        elif len(group) > 1:
            x = x.flatten(at, at + len(group) - 1)
    return x


def _repeat_sample(pattern: str, sizes: dict[str, int]) -> None:
    """Let einops repeat the smallest input that a pattern takes."""
    shape = []
    for group in groups_of(pattern.partition("->")[0].replace("...", "")):
        size = 1
        for name in group:
            size *= sizes.get(name, 1)
        shape.append(size)
    einops.repeat(torch.empty(shape, device="meta"), pattern, **sizes)


def _reduce(operation: str, x: Tensor, pattern: str, **sizes: int) -> Tensor:
    return einops.reduce(x, pattern, operation, **sizes)


def _misfit(x: Tensor, pattern: str, sizes: dict[str, int], run: Callable[..., Tensor]) -> str:
    """What einops says of an input that does not match."""
    try:
        run(x, pattern, **sizes)
    except EinopsError as error:
        return _one_line(error)
    return f"{tuple(x.shape)} for {pattern}"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
