"""Axes in another order, split and merged, as einops writes it."""

import re

import einops
from einops import EinopsError
from einops.layers.torch import Rearrange as EinopsRearrange
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
        must_be_pattern(pattern, self.sizes)
        self.left, self.right = pattern.split("->")

    @property
    def axis_names(self) -> tuple[str | None, ...]:
        """Names of the axes that leave, for expressions in YAML: names in the pattern, or what a
        letter stands for.
        """
        right = self.pattern.split("->")[1]
        groups = re.findall(r"\([^)]*\)|\S+", right)
        return tuple(
            None if not group.isidentifier() else LETTERS.get(group, group) for group in groups
        )

    def forward(self, x: Shaped[Tensor, "..."]) -> Shaped[Tensor, "..."]:
        try:
            return self.rearrange(x)
        except (RuntimeError, IndexError, ValueError) as error:
            raise BlockError(
                "the input does not match the pattern",
                got=_misfit(x, self.pattern, self.sizes),
                code="shape-mismatch",
            ) from error

    def rearrange(self, x: Tensor) -> Tensor:
        """Split every axis that is a group on the left, reorder, and merge the groups on the
        right.
        """
        rest = " ".join(f"...{index}" for index in range(x.ndim + 1 - len(groups_of(self.left))))
        order: list[str] = []
        for group in groups_of(self.left.replace("...", rest)):
            if not group:
                x = x.squeeze(len(order))
            elif len(group) > 1 or group[0] in self.sizes:
                x = x.unflatten(len(order), [self.sizes.get(name, -1) for name in group])
            order += group
        right = groups_of(self.right.replace("...", rest))
        x = x.permute([order.index(name) for group in right for name in group])
        for at, group in enumerate(right):
            if not group:
                x = x.unsqueeze(at)
            elif len(group) > 1:
                x = x.flatten(at, at + len(group) - 1)
        return x


def must_be_pattern(pattern: str, sizes: dict[str, int]) -> None:
    """Raise a BlockError with the text of einops unless einops reads the pattern."""
    try:
        EinopsRearrange(pattern, **sizes)
    except EinopsError as error:
        raise BlockError("einops cannot read the pattern", got=_one_line(error)) from error


def groups_of(side: str) -> list[list[str]]:
    """The names on each axis: "b (h w) 1" is [["b"], ["h", "w"], []]."""
    groups = re.findall(r"\([^)]*\)|\S+", side)
    return [[name for name in group.strip("()").split() if name != "1"] for group in groups]


def _misfit(x: Tensor, pattern: str, sizes: dict[str, int]) -> str:
    """What einops says of an input that does not match."""
    try:
        einops.rearrange(x, pattern, **sizes)
    except EinopsError as error:
        return _one_line(error)
    return f"{tuple(x.shape)} for {pattern}"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
