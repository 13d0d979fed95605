"""A block of your own: any `nn.Module` whose `forward` states its shapes."""

from jaxtyping import Float
from torch import Tensor, nn


class TokenMixing(nn.Module):
    """A linear map across the tokens, the same for every channel.

    Args:
        tokens: inferred from the input, because an axis of `forward` has this name.
    """

    def __init__(self, tokens: int):
        super().__init__()
        self.mix = nn.Linear(tokens, tokens)

    def forward(self, x: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch tokens dim"]:
        return x + self.mix(x.mT).mT
