"""Recurrent networks on torch's fused kernels, with padding that changes nothing.

Parameters have the names, shapes and start of `torch.nn.RNN`, `GRU` and `LSTM`, whose weights load
as they are. A padding mask is True where a token is real; padding comes after the tokens. It
needs no packed sequence (whose LSTM is slow on a CPU, and whose lengths make the host wait for the
GPU) and no loop over the steps.
"""

from collections.abc import Callable
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from blocks.errors import BlockError, must_be_positive, must_be_share
from blocks.support.decode_cache import DecodeCache, StepError

# Of oneDNN on this processor; AVX2 alone has none, and an LSTM under autocast would raise.
HAS_BFLOAT16_KERNELS = (
    torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
)


class _Recurrence(nn.Module):
    """The common part of all three. `states` are the hidden state and, for an LSTM, the cell."""

    gates: ClassVar[int] = 1
    outputs: ClassVar[tuple[str, ...]]
    mode: str

    def __init__(self, dim: int, hidden: int, layers: int, bidirectional: bool, dropout: float):
        super().__init__()
        must_be_positive("hidden", hidden)
        must_be_positive("layers", layers)
        must_be_share("dropout", dropout)
        self.dim, self.hidden, self.layers, self.dropout = dim, hidden, layers, dropout
        self.directions = 2 if bidirectional else 1
        rows, bound = self.gates * hidden, hidden**-0.5
        for layer in range(layers):
            wide = dim if layer == 0 else hidden * self.directions
            for suffix in (f"l{layer}", f"l{layer}_reverse")[: self.directions]:
                for name, shape in (
                    ("weight_ih", (rows, wide)),
                    ("weight_hh", (rows, hidden)),
                    ("bias_ih", (rows,)),
                    ("bias_hh", (rows,)),
                ):
                    self.register_parameter(f"{name}_{suffix}", nn.Parameter(torch.empty(shape)))
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)
        self._flatten()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
        super()._apply(fn, recurse)
        self._flatten()
        return self

    def _flatten(self) -> None:
        """Put all weights into one block of memory, which cuDNN would otherwise do at every
        call.
        """
        weights: list[Tensor] = list(self.parameters())
        first = weights[0]
        if not (first.is_cuda and torch.backends.cudnn.is_acceptable(first)):
            return
        with torch.no_grad(), torch.cuda.device_of(first):
            torch._cudnn_rnn_flatten_weight(
                weights,
                4,  # a layer and direction has two weights and two biases
                self.dim,
                torch.backends.cudnn.rnn.get_cudnn_mode(self.mode),
                self.hidden,
                0,  # no projection of the state
                self.layers,
                True,  # batch first
                self.directions == 2,
            )

    def _weights(self, layer: int, direction: int) -> list[Tensor]:
        suffix = f"l{layer}_reverse" if direction else f"l{layer}"
        return [
            getattr(self, f"{name}_{suffix}")
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        ]

    def _kernel(
        self,
        x: Tensor,
        states: tuple[Tensor, ...],
        weights: list[Tensor],
        layers: int,
        bidirectional: bool,
    ) -> tuple[Tensor, ...]:
        """Run layers of the fused kernel: the sequence, then the last states as (levels, batch,
        hidden).
        """
        raise NotImplementedError

    def _run(
        self, x: Tensor, padding_mask: Tensor | None, given: tuple[Tensor | None, ...]
    ) -> tuple[Tensor, ...]:
        states = tuple(self._initial(x, each) for each in given)
        if padding_mask is None:
            weights = [
                each
                for k in range(self.layers)
                for d in range(self.directions)
                for each in self._weights(k, d)
            ]
            x, *last = self._kernel(x, states, weights, self.layers, self.directions == 2)
            return x, *(each.transpose(0, 1) for each in last)
        return self._run_padded(x, padding_mask, states)

    def step(
        self,
        memory: DecodeCache,
        x: Tensor,
        padding_mask: Tensor | None = None,
        state: Tensor | None = None,
        cell: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        if self.directions == 2:
            raise StepError(
                "a network that reads backwards starts at the end", got="bidirectional=true"
            )
        names = self.outputs[1:]
        given = zip(names, (state, cell), strict=False)
        x, *states = self._run(
            x, padding_mask, tuple(memory.get(name, first) for name, first in given)
        )
        for name, last in zip(names, states, strict=True):
            memory.keep(name, last)
        return x, *states

    def _initial(self, x: Tensor, state: Tensor | None) -> Tensor:
        """(batch, levels, hidden), or nothing, to the (levels, batch, hidden) of the kernel."""
        batch, levels = x.shape[0], self.layers * self.directions
        if state is None:
            return x.new_zeros(levels, batch, self.hidden)
        if tuple(state.shape) != (batch, levels, self.hidden):
            raise BlockError(
                "an initial state must be (batch, layers * directions, hidden)",
                got=f"{tuple(state.shape)}",
                fits=f"{(batch, levels, self.hidden)}",
                code="shape-mismatch",
            )
        return state.transpose(0, 1).contiguous()

    def _run_padded(
        self, x: Tensor, real: Tensor, states: tuple[Tensor, ...]
    ) -> tuple[Tensor, ...]:
        """One call of the kernel for each layer and direction; the backward one gets its tokens
        turned around in place.

        Padding then always comes after the tokens, where it cannot reach what matters: the sequence
        is zeroed there, the last state is the one at the last token.
        """
        padding = ~real.unsqueeze(-1)
        lengths = real.sum(dim=1)
        places = torch.arange(x.shape[1], device=x.device)
        turned = torch.where(real, lengths[:, None] - 1 - places, places)  # its own inverse
        end = (lengths - 1).clamp(min=0)[:, None]
        x = x.masked_fill(padding, 0)
        last: list[tuple[Tensor, ...]] = []
        for layer in range(self.layers):
            if layer > 0:
                x = F.dropout(x, self.dropout, self.training)
            sequences = []
            for direction in range(self.directions):
                level = layer * self.directions + direction
                initial = tuple(each[level : level + 1] for each in states)
                steps = _at(turned, x) if direction else x
                steps, weights = self._hold(steps, padding, self._weights(layer, direction))
                sequence, _, *cell = self._kernel(steps, initial, _one_piece(weights), 1, False)
                state = _at(end, sequence).squeeze(1)
                state = torch.where(lengths[:, None] > 0, state, initial[0][0])
                last.append((state, *(each[0] for each in cell)))
                sequence = sequence.masked_fill(padding, 0)
                sequences.append(_at(turned, sequence) if direction else sequence)
            x = torch.cat(sequences, dim=-1) if self.directions == 2 else sequences[0]
        return x, *(torch.stack(each, dim=1) for each in zip(*last, strict=True))

    def _hold(
        self, x: Tensor, padding: Tensor, weights: list[Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        """Make padding hold what the kernel gives only for the last step and the sequence does not
        show.
        """
        return x, weights


def _at(places: Tensor, x: Tensor) -> Tensor:
    """The tokens of x (batch, tokens, dim) at the places (batch, any number)."""
    return x.gather(
        1, places[:, :, None].expand(-1, -1, x.shape[2])
    )  # take_along_dim would fix the batch in an export


def _one_piece(weights: list[Tensor]) -> list[Tensor]:
    """The same weights as views of one piece of memory where they are on a GPU, as cuDNN wants
    them.
    """
    if not weights[0].is_cuda:
        return weights
    piece = torch.cat([each.flatten() for each in weights])
    parts = piece.split([each.numel() for each in weights])
    return [part.view(each.shape) for part, each in zip(parts, weights, strict=True)]


class RNN(_Recurrence):
    """Elman's recurrent network: each state is made from the token and the state before it.

    Formula:
        h = tanh(W x + b + U h + c)

    Args:
        dim: width of a token; inferred from the input.
        hidden: width of the state, in each direction.
        layers: how many, each on the sequence of the one before.
        bidirectional: a second network reads from the last token to the first; what both say stands
            side by side.
        dropout: share zeroed between layers in training, in [0, 1).
        nonlinearity: tanh or relu.

    Shape:
        (batch, tokens, dim), padding_mask (batch, tokens), state (batch, layers * directions,
        hidden)
        -> sequence (batch, tokens, directions * hidden), zero at padding,
        and state (batch, layers * directions, hidden) at the last token (backwards: the first)

    Raises:
        BlockError: a size is not positive; `dropout` is outside [0, 1); an unknown `nonlinearity`;
            a state that does not fit.

    Source:
        Elman 1990, doi:10.1207/s15516709cog1402_1. Equals `torch.nn.RNN`; with padding,
            `torch.nn.RNN` on each sequence
        alone.
    """

    outputs = ("sequence", "state")

    def __init__(
        self,
        dim: int,
        *,
        hidden: int,
        layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
        nonlinearity: Literal["tanh", "relu"] = "tanh",
    ):
        if nonlinearity not in ("tanh", "relu"):
            raise BlockError(
                "nonlinearity is not known",
                got=f"nonlinearity={nonlinearity}",
                fits="nonlinearity in tanh, relu",
            )
        self.mode = f"RNN_{nonlinearity.upper()}"
        super().__init__(dim, hidden, layers, bidirectional, dropout)

    def forward(
        self,
        x: Float[Tensor, "batch tokens dim"],
        padding_mask: Bool[Tensor, "batch tokens"] | None = None,
        state: Float[Tensor, "batch levels hidden"] | None = None,
    ) -> tuple[Float[Tensor, "batch tokens out_dim"], Float[Tensor, "batch levels hidden"]]:
        sequence, state = self._run(x, padding_mask, (state,))
        return sequence, state

    def _kernel(
        self,
        x: Tensor,
        states: tuple[Tensor, ...],
        weights: list[Tensor],
        layers: int,
        bidirectional: bool,
    ) -> tuple[Tensor, ...]:
        kernel = torch.rnn_tanh if self.mode == "RNN_TANH" else torch.rnn_relu
        return kernel(
            x, states[0], weights, True, layers, self.dropout, self.training, bidirectional, True
        )


class GRU(_Recurrence):
    """Gated recurrent units: a gate chooses between the old state and a new one.

    Formula:
        h = (1 - z) ⊙ n + z ⊙ h, with r, z = σ(W x + U h + b) and n = tanh(W x + r ⊙ (U h + b))

    Args:
        dim: width of a token; inferred from the input.
        hidden: width of the state, in each direction.
        layers: how many, each on the sequence of the one before.
        bidirectional: a second network reads from the last token to the first; what both say stands
            side by side.
        dropout: share zeroed between layers in training, in [0, 1).

    Shape:
        (batch, tokens, dim), padding_mask (batch, tokens), state (batch, layers * directions,
        hidden)
        -> sequence (batch, tokens, directions * hidden), zero at padding,
        and state (batch, layers * directions, hidden) at the last token (backwards: the first)

    Raises:
        BlockError: a size is not positive; `dropout` is outside [0, 1); a state that does not fit.

    Source:
        Cho et al. 2014, arXiv:1406.1078, with the reset gate after the product, as cuDNN has it.
        Equals `torch.nn.GRU`; with padding, `torch.nn.GRU` on each sequence alone.
    """

    gates = 3
    mode = "GRU"
    outputs = ("sequence", "state")

    def __init__(
        self,
        dim: int,
        *,
        hidden: int,
        layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
    ):
        super().__init__(dim, hidden, layers, bidirectional, dropout)

    def forward(
        self,
        x: Float[Tensor, "batch tokens dim"],
        padding_mask: Bool[Tensor, "batch tokens"] | None = None,
        state: Float[Tensor, "batch levels hidden"] | None = None,
    ) -> tuple[Float[Tensor, "batch tokens out_dim"], Float[Tensor, "batch levels hidden"]]:
        sequence, state = self._run(x, padding_mask, (state,))
        return sequence, state

    def _kernel(
        self,
        x: Tensor,
        states: tuple[Tensor, ...],
        weights: list[Tensor],
        layers: int,
        bidirectional: bool,
    ) -> tuple[Tensor, ...]:
        return torch.gru(
            x, states[0], weights, True, layers, self.dropout, self.training, bidirectional, True
        )


class LSTM(_Recurrence):
    """Long short-term memory: gates decide what a cell takes in, keeps and shows.

    Formula:
        c = f ⊙ c + i ⊙ g and h = o ⊙ tanh(c), with i, f, o = σ(W x + U h + b) and g = tanh(W x + U
        h + b)

    Args:
        dim: width of a token; inferred from the input.
        hidden: width of state and cell, in each direction.
        layers: how many, each on the sequence of the one before.
        bidirectional: a second network reads from the last token to the first; what both say stands
            side by side.
        dropout: share zeroed between layers in training, in [0, 1).
        forget_bias: where the bias of the forget gates starts, the sum of the two that torch has; 1
            lets the cell keep what it holds at first. None is torch's own start, uniform around 0.
        chrono: the longest time, in tokens, that has to be remembered: the biases of the forget
            gates start at log(uniform from 1 to chrono - 1), those of the input gates at the
            opposite, so that cells forget after times spread up to it. In place of `forget_bias`.

    Shape:
        (batch, tokens, dim), padding_mask (batch, tokens), state and cell (batch, layers *
        directions, hidden)
        -> sequence (batch, tokens, directions * hidden), zero at padding,
        then state and cell (batch, layers * directions, hidden) at the last token (backwards: the
        first)

    Raises:
        BlockError: a size is not positive; `dropout` is outside [0, 1); `chrono` is below 2, or
            beside `forget_bias`; a state or cell that does not fit.

    Source:
        Hochreiter and Schmidhuber 1997, doi:10.1162/neco.1997.9.8.1735, with the forget gate of
            Gers et al. 2000.
        Equals `torch.nn.LSTM`; with padding, `torch.nn.LSTM` on each sequence alone. A forget bias
        of 1: Jozefowicz et al. 2015, "An Empirical Exploration of Recurrent Network Architectures",
        section 2.2. The start by `chrono`: Tallec and Ollivier 2018, arXiv:1804.11188, section 2.
    """

    gates = 4
    mode = "LSTM"
    outputs = ("sequence", "state", "cell")

    def __init__(
        self,
        dim: int,
        *,
        hidden: int,
        layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
        forget_bias: float | None = None,
        chrono: float | None = None,
    ):
        super().__init__(dim, hidden, layers, bidirectional, dropout)
        if chrono is not None and (chrono < 2 or forget_bias is not None):
            raise BlockError(
                "chrono is the start of the forget gates by the longest time",
                got=f"chrono={chrono}, forget_bias={forget_bias}",
                fits="chrono of 2 or more, without forget_bias",
            )
        for name, bias in self.named_parameters():
            if name.startswith("bias"):
                self._start_gates(bias, name.startswith("bias_ih"), forget_bias, chrono)

    @torch.no_grad()
    def _start_gates(
        self, bias: Tensor, first: bool, forget_bias: float | None, chrono: float | None
    ) -> None:
        """Start the gates in one of the two biases of a layer, of which torch adds both."""
        enter, forget = bias[: self.hidden], bias[self.hidden : 2 * self.hidden]
        if forget_bias is not None:
            forget.fill_(forget_bias if first else 0.0)
        if chrono is not None:
            forget.uniform_(1, chrono - 1).log_() if first else forget.zero_()
            enter.copy_(-forget)

    def forward(
        self,
        x: Float[Tensor, "batch tokens dim"],
        padding_mask: Bool[Tensor, "batch tokens"] | None = None,
        state: Float[Tensor, "batch levels hidden"] | None = None,
        cell: Float[Tensor, "batch levels hidden"] | None = None,
    ) -> tuple[
        Float[Tensor, "batch tokens out_dim"],
        Float[Tensor, "batch levels hidden"],
        Float[Tensor, "batch levels hidden"],
    ]:
        sequence, state, cell = self._run(x, padding_mask, (state, cell))
        return sequence, state, cell

    def _kernel(
        self,
        x: Tensor,
        states: tuple[Tensor, ...],
        weights: list[Tensor],
        layers: int,
        bidirectional: bool,
    ) -> tuple[Tensor, ...]:
        if torch.compiler.is_dynamo_compiling() and torch.is_grad_enabled() and not x.requires_grad:
            # torch 2.13 traces the inference kernel for an input without gradient, and then cannot
            # go back through it.
            x = x + 0 * weights[3][:1]
        autocast = x.device.type == "cpu" and torch.is_autocast_enabled("cpu")
        if autocast and not HAS_BFLOAT16_KERNELS:
            with torch.autocast("cpu", enabled=False):
                states = tuple(state.float() for state in states)
                return self._kernel(x.float(), states, weights, layers, bidirectional)
        return torch.lstm(
            x, states, weights, True, layers, self.dropout, self.training, bidirectional, True
        )

    def _hold(
        self, x: Tensor, padding: Tensor, weights: list[Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        # The kernel shows the cell after the last step only. So padding becomes one more feature,
        # which shuts the input gate and opens the forget gate: sigmoid(-1e4) is 0 and sigmoid(1e4)
        # is 1, exactly, so the cell stays as it is.
        input_weight, *others = weights
        shut = input_weight.new_full((self.hidden, 1), 1e4)
        hold = torch.cat((-shut, shut, torch.zeros_like(shut), torch.zeros_like(shut)))
        return torch.cat((x, padding.to(x.dtype)), dim=-1), [
            torch.cat((input_weight, hold), dim=1),
            *others,
        ]
