"""Axes in another order, split and merged, as einops writes it."""

import re

import einops
from einops import EinopsError
from einops.layers.torch import Rearrange as EinopsRearrange
from jaxtyping import Shaped
from torch import Tensor, nn

from blocks.errors import BlockError

LETTERS = {"b": "batch", "t": "tokens", "n": "tokens", "d": "dim", "c": "channels", "h": "height", "w": "width"}


class Rearrange(nn.Module):
    """Reorder, split and merge axes, in the language of einops.

    Args:
        pattern: for example "batch channels height width -> batch (height width) channels".
        sizes: sizes of axes that the input does not give, for example {height: 14}.

    Shape:
        as `pattern` says

    Raises:
        BlockError: the pattern is no pattern, or the input does not match it; the text is that of einops.

    Source:
        Rogozhnikov 2022, "Einops: clear and reliable tensor manipulations with Einstein-like notation", ICLR.
    """

    def __init__(self, pattern: str, sizes: dict[str, int] | None = None):
        super().__init__()
        self.pattern, self.sizes = pattern, dict(sizes or {})
        try:
            EinopsRearrange(pattern, **self.sizes)
        except EinopsError as error:
            raise BlockError("einops cannot read the pattern", got=_one_line(error)) from error

    @property
    def axis_names(self) -> tuple[str | None, ...]:
        """Names of the axes that leave, for expressions in YAML: words of the pattern, or what a letter stands for."""
        right = self.pattern.split("->")[1]
        groups = re.findall(r"\([^)]*\)|\S+", right)
        return tuple(None if not group.isidentifier() else LETTERS.get(group, group) for group in groups)

    def forward(self, x: Shaped[Tensor, "..."]) -> Shaped[Tensor, "..."]:
        try:
            return einops.rearrange(x, self.pattern, **self.sizes)
        except EinopsError as error:
            raise BlockError("the input does not match the pattern", got=_one_line(error)) from error

    @staticmethod
    def expression(x: str, pattern: str, sizes: dict[str, int] | None = None) -> str:
        """As unflatten, permute and flatten."""
        left, right = (re.findall(r"\([^)]*\)|\S+", side) for side in pattern.split("->"))
        x, axes = _unflattened(x, [group.strip("()").split() for group in left], pattern, sizes or {})
        groups = [group.strip("()").split() for group in right]
        order = [axes.index(axis) for group in groups for axis in group if axis != "1"]
        moved = [index for index, place in enumerate(order) if index != place]
        if len(moved) == 2:
            x += f".transpose({moved[0]}, {moved[1]})"
        elif moved:
            x += f".permute({', '.join(map(str, order))})"
        for at, group in enumerate(groups):
            if group == ["1"]:
                x += f".unsqueeze({at})"
            elif len(group) > 1:
                x += f".flatten({at}, {at + len(group) - 1})"
        return x


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _unflattened(x: str, groups: list[list[str]], pattern: str, sizes: dict[str, int]) -> tuple[str, list[str]]:
    """The expression with every axis of the left side for itself, and their names."""
    if "..." in pattern:
        raise BlockError("no plain PyTorch for Rearrange with '...'", got=pattern)
    axes: list[str] = []
    for group in groups:
        if len(group) > 1:
            known = [str(sizes.get(axis, -1)) for axis in group]
            if known.count("-1") > 1:
                raise BlockError(f"no plain PyTorch for Rearrange without the sizes of {' '.join(group)}", got=pattern)
            x += f".unflatten({len(axes)}, ({', '.join(known)}))"
        if group == ["1"]:
            x += f".squeeze({len(axes)})"
        else:
            axes += group
    return x, axes
