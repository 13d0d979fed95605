"""Mamba's layer: a state space whose step of time, input and output depend on the token."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from blocks.attention.mask import Mask, key_mask
from blocks.errors import BlockError, must_be_positive
from blocks.recurrent.decay import start_steps
from blocks.recurrent.selective_scan import scan_channels
from blocks.recurrent.short_convolution import convolve_channels
from blocks.support.decode_cache import DecodeCache, must_be_a_row, must_not_mask_pairs


class SelectiveStateSpace(nn.Module):
    """Selective state space in the place of attention: a state of `state` numbers for each of
    `hidden` channels.

    Formula:
        y_t = C_t h_t + D x_t, with h_t = exp(Δ_t A) h_{t-1} + Δ_t B_t x_t; Δ, B and C are
        projections of x, which is convolved; then the output projection of y ⊙ silu(z)

    Args:
        dim: width of a token; inferred from the input.
        hidden: number of channels; None is `2 * dim`.
        state: numbers of the state of a channel.
        rank: width between the two projections to Δ; None is `dim / 16`, rounded up.
        conv: tokens that the convolution over each channel sees.
        conv_bias: that convolution has a bias.
        bias: the projections to x, z and to the output have a bias.
        project_bias: the one to the output has it; None is `bias`.
        causal: must be true; there for models that say so to their attention.
        shortest: the shortest step Δ at the start; steps start log-uniform.
        longest: the longest step Δ at the start.
        chunk: tokens that are scanned one after another while the pieces are scanned side by side;
            the result does not depend on it. None chooses by the size of the state.

    Shape:
        x (batch, *tokens, dim), padding_mask (batch, *tokens) -> (batch, *tokens, dim). Padding
        leaves the state as it is. Several axes of tokens are read in row-major order.

    Raises:
        BlockError: a size is not positive, `causal` is false, a padding mask that is not boolean; a
            `mask` is given.

    Source:
        Gu and Dao 2023 (Mamba), arXiv:2312.00752, algorithm 2 and figure 3; A starts as -1, -2, ...
        for each channel (S4D-Real), Δ log-uniform.
    """

    def __init__(
        self,
        dim: int,
        *,
        hidden: int | None = None,
        state: int = 16,
        rank: int | None = None,
        conv: int = 4,
        conv_bias: bool = True,
        bias: bool = False,
        project_bias: bool | None = None,
        causal: bool = True,
        shortest: float = 0.001,
        longest: float = 0.1,
        chunk: int | None = None,
    ):
        super().__init__()
        hidden = 2 * dim if hidden is None else hidden
        rank = math.ceil(dim / 16) if rank is None else rank
        sizes = {"hidden": hidden, "state": state, "rank": rank, "conv": conv, "chunk": chunk or 1}
        for name, size in sizes.items():
            must_be_positive(name, size)
        if not causal:
            raise BlockError(
                "a recurrence reads from the first token to the last",
                got="causal=false",
                fits="causal=true",
                fix="model/attention=linear or full, to see all tokens",
            )
        self.hidden, self.state, self.rank, self.chunk = hidden, state, rank, chunk
        self.enter = nn.Linear(dim, 2 * hidden, bias=bias)
        self.conv = nn.Conv1d(hidden, hidden, conv, groups=hidden, bias=conv_bias)
        self.select = nn.Linear(hidden, rank + 2 * state, bias=False)
        self.steps = nn.Linear(rank, hidden)
        self.log_rate = nn.Parameter(torch.empty(hidden, state))
        self.skip = nn.Parameter(torch.ones(hidden))
        project_bias = bias if project_bias is None else project_bias
        self.project = nn.Linear(hidden, dim, bias=project_bias)
        nn.init.uniform_(self.steps.weight, -(rank**-0.5), rank**-0.5)
        start_steps(self.steps.bias, shortest, longest)
        with torch.no_grad():
            self.log_rate.copy_(torch.arange(1, state + 1).log().expand(hidden, -1))

    def forward(
        self,
        x: Float[Tensor, "batch *tokens dim"],
        padding_mask: Bool[Tensor, " batch *tokens"] | None = None,
        mask: Mask | None = None,
    ) -> Float[Tensor, "batch *tokens dim"]:
        if mask is not None:
            raise BlockError(
                "SelectiveStateSpace never forms the weight of a pair and cannot mask it",
                got=f"mask of shape {tuple(mask.shape)}",
                fix="padding_mask for padding, SelfAttention for any other mask",
                code="unsupported",
            )
        out, _, _ = self.run(x.flatten(1, -2), padding_mask, None, None)
        return out.view(x.shape)

    def step(
        self,
        memory: DecodeCache,
        x: Tensor,
        padding_mask: Tensor | None = None,
        mask: Mask | None = None,
    ) -> Tensor:
        must_be_a_row(x)
        must_not_mask_pairs(mask)
        out, before, state = self.run(x, padding_mask, memory.get("before"), memory.get("state"))
        memory.keep("before", before)
        memory.keep("state", state)
        return out

    def run(
        self,
        x: Float[Tensor, "batch tokens dim"],
        padding_mask: Tensor | None,
        before: Float[Tensor, "batch past hidden"] | None,
        state: Float[Tensor, "batch hidden state"] | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The output, then what the convolution saw last, and the state.

        Args:
            before: the past tokens that the convolution sees; None for none.
            state: the state after the past tokens; None for none.
        """
        real = None
        if padding_mask is not None:
            real = key_mask(padding_mask)[:, 0].transpose(-2, -1)  # (batch, tokens, 1)
        inside, gate = self.enter(x).chunk(2, dim=-1)
        if real is not None:
            inside = inside.masked_fill(~real, 0.0)
        inside, before = convolve_channels(self.conv, inside, before)
        chosen = self.select(inside).split([self.rank, self.state, self.state], dim=-1)
        dtype = torch.promote_types(inside.dtype, torch.float32)
        steps, keys, queries = (part.to(dtype) for part in chosen)
        wide = F.linear(steps, self.steps.weight.to(dtype), self.steps.bias.to(dtype))
        step = F.softplus(wide)
        if real is not None:
            step = step.masked_fill(~real, 0.0)
        if state is None:
            state = step.new_zeros(len(x), self.hidden, self.state)
        rate = -self.log_rate.to(dtype).exp()
        read, state = scan_channels(step, rate, step * inside, keys, queries, state, self.chunk)
        read = (read + inside * self.skip).to(x.dtype) * F.silu(gate)
        return self.project(read), before, state
