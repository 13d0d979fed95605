"""Values that all layers of attention share."""

from jaxtyping import Float
from torch import Tensor, nn

from blocks.errors import must_be_positive
from blocks.norm import RMSNorm


class FirstValues(nn.Module):
    """Values of the tokens that enter the first layer, which each attention with `value_residual`
    adds to its own. The tokens pass unchanged.

    Formula:
        norm(x) W

    Args:
        dim: width of a token; inferred from the input.
        features: width of the values, `kv_heads * head_dim` of the attention.

    Shape:
        (batch, *tokens, dim) -> tokens (batch, *tokens, dim), values (batch, *tokens, features)

    Raises:
        BlockError: `features` is not positive.

    Source:
        Zhou et al. 2024 (ResFormer), arXiv:2410.17897, section 3.2. There the first layer's values
        are used, which have no mixture of their own; here the shared values have a projection of
        their own, and the first layer mixes as every other.
    """

    outputs = ("tokens", "values")

    def __init__(self, dim: int, features: int):
        super().__init__()
        must_be_positive("features", features)
        self.norm = RMSNorm(dim)
        self.value = nn.Linear(dim, features, bias=False)

    def forward(
        self, x: Float[Tensor, "batch *tokens dim"]
    ) -> tuple[Float[Tensor, "batch *tokens dim"], Float[Tensor, "batch *tokens value_dim"]]:
        return x, self.value(self.norm(x))
