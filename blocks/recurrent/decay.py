"""How much of its state a linear recurrence keeps at each token: the part `decay` of
`LinearRecurrence`.

A part maps the tokens to the logarithm of the share that is kept, (batch or 1, heads, tokens or 1,
1 or head_dim), and to the factor of what is written, (batch, heads, tokens, 1), or None for 1.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from blocks.errors import BlockError, must_be_positive


class ConstantDecay(nn.Module):
    """Each head keeps a constant share of its state, from 1 - 2^-5 on: no parameters.

    Formula:
        1 - 2^(-5 - head)

    Args:
        heads: number of heads; those of the recurrence around it.

    Shape:
        x (batch, tokens, dim) -> decay (1, heads, 1, 1), and None

    Source:
        Sun et al. 2023 (RetNet), arXiv:2307.08621, equation 8.
    """

    outputs = ("decay", "factor")

    def __init__(self, heads: int):
        super().__init__()
        self.heads = heads

    def forward(
        self, x: Float[Tensor, "batch tokens dim"]
    ) -> tuple[Float[Tensor, "1 heads 1 1"], None]:
        dtype = torch.promote_types(x.dtype, torch.float32)
        heads = torch.arange(self.heads, dtype=dtype, device=x.device)
        kept = torch.log1p(-torch.exp2(-5 - heads))
        return kept[None, :, None, None], None


class ChannelDecay(nn.Module):
    """Each token decides what each channel of each head keeps, by a projection of low rank.

    Formula:
        σ(x A B + b)^(1 / temperature)

    Args:
        dim: width of a token.
        heads: number of heads; those of the recurrence around it.
        head_dim: width of a head of queries and keys; that of the recurrence around it.
        rank: width between the two projections.
        temperature: the larger, the more is kept.

    Shape:
        x (batch, tokens, dim) -> decay (batch, heads, tokens, head_dim), and None

    Raises:
        BlockError: `rank` or `temperature` is not positive.

    Source:
        Yang et al. 2023 (GLA), arXiv:2312.06635, section 4.4: rank 16 and temperature 16.
    """

    outputs = ("decay", "factor")

    def __init__(
        self, dim: int, heads: int, head_dim: int, *, rank: int = 16, temperature: float = 16.0
    ):
        super().__init__()
        must_be_positive("rank", rank)
        must_be_positive("temperature", temperature)
        self.head_dim, self.temperature = head_dim, temperature
        self.down = nn.Linear(dim, rank, bias=False)
        self.up = nn.Linear(rank, heads * head_dim)

    def forward(
        self, x: Float[Tensor, "batch tokens dim"]
    ) -> tuple[Float[Tensor, "batch heads tokens head_dim"], None]:
        kept = self.up(self.down(x)).unflatten(-1, (-1, self.head_dim)).transpose(1, 2)
        kept = kept.to(torch.promote_types(kept.dtype, torch.float32))
        return F.logsigmoid(kept) / self.temperature, None


class StepDecay(nn.Module):
    """Each token decides how long a step of time it is for each head: a state space with one decay
    rate for each head.

    Formula:
        exp(-rate · step), with step = softplus(x W + step_bias) and rate = exp(log_rate)

    Args:
        dim: width of a token.
        heads: number of heads; those of the recurrence around it.
        write: what is written is multiplied by the step, as where the state space is discretised.
        shortest: the shortest step at the start; steps start log-uniform.
        longest: the longest step at the start.
        rates: lowest and highest rate at the start; they start uniform.

    Shape:
        x (batch, tokens, dim) -> decay (batch, heads, tokens, 1), and factor of the same shape
        where `write`, else None

    Raises:
        BlockError: `shortest` is not positive or above `longest`; `rates` are not two positive
            numbers in order.

    Source:
        Dao and Gu 2024 (Mamba-2), arXiv:2405.21060, section 7, and its code; without `write` the
        decay of Yang et al. 2024 (gated DeltaNet), arXiv:2412.06464, section 3.4.
    """

    outputs = ("decay", "factor")

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        write: bool = True,
        shortest: float = 0.001,
        longest: float = 0.1,
        rates: tuple[float, float] = (1.0, 16.0),
    ):
        super().__init__()
        must_be_positive("shortest", shortest)
        if shortest > longest:
            raise BlockError(
                "the shortest step is above the longest",
                got=f"shortest={shortest}, longest={longest}",
                fits=f"shortest={longest} or less",
            )
        if len(rates) != 2 or not 0 < rates[0] <= rates[1]:
            raise BlockError(
                "rates are two positive numbers in order", got=f"rates={rates}", fits="e.g. [1, 16]"
            )
        self.write = write
        self.project = nn.Linear(dim, heads, bias=False)
        self.step_bias = nn.Parameter(torch.empty(heads))
        self.log_rate = nn.Parameter(torch.empty(heads))
        start_steps(self.step_bias, shortest, longest)
        with torch.no_grad():
            self.log_rate.uniform_(*rates).log_()

    def forward(
        self, x: Float[Tensor, "batch tokens dim"]
    ) -> tuple[
        Float[Tensor, "batch heads tokens one"], Float[Tensor, "batch heads tokens one"] | None
    ]:
        dtype = torch.promote_types(x.dtype, torch.float32)
        step = F.softplus(self.project(x).to(dtype) + self.step_bias)
        decay = -self.log_rate.to(dtype).exp() * step
        factor = step.transpose(1, 2).unsqueeze(-1) if self.write else None
        return decay.transpose(1, 2).unsqueeze(-1), factor


@torch.no_grad()
def start_steps(bias: Tensor, shortest: float, longest: float) -> None:
    """Fill `bias` so that softplus(bias) is log-uniform from `shortest` to `longest`."""
    step = bias.uniform_(math.log(shortest), math.log(longest)).exp_()
    bias.copy_(step + (-torch.expm1(-step)).log())
