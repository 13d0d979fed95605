"""Fourier transforms, against the sum that defines them."""

import math

import pytest
import torch

from blocks.combine import FFT, InverseFFT, Multiply, Subtract
from blocks.combine import Add as Sum
from blocks.errors import BlockError

BATCH, TOKENS, DIM = 2, 7, 5


def draw(*shape):
    torch.manual_seed(0)
    return torch.randn(shape or (BATCH, TOKENS, DIM), dtype=torch.float64)


def sum_up(x, axis):
    """Σ x_t exp(-2πi k t / n), term by term."""
    places = torch.arange(x.shape[axis], dtype=torch.float64)
    turns = torch.outer(places, places) * (-2j * math.pi / x.shape[axis])
    return torch.tensordot(x.to(torch.complex128), turns.exp(), dims=([axis], [0])).movedim(
        -1, axis
    )


def near(found, wanted):
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("axes", [1, -1, [1, 2], [2, 1]])
def test_a_transform_is_its_sum(axes):
    x, wanted = draw(), draw()
    listed = [axes] if isinstance(axes, int) else axes
    for axis in listed:
        wanted = sum_up(wanted, axis % 3)
    real, imaginary = FFT(axes)(x)
    near(torch.complex(real, imaginary), wanted)
    half = torch.complex(*FFT(axes, half=True)(x))
    near(half, wanted.narrow(listed[-1], 0, x.shape[listed[-1]] // 2 + 1))


@pytest.mark.parametrize("norm", ["backward", "ortho", "forward"])
@pytest.mark.parametrize("tokens", [6, 7])
@pytest.mark.parametrize("half", [False, True])
def test_the_inverse_gives_what_was_transformed(tokens, half, norm):
    x = draw(BATCH, tokens, DIM)
    size = tokens if half else None
    for axes in (1, [2, 1]):
        back = InverseFFT(axes, half=half, size=size, norm=norm)
        near(back(*FFT(axes, half=half, norm=norm)(x)), x)


def test_half_of_an_even_size_needs_no_size():
    x = draw(BATCH, 6, DIM)
    near(InverseFFT(half=True)(*FFT(half=True)(x)), x)


def test_a_product_of_transforms_is_a_circular_convolution():
    """As a global filter is composed: of four products, a difference and a sum."""
    x, kernel = draw(), draw(1, TOKENS, DIM).flip(1)
    (a, b), (c, d) = FFT()(x), FFT()(kernel)
    real = Subtract()(Multiply()(a, c), Multiply()(b, d))
    imaginary = Sum()(Multiply()(a, d), Multiply()(b, c))
    wanted = torch.zeros_like(x)
    for shift in range(TOKENS):
        wanted += x.roll(shift, dims=1) * kernel[:, shift : shift + 1]
    near(InverseFFT()(real, imaginary), wanted)


def test_values_of_16_bits_stay_so_and_are_transformed_in_32():
    x = draw().bfloat16()
    real, _ = FFT()(x)
    assert real.dtype == torch.bfloat16
    assert torch.equal(real, FFT()(x.float())[0].bfloat16())
    assert InverseFFT()(real, real).dtype == torch.bfloat16
    assert FFT(half=True).half()(x.half())[0].dtype == torch.float16  # the method is still there


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            lambda: FFT(norm="unit"),
            "norm is not known; got norm=unit; fits: norm in backward, ortho, forward",
        ),
        (
            lambda: FFT([1, -2])(draw()),
            "axes must be one or more, each once; got axes=[1, -2], 3 axes; fits: [1, 2]",
        ),
        (
            lambda: FFT(3)(draw()),
            "there is no such axis; got axis=3, 3 axes; fits: axis in -3..2",
        ),
        (
            lambda: InverseFFT(size=7),
            "size belongs to half a transform; got size=7, half=false; fits: half=true",
        ),
        (
            lambda: InverseFFT()(draw(), draw(2, 7, 6)),
            "real and imaginary have one shape; got real (7, 5), imaginary (7, 6) of each sample",
        ),
    ],
)
def test_mistakes_are_told(wrong, message):
    with pytest.raises(BlockError) as error:
        wrong()
    assert str(error.value) == message
