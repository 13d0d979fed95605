"""Recurrent networks whose gates look at the token only: all tokens are computed at once."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from blocks.errors import BlockError, must_be_positive, must_be_share
from blocks.recurrent.selective_scan import scan_channels
from blocks.support.decode_cache import DecodeCache


class _Minimal(nn.Module):
    """The common part of both: layers, padding and steps."""

    gates: int
    outputs = ("sequence", "state")

    def __init__(self, dim: int, hidden: int, layers: int, dropout: float, chunk: int | None):
        super().__init__()
        must_be_positive("hidden", hidden)
        must_be_positive("layers", layers)
        must_be_share("dropout", dropout)
        must_be_positive("chunk", 1 if chunk is None else chunk)
        self.hidden, self.dropout, self.chunk = hidden, dropout, chunk
        widths = [dim, *[hidden] * (layers - 1)]
        rows = (self.gates + 1) * hidden
        self.layers = nn.ModuleList(nn.Linear(width, rows) for width in widths)

    def share(self, gates: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """The negative logarithm of what is kept, and the share that is written."""
        raise NotImplementedError

    def forward(
        self,
        x: Float[Tensor, "batch tokens dim"],
        padding_mask: Bool[Tensor, "batch tokens"] | None = None,
        state: Float[Tensor, "batch levels hidden"] | None = None,
    ) -> tuple[Float[Tensor, "batch tokens out_dim"], Float[Tensor, "batch levels hidden"]]:
        return self.run(x, padding_mask, state)

    def step(
        self,
        memory: DecodeCache,
        x: Tensor,
        padding_mask: Tensor | None = None,
        state: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        x, last = self.run(x, padding_mask, memory.get("state", state))
        memory.keep("state", last)
        return x, last

    def run(
        self, x: Tensor, padding_mask: Tensor | None, state: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The sequence, zero at padding, and the state of each layer at the last token."""
        levels = (len(x), len(self.layers), self.hidden)
        if state is None:
            state = x.new_zeros(levels)
        if tuple(state.shape) != levels:
            raise BlockError(
                "an initial state must be (batch, layers, hidden)",
                got=f"{tuple(state.shape)}",
                fits=f"{levels}",
                code="shape-mismatch",
            )
        last = []
        for i, layer in enumerate(self.layers):
            if i > 0:
                x = F.dropout(x, self.dropout, self.training)
            *gates, value = layer(x).chunk(self.gates + 1, dim=-1)
            step, share = self.share(tuple(gates))
            if padding_mask is not None:
                step = step.masked_fill(~padding_mask[..., None], 0.0)
                share = share.masked_fill(~padding_mask[..., None], 0.0)
            ones = step.new_ones(*step.shape[:2], 1)
            rate = step.new_full((self.hidden, 1), -1.0)
            first = state[:, i, :, None].to(step.dtype)
            x, end = scan_channels(step, rate, share * value, ones, ones, first, self.chunk)
            last.append(end.squeeze(-1))
            if padding_mask is not None:
                x = x.masked_fill(~padding_mask[..., None], 0.0)
        return x, torch.stack(last, dim=1)


class MinGRU(_Minimal):
    """The GRU without a reset gate, whose update gate and new state look at the token only.

    Formula:
        h_t = (1 - z_t) ⊙ h_{t-1} + z_t ⊙ (W x_t + b), with z_t = σ(U x_t + c)

    Args:
        dim: width of a token; inferred from the input.
        hidden: width of the state.
        layers: how many, each on the sequence of the one before.
        dropout: share zeroed between layers in training, in [0, 1).
        chunk: tokens that are scanned one after another while the pieces are scanned side by side;
            the result does not depend on it. None chooses by the size of the state.

    Shape:
        (batch, tokens, dim), padding_mask (batch, tokens), state (batch, layers, hidden)
        -> sequence (batch, tokens, hidden), zero at padding, and state (batch, layers, hidden) at
        the last token

    Raises:
        BlockError: a size is not positive; `dropout` is outside [0, 1); a state that does not fit.

    Source:
        Feng et al. 2024, arXiv:2410.01201, section 3.1.3.
    """

    gates = 1

    def __init__(
        self,
        dim: int,
        *,
        hidden: int,
        layers: int = 1,
        dropout: float = 0.0,
        chunk: int | None = None,
    ):
        super().__init__(dim, hidden, layers, dropout, chunk)

    def share(self, gates: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        return F.softplus(gates[0]), gates[0].sigmoid()


class MinLSTM(_Minimal):
    """The LSTM without output gate and cell, whose gates look at the token only and sum to 1.

    Formula:
        h_t = f_t / (f_t + i_t) ⊙ h_{t-1} + i_t / (f_t + i_t) ⊙ (W x_t + b), with f_t, i_t = σ(U x_t
        + c)

    Args:
        dim: width of a token; inferred from the input.
        hidden: width of the state.
        layers: how many, each on the sequence of the one before.
        dropout: share zeroed between layers in training, in [0, 1).
        chunk: tokens that are scanned one after another while the pieces are scanned side by side;
            the result does not depend on it. None chooses by the size of the state.

    Shape:
        (batch, tokens, dim), padding_mask (batch, tokens), state (batch, layers, hidden)
        -> sequence (batch, tokens, hidden), zero at padding, and state (batch, layers, hidden) at
        the last token

    Raises:
        BlockError: a size is not positive; `dropout` is outside [0, 1); a state that does not fit.

    Source:
        Feng et al. 2024, arXiv:2410.01201, section 3.2.4.
    """

    gates = 2

    def __init__(
        self,
        dim: int,
        *,
        hidden: int,
        layers: int = 1,
        dropout: float = 0.0,
        chunk: int | None = None,
    ):
        super().__init__(dim, hidden, layers, dropout, chunk)

    def share(self, gates: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        forget, write = gates
        apart = F.softplus(-forget) - F.softplus(-write)  # log of i / f
        return F.softplus(apart), apart.sigmoid()
