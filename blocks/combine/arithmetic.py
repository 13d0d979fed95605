"""Add, subtract, multiply, divide, compare in size and join values."""

from functools import reduce

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from blocks.combine.axes import axis_index, must_agree
from blocks.errors import BlockError


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
        must_agree(inputs, "add")
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
        must_agree(inputs, "subtract")
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
        must_agree(inputs, "multiply")
        return reduce(torch.mul, inputs)


class Divide(nn.Module):
    """The first input over the second, element by element.

    Formula:
        a / b

    Shape:
        two inputs with as many axes, each of the same size or 1 -> the larger size on every axis

    Raises:
        BlockError: there are not two inputs, or their shapes do not agree.

    Source:
        `torch.div`: dividing by 0 gives an infinity or NaN. E.g. the sums of Katharopoulos et al.
        2020, arXiv:2006.16236, equation 5, over their normaliser.
    """

    pointwise = True

    def forward(self, *inputs: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        if len(inputs) != 2:
            raise BlockError(
                "division takes two inputs",
                got=f"{len(inputs)} inputs",
                fits="in: [a, b] for a / b",
                code="wrong-inputs",
            )
        must_agree(inputs, "divide")
        return inputs[0] / inputs[1]


class Maximum(nn.Module):
    """The largest of the inputs, element by element; of masks: whether any is true.

    Formula:
        max(a, b, ...)

    Shape:
        several inputs with as many axes, each of the same size or 1 -> the larger size on every
        axis

    Raises:
        BlockError: the shapes do not agree.

    Source:
        `torch.maximum`; maxout of Goodfellow et al. 2013, arXiv:1302.4389. A bound that is a number
        is `Hardtanh` with `min_val` and `max_val`; the largest along an axis is `Reduce`.
    """

    pointwise = True

    def forward(self, *inputs: Shaped[Tensor, "..."]) -> Shaped[Tensor, "..."]:
        must_agree(inputs, "take the largest of")
        return reduce(torch.maximum, inputs)


class Minimum(nn.Module):
    """The smallest of the inputs, element by element; of masks: whether all are true.

    Formula:
        min(a, b, ...)

    Shape:
        several inputs with as many axes, each of the same size or 1 -> the larger size on every
        axis

    Raises:
        BlockError: the shapes do not agree.

    Source:
        `torch.minimum`; the lesser of two critics of Fujimoto et al. 2018, arXiv:1802.09477,
        equation 10.
    """

    pointwise = True

    def forward(self, *inputs: Shaped[Tensor, "..."]) -> Shaped[Tensor, "..."]:
        must_agree(inputs, "take the smallest of")
        return reduce(torch.minimum, inputs)


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
