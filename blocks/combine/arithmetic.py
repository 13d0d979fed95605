"""Add, subtract, multiply and join values."""

from functools import reduce

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from blocks.combine.axes import axis_index
from blocks.errors import BlockError


def _must_agree(inputs: tuple[Tensor, ...], purpose: str) -> None:
    """Raise a BlockError unless all inputs have as many axes and each size is the same, or 1.

    Stricter than torch, which aligns shapes from the right: (batch, dim) added to (batch, tokens,
    dim) is a mistake that would pass whenever batch and tokens happen to be equal.
    """
    if not inputs:
        raise BlockError(
            f"there must be something to {purpose}",
            got="no input",
            fits="one input or more",
            code="wrong-inputs",
        )
    if all(each.shape == inputs[0].shape for each in inputs[1:]):
        return
    so_far, *others = (tuple(each.shape) for each in inputs)
    for number, shape in enumerate(others, start=2):
        if shape == so_far:
            continue
        if len(shape) != len(so_far) or any(
            a not in (b, 1) and b != 1 for a, b in zip(so_far, shape, strict=True)
        ):
            before = "input 1"
            if number > 2:
                before = f"inputs 1 to {number - 1}"
            raise BlockError(
                f"shapes to {purpose} must agree",
                got=f"{before} {so_far}, input {number} {shape}",
                fits="as many axes, on each the same size or 1",
                code="shape-mismatch",
            )
        so_far = tuple(b if a == 1 else a for a, b in zip(so_far, shape, strict=True))


def _must_agree_beside(inputs: tuple[Tensor, ...], at: int) -> None:
    """Raise a BlockError unless all inputs have as many axes and the same sizes on every axis
    but one.
    """
    if not inputs:
        raise BlockError(
            "there must be something to concatenate",
            got="no input",
            fits="one input or more",
            code="wrong-inputs",
        )
    first, *others = (tuple(each.shape) for each in inputs)
    axis = axis_index(at, len(first))
    for number, shape in enumerate(others, start=2):
        if (
            len(shape) != len(first)
            or shape[:axis] + shape[axis + 1 :] != first[:axis] + first[axis + 1 :]
        ):
            raise BlockError(
                f"shapes to concatenate must agree on every axis but {at}",
                got=f"input 1 {first}, input {number} {shape}",
                code="shape-mismatch",
            )


class Add(nn.Module):
    """The sum of the inputs.

    Formula:
        a + b + ...

    Shape:
        several inputs with as many axes, each of the same size or 1 -> the larger size on every
        axis

    Raises:
        BlockError: the shapes do not agree.

    Source:
        Residual connections: He et al. 2016, arXiv:1512.03385, section 3.1.
    """

    pointwise = True
    # the backward pass does not need the sum: what comes after may overwrite it
    keeps_output = False

    def forward(self, *inputs: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        _must_agree(inputs, "add")
        return reduce(torch.add, inputs)


class Subtract(nn.Module):
    """The first input less the second.

    Formula:
        a - b

    Shape:
        two inputs with as many axes, each of the same size or 1 -> the larger size on every axis

    Raises:
        BlockError: there are not two inputs, or their shapes do not agree.

    Source:
        The difference of two embeddings in Siamese networks: Koch et al. 2015, section 3.1.
    """

    def forward(self, *inputs: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        if len(inputs) != 2:
            raise BlockError(
                "subtraction takes two inputs",
                got=f"{len(inputs)} inputs",
                fits="in: [a, b] for a - b",
                code="wrong-inputs",
            )
        _must_agree(inputs, "subtract")
        return inputs[0] - inputs[1]


class Multiply(nn.Module):
    """The elementwise product of the inputs.

    Formula:
        a ⊙ b ⊙ ...

    Shape:
        several inputs with as many axes, each of the same size or 1 -> the larger size on every
        axis

    Raises:
        BlockError: the shapes do not agree.

    Source:
        Gates: Hochreiter and Schmidhuber 1997, doi:10.1162/neco.1997.9.8.1735.
    """

    pointwise = True

    def forward(self, *inputs: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        _must_agree(inputs, "multiply")
        return reduce(torch.mul, inputs)


class Concat(nn.Module):
    """The inputs one after the other along an axis.

    Args:
        axis: index of the axis, counted from the end where negative; 1 are the channels of an
            image.

    Shape:
        several inputs, of equal sizes on every other axis -> their sizes on `axis` summed

    Raises:
        BlockError: there is no such axis; the inputs differ on another axis.

    Source:
        Huang et al. 2017, arXiv:1608.06993 (DenseNet); Ronneberger et al. 2015, arXiv:1505.04597
        (U-Net).
    """

    def __init__(self, axis: int = -1):
        super().__init__()
        self.axis = axis

    def forward(self, *inputs: Shaped[Tensor, "..."]) -> Shaped[Tensor, "..."]:
        _must_agree_beside(inputs, self.axis)
        return torch.cat(inputs, dim=self.axis)


class MatMul(nn.Module):
    """The matrix product of the last two axes of two inputs; axes before them are matched.

    Formula:
        a b, or a bᵀ

    Args:
        transpose: turn the second input's last two axes around: a bᵀ, the similarity of every pair
            of rows.

    Shape:
        (..., n, k), (..., k, m) -> (..., n, m); with `transpose`, (..., n, k), (..., m, k) -> (...,
        n, m)

    Raises:
        BlockError: there are not two inputs, or their inner sizes differ.

    Source:
        Scores of every pair: Vaswani et al. 2017, arXiv:1706.03762, equation 1; the input transform
            of Qi et al. 2017
        (PointNet), arXiv:1612.00593.
    """

    def __init__(self, transpose: bool = False):
        super().__init__()
        self.transpose = transpose

    def forward(self, *inputs: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        if len(inputs) != 2:
            raise BlockError(
                "a matrix product has two factors",
                got=f"{len(inputs)} inputs",
                fits="in: [a, b]",
                code="wrong-inputs",
            )
        a, b = inputs
        b = b.transpose(-2, -1) if self.transpose else b
        if a.dim() < 2 or b.dim() < 2 or a.shape[-1] != b.shape[-2]:
            got = f"{tuple(a.shape)} and {tuple(b.shape)}" + " (turned around)" * self.transpose
            raise BlockError(
                "the inner sizes of a matrix product must agree",
                got=got,
                fits="(..., n, k) and (..., k, m)",
                code="shape-mismatch",
            )
        return a @ b
