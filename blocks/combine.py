"""Combine, scale and drop values: the connections between blocks."""

from functools import reduce

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from blocks.errors import BlockError, must_be_positive, must_be_share, must_divide


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
    axis = _axis_index(at, len(first))
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


class Part(nn.Module):
    """One of several equal parts of the input along an axis; a view, nothing is copied.

    Args:
        index: which part, counted from 0.
        of: into how many parts the axis is divided.
        axis: index of the axis, counted from the end where negative.

    Shape:
        any -> the same with `axis` divided by `of`

    Raises:
        BlockError: there is no such part or axis; `of` does not divide the axis.

    Source:
        `torch.chunk`, one output a node; e.g. the halves of Dauphin et al. 2017, arXiv:1612.08083
        (GLU).
    """

    def __init__(self, index: int, of: int, *, axis: int = -1):
        super().__init__()
        must_be_positive("of", of)
        if not 0 <= index < of:
            raise BlockError(
                "there is no such part", got=f"index={index}, of={of}", fits=f"index in 0..{of - 1}"
            )
        self.index, self.of, self.axis = index, of, axis

    @property
    def idle(self) -> bool:
        return self.of == 1

    def forward(self, x: Shaped[Tensor, "..."]) -> Shaped[Tensor, "..."]:
        must_divide("of", self.of, f"axis {self.axis}", x.shape[_axis_index(self.axis, x.ndim)])
        return x.chunk(self.of, dim=self.axis)[self.index]


def _axis_index(axis: int, count: int) -> int:
    if not -count <= axis < count:
        raise BlockError(
            "there is no such axis",
            got=f"axis={axis}, {count} axes",
            fits=f"axis in {-count}..{count - 1}",
        )
    return axis % count


class Slice(nn.Module):
    """From one place of an axis up to another, as `x[start:stop]`; a view, nothing is copied.

    Args:
        start: the first place, counted from the end where negative.
        stop: the place after the last; None is the end.
        axis: index of the axis, counted from the end where negative.

    Shape:
        any -> the same with a shorter `axis`

    Raises:
        BlockError: nothing is left.

    Source:
        The crops of Ronneberger et al. 2015 (U-Net), arXiv:1505.04597, section 2.
    """

    def __init__(self, start: int = 0, stop: int | None = None, *, axis: int = 1):
        super().__init__()
        self.start, self.stop, self.axis = start, stop, axis

    def forward(self, x: Shaped[Tensor, "..."]) -> Shaped[Tensor, "..."]:
        size = x.shape[self.axis]
        start, stop, _ = slice(self.start, self.stop).indices(size)
        if stop <= start:
            got = f"start={self.start}, stop={self.stop}, size {size}"
            raise BlockError(
                "nothing is left of the axis", got=got, fits=f"start below stop, both within {size}"
            )
        return x.narrow(self.axis, start, stop - start)


class Flip(nn.Module):
    """Reverse an axis: the last comes first.

    Args:
        axis: index of the axis, counted from the end where negative; 1 are the tokens.

    Shape:
        any -> the same

    Source:
        The backward direction of Schuster and Paliwal 1997, doi:10.1109/78.650093.
    """

    def __init__(self, axis: int = 1):
        super().__init__()
        self.axis = axis

    def forward(self, x: Shaped[Tensor, "..."]) -> Shaped[Tensor, "..."]:
        return x.flip(self.axis)


class UnitNorm(nn.Module):
    """Divide by the Euclidean length along the last axis, so that only the direction is left.

    Formula:
        x / max(‖x‖, ε)

    Args:
        epsilon: the smallest length that is divided by.

    Shape:
        (..., dim) -> the same

    Source:
        The embeddings of Schroff et al. 2015 (FaceNet), arXiv:1503.03832, section 3.1; the cosine
        logits of Radford et al. 2021 (CLIP), arXiv:2103.00020, figure 3.
    """

    def __init__(self, epsilon: float = 1e-12):
        super().__init__()
        self.epsilon = epsilon

    def forward(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        return F.normalize(x, dim=-1, eps=self.epsilon)


class Gain(nn.Module):
    """Multiply by a number that is given, not learned.

    Formula:
        factor · x

    Args:
        factor: the number, alpha of DeepNorm say.

    Shape:
        any -> the same

    Source:
        Wang et al. 2022, arXiv:2203.00555 (DeepNorm).
    """

    def __init__(self, factor: float):
        super().__init__()
        self.factor = factor

    @property
    def idle(self) -> bool:
        return self.factor == 1

    def forward(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        return x * self.factor


class LayerScale(nn.Module):
    """Multiply every channel of the tokens by a learned number that starts small.

    Formula:
        γ ⊙ x

    Args:
        dim: width of a token; inferred from the input.
        initial: where all numbers start.

    Shape:
        (batch, ..., dim) -> the same

    Source:
        Touvron et al. 2021, arXiv:2103.17239 (CaiT), section 2: `initial` 0.1 up to depth 18, 1e-5
        up to 24, 1e-6 deeper.
    """

    def __init__(self, dim: int, initial: float = 1e-5):
        super().__init__()
        self.gain = nn.Parameter(torch.full((dim,), float(initial)))

    def forward(self, x: Float[Tensor, "batch *tokens dim"]) -> Float[Tensor, "batch *tokens dim"]:
        return x * self.gain


class ChannelScale(nn.Module):
    """LayerScale for images: multiply every channel by a learned number that starts small.

    Formula:
        γ ⊙ x

    Args:
        channels: number of channels; inferred from the input.
        initial: where all numbers start.

    Shape:
        (batch, channels, ...) -> the same

    Source:
        Touvron et al. 2021, arXiv:2103.17239, section 2; as ConvNeXt, Liu et al. 2022,
        arXiv:2201.03545, uses it.
    """

    def __init__(self, channels: int, initial: float = 1e-6):
        super().__init__()
        self.gain = nn.Parameter(torch.full((channels,), float(initial)))

    def forward(
        self, x: Float[Tensor, "batch channels *size"]
    ) -> Float[Tensor, "batch channels *size"]:
        return x * self.gain.view(-1, *(1 for _ in x.shape[2:]))


class ReZero(nn.Module):
    """Multiply everything by one learned number that starts at zero, so that a residual branch
    starts closed.

    Formula:
        α x

    Args:
        initial: where the number starts.

    Shape:
        any -> the same

    Source:
        Bachlechner et al. 2021, arXiv:2003.04887. One axis of size 1, which sharded training needs.
    """

    def __init__(self, initial: float = 0.0):
        super().__init__()
        self.gain = nn.Parameter(torch.full((1,), float(initial)))

    def forward(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        return x * self.gain


class DropPath(nn.Module):
    """Zero a residual branch for some examples of the batch in training, and scale the others so
    that the mean stays.

    Formula:
        x · m / (1 - rate), with m = 0 for a share `rate` of the examples, else 1; x after training

    Args:
        rate: share of examples zeroed, in [0, 1).

    Shape:
        (batch, ...) -> the same

    Raises:
        BlockError: `rate` is outside [0, 1).

    Source:
        Huang et al. 2016, arXiv:1603.09382 (stochastic depth), drawn for each example and scaled in
        training, not in evaluation, as in Larsson et al. 2017, arXiv:1605.07648, and every vision
        transformer since DeiT.
    """

    def __init__(self, rate: float = 0.0):
        super().__init__()
        must_be_share("rate", rate)
        self.rate = rate

    @property
    def idle(self) -> bool:
        return self.rate == 0

    def forward(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch ..."]:
        if not self.training or self.rate == 0:
            return x
        shape = (x.shape[0],) + (1,) * (x.ndim - 1)
        kept = x.new_empty(shape).bernoulli_(1 - self.rate)
        return x * kept.div_(1 - self.rate)
