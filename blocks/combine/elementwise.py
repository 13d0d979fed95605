"""Functions of each number of a value."""

from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn

from blocks.combine.axes import must_agree
from blocks.errors import BlockError

RELATIONS: dict[str, Callable[..., Tensor]] = {
    "less": torch.lt,
    "at_most": torch.le,
    "equal": torch.eq,
    "unequal": torch.ne,
    "at_least": torch.ge,
    "greater": torch.gt,
}


class Exp(nn.Module):
    """The exponential of each number.

    Formula:
        exp(x)

    Shape:
        any -> the same

    Source:
        `torch.exp`; e.g. a learned temperature kept as its logarithm, Radford et al. 2021 (CLIP),
        arXiv:2103.00020, section 2.5.
    """

    pointwise = True

    def forward(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        return x.exp()


class Abs(nn.Module):
    """The size of each number, without its sign.

    Formula:
        |x|

    Shape:
        any -> the same

    Source:
        `torch.abs`; e.g. learned rates that must not be negative, Loshchilov et al. 2024 (nGPT),
        arXiv:2410.01131, section 2.2.2.
    """

    pointwise = True

    def forward(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        return x.abs()


class Log(nn.Module):
    """The natural logarithm of each number.

    Formula:
        log(x)

    Shape:
        any -> the same

    Source:
        `torch.log`: -inf of 0, NaN of a negative number; e.g. distances between patches on a
        logarithmic scale, Liu et al. 2022 (Swin V2), arXiv:2111.09883, equation 4.
    """

    pointwise = True

    def forward(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        return x.log()


class Sin(nn.Module):
    """The sine of each number.

    Formula:
        sin(x)

    Shape:
        any -> the same

    Source:
        `torch.sin`; as an activation: Sitzmann et al. 2020 (SIREN), arXiv:2006.09661.
    """

    pointwise = True

    def forward(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        return x.sin()


class Cos(nn.Module):
    """The cosine of each number.

    Formula:
        cos(x)

    Shape:
        any -> the same

    Source:
        `torch.cos`; random Fourier features: Rahimi and Recht 2007, "Random Features for
        Large-Scale Kernel Machines", algorithm 1.
    """

    pointwise = True

    def forward(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        return x.cos()


class Power(nn.Module):
    """Each number to a power.

    Formula:
        x ^ exponent

    Args:
        exponent: the power; 0.5 is the square root, -1 the reciprocal. A negative number to a power
            that is not whole is NaN.

    Shape:
        any -> the same

    Source:
        `torch.pow`; after `ReLU` with exponent 2: So et al. 2021 (Primer), arXiv:2109.08668.
    """

    pointwise = True

    def __init__(self, exponent: float):
        super().__init__()
        self.exponent = exponent

    @property
    def idle(self) -> bool:
        return self.exponent == 1

    def forward(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        return x**self.exponent


class Compare(nn.Module):
    """Whether each number stands in a relation to that of another input, or to a given number.

    Formula:
        a < b, and likewise for the other relations

    Args:
        relation: of the first input to the second.
        to: the number to compare with, where there is no second input.

    Shape:
        a, and b with as many axes, each of the same size or 1 -> the larger size on every axis,
        true or false

    Raises:
        BlockError: an unknown relation; in forward: both a second input and `to`, or neither, or
            shapes that do not agree.

    Source:
        `torch.lt` and its like. With `Arange` it makes masks: a causal one compares the position of
        each query with that of each key. No gradient flows through it.
    """

    pointwise = True

    def __init__(
        self,
        relation: Literal["less", "at_most", "equal", "unequal", "at_least", "greater"],
        *,
        to: float | None = None,
    ):
        super().__init__()
        if relation not in RELATIONS:
            raise BlockError(
                "relation is not known",
                got=f"relation={relation}",
                fits=f"relation in {', '.join(RELATIONS)}",
            )
        self.relation, self.to_number = relation, to

    def forward(
        self, a: Shaped[Tensor, "..."], b: Shaped[Tensor, "..."] | None = None
    ) -> Bool[Tensor, "..."]:
        if (b is None) == (self.to_number is None):
            raise BlockError(
                "a value is compared with a second input or with a number",
                got=f"{1 if b is None else 2} inputs, to={self.to_number}",
                fits="in: [a, b], or in: a with to: 0.5",
                code="wrong-inputs",
            )
        if b is not None:
            must_agree((a, b), "compare")
        return RELATIONS[self.relation](a, self.to_number if b is None else b)


class Where(nn.Module):
    """One of two inputs for each element: the first where a mask is true, else the second.

    Formula:
        a where the condition is true, else b

    Shape:
        condition, a, b with as many axes, each of the same size or 1 -> the larger size on every
        axis

    Raises:
        BlockError: the shapes do not agree.

    Source:
        `torch.where`; e.g. a learned token in place of hidden ones, Devlin et al. 2019,
        arXiv:1810.04805, section 3.1. The gradient of what is not chosen is 0.
    """

    pointwise = True

    def forward(
        self,
        condition: Bool[Tensor, "..."],
        a: Shaped[Tensor, "..."],
        b: Shaped[Tensor, "..."],
    ) -> Shaped[Tensor, "..."]:
        must_agree((condition, a, b), "choose from")
        return torch.where(condition, a, b)


class StopGradient(nn.Module):
    """The input, through which no gradient flows back.

    Formula:
        x, with the gradient 0

    Shape:
        any -> the same

    Source:
        `torch.Tensor.detach`; the targets of Chen and He 2021 (SimSiam), arXiv:2011.10566, section
        3.
    """

    pointwise = True

    def forward(self, x: Shaped[Tensor, "..."]) -> Shaped[Tensor, "..."]:
        return x.detach()
