"""Values that do not come from an input: constants, positions, random and learned numbers.

Each takes an optional input `like`, of which only the batch size is used. The result is then
(batch, ...), the same for every example. Without it (`in: []`) the batch axis has size 1, which
`Add`, `Multiply`, `MatMul` and others stretch.
"""

import math
from typing import Literal

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from blocks.errors import BlockError, must_be_positive
from blocks.support.decode_cache import DecodeCache

Shape = list[int] | dict[str, int]
"""Sizes without the batch, or sizes by the names of their axes."""

DTYPES = {"float": torch.float32, "int": torch.int64, "bool": torch.bool}


def list_sizes(shape: Shape) -> list[int]:
    """The sizes of a shape; raises a BlockError where there are none, or one is not positive."""
    sizes = list(shape.values()) if isinstance(shape, dict) else list(shape)
    if not sizes or min(sizes) < 1:
        raise BlockError(
            "shape must have axes of size 1 or more, without the batch",
            got=f"shape={shape}",
            fits="[4, 64] or {tokens: 4, dim: 64}; [1, 1] for one number beside (batch, tokens, "
            "dim)",
        )
    return sizes


class _Sized(nn.Module):
    """A value of a stated shape."""

    def __init__(self, shape: Shape):
        super().__init__()
        self.shape = shape
        self.sizes = list_sizes(shape)

    @property
    def axis_names(self) -> tuple[str | None, ...]:
        """Names of the axes that leave, for expressions in YAML; None where they have none."""
        names = list(self.shape) if isinstance(self.shape, dict) else [None] * len(self.shape)
        return ("batch", *names)


def repeat_for(like: Tensor | None, value: Tensor) -> Tensor:
    """The value for each example of `like`, or for a batch of one; a view, nothing is copied."""
    batch = 1 if like is None else like.shape[0]
    return value.expand(batch, *value.shape)


class Constant(_Sized):
    """Numbers that are given, not learned.

    Formula:
        value

    Args:
        shape: sizes without the batch, or sizes by the names of their axes.
        value: one number for all, or all numbers, row by row.
        kind: of the numbers.

    Shape:
        like (batch, ...) -> (batch, *shape); without it (1, *shape)

    Raises:
        BlockError: `shape` has no axes or an empty one; `value` has another number of numbers;
            `kind` is unknown.

    Source:
        `torch.full`; e.g. the mean and deviation of the channels of an image.
    """

    value: Tensor

    def __init__(
        self,
        shape: Shape,
        value: float | list[float] = 0.0,
        *,
        kind: Literal["float", "int", "bool"] = "float",
    ):
        super().__init__(shape)
        if kind not in DTYPES:
            raise BlockError("kind is not known", got=f"kind={kind}", fits=", ".join(DTYPES))
        given = torch.tensor(value, dtype=DTYPES[kind])
        count = math.prod(self.sizes)
        if given.dim() == 1 and given.numel() != count:
            raise BlockError(
                "value must be one number, or one for each element of the shape",
                got=f"{given.numel()} numbers, shape={shape}",
                fits=f"1 or {count} numbers",
            )
        if given.dim() == 1:
            given = given.view(self.sizes)
        self.register_buffer("value", given, persistent=False)

    def forward(self, like: Shaped[Tensor, "batch ..."] | None = None) -> Shaped[Tensor, "..."]:
        return repeat_for(like, self.value.expand(self.sizes))


class Arange(nn.Module):
    """Numbers in equal steps: the positions of the tokens of the input, or of a given length.

    Formula:
        start + step · i, for i = 0, 1, ...

    Args:
        length: how many; None is the number of places on an axis of `like`.
        axis: of `like`, whose places are counted; 1 are the tokens.
        start: the first number.
        step: from one number to the next.
        kind: of the numbers. Whole numbers can be looked up (`Embedding`); `start` and `step` are
            then whole.

    Shape:
        like (batch, tokens, ...) -> (batch, length); without it (1, length)

    Raises:
        BlockError: `length` or `axis` is not positive, `start` or `step` is not whole, `kind` is
            unknown; in forward: neither `length` nor an input that has the axis.

    Source:
        `torch.arange`; positions: Vaswani et al. 2017, arXiv:1706.03762, section 3.5.
    """

    origin: Tensor

    def __init__(
        self,
        length: int | None = None,
        *,
        axis: int = 1,
        start: float = 0,
        step: float = 1,
        kind: Literal["int", "float"] = "int",
    ):
        super().__init__()
        must_be_positive("length", 1 if length is None else length)
        must_be_positive("axis", axis)
        if kind not in ("int", "float"):
            raise BlockError("kind is not known", got=f"kind={kind}", fits="int, float")
        if kind == "int" and (start != int(start) or step != int(step)):
            raise BlockError(
                "start and step must be whole where the numbers are",
                got=f"start={start}, step={step}, kind=int",
                fix="kind: float",
            )
        self.length, self.axis, self.start, self.stride = length, axis, start, step
        # of the dtype and on the device of the result
        self.register_buffer("origin", torch.zeros(1, dtype=DTYPES[kind]), persistent=False)

    def forward(
        self, like: Shaped[Tensor, "batch ..."] | None = None
    ) -> Shaped[Tensor, "batch out_tokens"]:
        return self.count_from(0, like)

    def count_from(self, past: int, like: Tensor | None) -> Tensor:
        """The numbers for the places after the first `past` ones."""
        if self.length is not None:
            past, length = 0, self.length
        elif like is not None and self.axis < like.ndim:
            length = like.shape[self.axis]
        else:
            raise BlockError(
                "the number of places must be given, or those of an axis of the input",
                got="no input" if like is None else f"axis={self.axis}, {like.ndim} axes",
                fits="length: 16, or in: NODE with that axis",
                code="wrong-inputs",
            )
        # Whole numbers up to 2^24 are exact in float32, not in the precision of training.
        places = torch.arange(past, past + length, device=self.origin.device)
        numbers = self.start + self.stride * places
        return repeat_for(like, numbers.to(self.origin.dtype))

    def step(self, memory: DecodeCache, like: Tensor | None = None) -> Tensor:
        return self.count_from(memory.seen if self.axis == 1 else 0, like)


class Random(_Sized):
    """Random numbers: noise that is drawn at each call, or fixed numbers drawn once.

    Formula:
        ε, of the standard normal distribution or uniform in [0, 1)

    Args:
        shape: sizes without the batch, or sizes by the names of their axes.
        distribution: normal or uniform.
        seed: draws the numbers once, the same for every example and for every run. They are saved
            with the weights and not trained. None is noise: in training new numbers at each call
            and for each example, otherwise their mean.

    Shape:
        like (batch, ...) -> (batch, *shape); without it (1, *shape)

    Raises:
        BlockError: `shape` has no axes or an empty one; `distribution` is unknown; `seed` is
            negative.

    Source:
        Noise comes from torch's generator, which `seed` of a run sets and a checkpoint restores:
        the noisy gates of Shazeer et al. 2017, arXiv:1701.06538, equation 4. Fixed numbers: Rahimi
        and Recht 2007, "Random Features for Large-Scale Kernel Machines".
    """

    value: Tensor

    def __init__(
        self,
        shape: Shape,
        distribution: Literal["normal", "uniform"] = "normal",
        *,
        seed: int | None = None,
    ):
        super().__init__(shape)
        if distribution not in ("normal", "uniform"):
            raise BlockError(
                "distribution is not known",
                got=f"distribution={distribution}",
                fits="normal, uniform",
            )
        if seed is not None and seed < 0:
            raise BlockError("seed must not be negative", got=f"seed={seed}", fits="seed=0 or more")
        self.distribution, self.fixed = distribution, seed is not None
        mean = 0.0 if distribution == "normal" else 0.5
        value = torch.full((1,), mean)
        if seed is not None:
            generator = torch.Generator("cpu").manual_seed(seed)
            value = self.draw(torch.empty(self.sizes), generator)
        self.register_buffer("value", value, persistent=self.fixed)

    def draw(self, empty: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Fill a tensor with random numbers."""
        if self.distribution == "normal":
            return empty.normal_(generator=generator)
        return empty.uniform_(generator=generator)

    def forward(self, like: Shaped[Tensor, "batch ..."] | None = None) -> Float[Tensor, "..."]:
        if self.fixed or not self.training:
            return repeat_for(like, self.value.expand(self.sizes))
        batch = 1 if like is None else like.shape[0]
        return self.draw(self.value.new_empty(batch, *self.sizes))


class Parameter(_Sized):
    """Learned numbers: registers, queries, a temperature, a matrix.

    Formula:
        W

    Args:
        shape: sizes without the batch, or sizes by the names of their axes.
        start: where the numbers start: all at a number, drawn of a normal distribution, or as the
            identity in the last two axes.
        deviation: of the normal distribution.

    Shape:
        like (batch, ...) -> (batch, *shape), the same for each example; without it (1, *shape)

    Raises:
        BlockError: `shape` has no axes or an empty one, or one axis for `eye`; `start` is unknown;
            `deviation` is not positive.

    Source:
        Registers: Darcet et al. 2024, arXiv:2309.16588, section 2.2. Queries: Carion et al. 2020
        (DETR), arXiv:2005.12872. A temperature: Radford et al. 2021 (CLIP), arXiv:2103.00020,
        section 2.5. The normal distribution is that of BERT and ViT, without truncation.
    """

    def __init__(
        self,
        shape: Shape,
        start: Literal["zeros", "ones", "normal", "eye"] | float = "normal",
        *,
        deviation: float = 0.02,
    ):
        super().__init__(shape)
        must_be_positive("deviation", deviation)
        numbers = {"zeros": 0.0, "ones": 1.0, "normal": 0.0, "eye": 0.0}
        if isinstance(start, str) and start not in numbers:
            raise BlockError(
                "start is not known", got=f"start={start}", fits=f"{', '.join(numbers)}, a number"
            )
        if start == "eye" and len(self.sizes) < 2:
            raise BlockError(
                "an identity has two axes or more", got=f"shape={shape}", fits="shape: [8, 8]"
            )
        number = numbers[start] if isinstance(start, str) else float(start)
        self.value = nn.Parameter(torch.full(self.sizes, number))
        if start == "normal":
            nn.init.normal_(self.value, std=deviation)
        if start == "eye":
            with torch.no_grad():
                self.value.diagonal(dim1=-2, dim2=-1).fill_(1.0)

    def forward(self, like: Shaped[Tensor, "batch ..."] | None = None) -> Float[Tensor, "..."]:
        return repeat_for(like, self.value)
