"""xLSTM: exponential gates, with a matrix (mLSTM) or a vector (sLSTM) as memory."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from blocks.attention.mask import Mask, key_mask
from blocks.errors import BlockError, must_be_positive, must_divide
from blocks.recurrent.recur import Form, recur
from blocks.support.decode_cache import DecodeCache, must_be_a_row, must_not_mask_pairs

MOST = 80.0  # exp of it is finite in float32


class MatrixLSTM(nn.Module):
    """mLSTM in the place of attention: a linear recurrence with an exponential input gate, divided
    by the sum of what was written.

    Formula:
        h_t = C_t q_t / max(|n_t · q_t|, 1), with C_t = f_t C_{t-1} + i_t v_t k_tᵀ and n_t = f_t
        n_{t-1} + i_t k_t, i = exp(W x + b), f = σ(U x + c); then norm(h) ⊙ σ(O x) and the output
        projection

    Args:
        dim: width of a token; inferred from the input.
        heads: number of heads.
        head_dim: width of a head of queries and keys; None is `dim / heads`.
        value_dim: width of a head of values; None is `dim / heads`.
        rotary: turns queries and keys by position: `rotary(q, k) -> (q, k)`, both (batch, heads,
            tokens, head_dim).
        gate_cap: the gates before their function are bent to (-gate_cap, gate_cap) by tanh; None
            leaves them.
        forget_bias: where the bias of the forget gates starts.
        input_bias: where the bias of the input gates starts.
        causal: must be true; there for models that say so to their attention.
        bias: the projections to q, k, v and to the output gate have a bias.
        project_bias: the output projection has a bias.
        epsilon: added to the variance of the norm.
        chunk: tokens that are compared pair by pair; the result does not depend on it.
        form: `chunked`, `parallel` or `steps`, with equal results: see `recur`.

    Shape:
        x (batch, *tokens, dim), padding_mask (batch, *tokens) -> (batch, *tokens, dim). Padding
        leaves the state as it is. Several axes of tokens are read in row-major order.

    Raises:
        BlockError: `heads` does not divide `dim`, a size is not positive, `causal` is false, a
            padding mask that is not boolean; a `mask` is given.

    Source:
        Beck et al. 2024, arXiv:2405.04517, section 2.3; projections, norm and caps of Beck et al.
        2025 (xLSTM 7B), arXiv:2503.13427, section 3. The gates are scaled by their largest sum so
        far, which cancels.
    """

    def __init__(
        self,
        dim: int,
        *,
        heads: int,
        head_dim: int | None = None,
        value_dim: int | None = None,
        rotary: nn.Module | None = None,
        gate_cap: float | None = 15.0,
        forget_bias: float = 3.0,
        input_bias: float = -10.0,
        causal: bool = True,
        bias: bool = False,
        project_bias: bool = False,
        epsilon: float = 1e-6,
        chunk: int = 32,
        form: Form = "chunked",
    ):
        super().__init__()
        must_be_positive("heads", heads)
        if head_dim is None or value_dim is None:
            must_divide("heads", heads, "dim", dim)
        self.head_dim = dim // heads if head_dim is None else head_dim
        self.value_dim = dim // heads if value_dim is None else value_dim
        sizes = {"head_dim": self.head_dim, "value_dim": self.value_dim, "chunk": chunk}
        for name, size in sizes.items():
            must_be_positive(name, size)
        must_be_positive("gate_cap", 1 if gate_cap is None else gate_cap)
        if not causal:
            raise BlockError(
                "a recurrence reads from the first token to the last",
                got="causal=false",
                fits="causal=true",
                fix="model/attention=linear or full, to see all tokens",
            )
        self.heads, self.chunk, self.form = heads, chunk, form
        self.gate_cap, self.epsilon, self.rotary = gate_cap, epsilon, rotary
        self.qkv = nn.Linear(dim, heads * (2 * self.head_dim + self.value_dim), bias=bias)
        self.gates = nn.Linear(dim, 2 * heads)
        self.open = nn.Linear(dim, heads * self.value_dim, bias=bias)
        self.weight = nn.Parameter(torch.ones(heads * self.value_dim))
        self.project = nn.Linear(heads * self.value_dim, dim, bias=project_bias)
        nn.init.constant_(self.gates.bias[:heads], input_bias)
        nn.init.constant_(self.gates.bias[heads:], forget_bias)

    def sizes(self) -> list[int]:
        """Widths of q, k and v in the fused projection."""
        return [self.heads * width for width in (self.head_dim, self.head_dim, self.value_dim)]

    def parts(self) -> dict[str, dict[str, Tensor]]:
        parts = self.qkv.weight.split(self.sizes())
        return {"qkv.weight": dict(zip("qkv", parts, strict=True))}

    def forward(
        self,
        x: Float[Tensor, "batch *tokens dim"],
        padding_mask: Bool[Tensor, " batch *tokens"] | None = None,
        mask: Mask | None = None,
    ) -> Float[Tensor, "batch *tokens dim"]:
        if mask is not None:
            raise BlockError(
                "MatrixLSTM cannot mask the weight of a pair",
                got=f"mask of shape {tuple(mask.shape)}",
                fix="padding_mask for padding, SelfAttention for any other mask",
                code="unsupported",
            )
        out, _, _ = self.run(x.flatten(1, -2), padding_mask, None, None, self.form)
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
        form: Form = "steps" if x.shape[1] == 1 else "chunked"
        known = memory.get("largest"), memory.get("state")
        out, largest, state = self.run(x, padding_mask, *known, form)
        memory.keep("largest", largest)
        memory.keep("state", state)
        return out

    def run(
        self,
        x: Float[Tensor, "batch tokens dim"],
        padding_mask: Tensor | None,
        largest: Float[Tensor, "batch heads 1"] | None,
        state: Tensor | None,
        form: Form,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The output, the logarithm by which the state is scaled, and the state: C beside n.

        With F the sum of the logarithms of the forget gates, what token j wrote has at token i the
        weight exp(F_i - F_j + i_j). Divided by exp(F_i + M_i), M the largest i - F so far, it is a
        recurrence whose decays and factors are at most 1.
        """
        q, k, v = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in self.qkv(x).split(self.sizes(), dim=-1)
        )
        if self.rotary is not None:
            q, k = self.rotary(q, k)
        gates = self.gates(x).to(torch.promote_types(x.dtype, torch.float32))
        if self.gate_cap is not None:
            gates = self.gate_cap * torch.tanh(gates / self.gate_cap)
        write, keep = gates.transpose(1, 2).chunk(2, dim=1)
        keep = F.logsigmoid(keep)
        if padding_mask is not None:
            padding = ~key_mask(padding_mask)[:, 0]
            write, keep = write.masked_fill(padding, -torch.inf), keep.masked_fill(padding, 0.0)
        if largest is None:
            largest = torch.zeros_like(keep[..., :1])
        since = keep.cumsum(-1)
        lifted = torch.cat((largest, (write - since).detach()), dim=-1).cummax(-1).values
        top = lifted[..., 1:]
        decay, factor = lifted[..., :-1] - top, (write - since - top).exp()
        beside = torch.cat((v, torch.ones_like(v[..., :1])), dim=-1) * factor.unsqueeze(-1)
        read, state = recur(
            q * self.head_dim**-0.5,
            k,
            beside,
            decay.unsqueeze(-1),
            state=state,
            form=form,
            chunk=self.chunk,
        )
        largest = since + top
        least = (-largest).clamp(max=MOST).exp().unsqueeze(-1)
        value, total = read.split([self.value_dim, 1], dim=-1)
        heads = (value / torch.maximum(total.abs(), least)).transpose(1, 2).to(x.dtype)
        heads = F.layer_norm(heads, heads.shape[-1:], None, None, self.epsilon).flatten(2)
        opened = heads * self.weight * self.open(x).sigmoid()
        return self.project(opened), largest[..., -1:], state


class ScalarLSTM(nn.Module):
    """sLSTM: an LSTM whose input gate is exponential, and whose cell is divided by the sum of what
    was written. A state of each head sees that of its own head only.

    Formula:
        h = σ(o) ⊙ c / n, with c = f ⊙ c + i ⊙ tanh(z), n = f ⊙ n + i, i = exp(ĩ), f = σ(f̃), and ĩ,
        f̃, z, o = W x + R h + b

    Args:
        dim: width of a token; inferred from the input.
        hidden: width of the state.
        heads: number of heads; divides `hidden`.
        layers: how many, each on the sequence of the one before.
        dropout: share zeroed between layers in training, in [0, 1).

    Shape:
        (batch, tokens, dim), padding_mask (batch, tokens)
        -> sequence (batch, tokens, hidden), zero at padding, and state (batch, layers, hidden) at
        the last token

    Raises:
        BlockError: `heads` does not divide `hidden`, a size is not positive.

    Source:
        Beck et al. 2024, arXiv:2405.04517, section 2.2, equations 8-18, without the block around
        it. The gates are scaled by their largest sum so far, which cancels. A token needs the state
        of the one before: it is computed step by step.
    """

    outputs = ("sequence", "state")

    def __init__(
        self, dim: int, *, hidden: int, heads: int = 1, layers: int = 1, dropout: float = 0.0
    ):
        super().__init__()
        must_divide("heads", heads, "hidden", hidden)
        must_be_positive("layers", layers)
        self.hidden, self.heads, self.dropout = hidden, heads, dropout
        widths = [dim, *[hidden] * (layers - 1)]
        self.layers = nn.ModuleList(nn.Linear(width, 4 * hidden) for width in widths)
        self.recurrent = nn.Parameter(
            torch.empty(layers, heads, hidden // heads, 4 * hidden // heads)
        )
        nn.init.uniform_(self.recurrent, -(hidden**-0.5), hidden**-0.5)

    def forward(
        self,
        x: Float[Tensor, "batch tokens dim"],
        padding_mask: Bool[Tensor, "batch tokens"] | None = None,
    ) -> tuple[Float[Tensor, "batch tokens out_dim"], Float[Tensor, "batch levels hidden"]]:
        x, states = self.run(x, padding_mask, None)
        return x, states[:, 0]

    def step(
        self, memory: DecodeCache, x: Tensor, padding_mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        x, states = self.run(x, padding_mask, memory.get("states"))
        memory.keep("states", states)
        return x, states[:, 0]

    def run(
        self, x: Tensor, padding_mask: Tensor | None, states: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The sequence, and h, c, n and scale of each layer: (batch, 4, layers, hidden)."""
        if states is None:
            states = x.new_zeros(len(x), 4, len(self.layers), self.hidden)
        last = []
        for i, layer in enumerate(self.layers):
            if i > 0:
                x = F.dropout(x, self.dropout, self.training)
            given, state = layer(x).unflatten(-1, (4, -1)), states[:, :, i]
            read = []
            for place in range(x.shape[1]):
                following = self.advance(given[:, place], state, self.recurrent[i])
                if padding_mask is not None:
                    real = padding_mask[:, place, None, None]
                    following = torch.where(real, following, state)
                state = following
                read.append(state[:, 0])
            x = torch.stack(read, dim=1)
            if padding_mask is not None:
                x = x.masked_fill(~padding_mask[..., None], 0.0)
            last.append(state)
        return x, torch.stack(last, dim=2)

    def advance(self, given: Tensor, state: Tensor, recurrent: Tensor) -> Tensor:
        """The state after one token, (batch, 4, hidden)."""
        hidden, cell, norm, scale = state.unbind(1)
        heads = hidden.unflatten(-1, (self.heads, 1, -1)) @ recurrent
        fed = heads.squeeze(2).unflatten(-1, (4, -1)).transpose(1, 2).flatten(2)
        write, keep, new, out = (given + fed).unbind(1)
        kept = F.logsigmoid(keep) + scale
        top = torch.maximum(kept, write)
        kept, write = (kept - top).exp(), (write - top).exp()
        cell, norm = kept * cell + write * new.tanh(), kept * norm + write
        return torch.stack((out.sigmoid() * cell / norm, cell, norm, top), dim=1)
