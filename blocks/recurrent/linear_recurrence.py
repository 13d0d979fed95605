"""A layer of tokens whose past is a matrix of fixed size for each head."""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from blocks.attention.mask import Mask, key_mask
from blocks.errors import BlockError, must_be_positive, must_be_share, must_divide
from blocks.recurrent.decay import ChannelDecay
from blocks.recurrent.gated_norm import GatedNorm
from blocks.recurrent.recur import Form, recur, share_heads
from blocks.recurrent.short_convolution import convolve_channels
from blocks.support.decode_cache import DecodeCache, must_be_a_row, must_not_mask_pairs
from blocks.support.tensor_parallel import Division


class LinearRecurrence(nn.Module):
    """Linear recurrence in the place of attention: a state of head_dim x value_dim a head, whose
    decay, rule, norm and gate are parts.

    Formula:
        o_t = q_t S_t, with S_t = decay_t S_{t-1} + k_tᵀ v_t, or with the delta rule S_t = decay_t
        S_{t-1} + β_t k_tᵀ (v_t - k_t decay_t S_{t-1})

    Args:
        dim: width of a token; inferred from the input.
        heads: number of heads.
        kv_heads: number of heads of keys and values, each shared by neighbouring heads; None is
            `heads`.
        groups: number of heads of queries and keys, each shared by neighbouring heads; None is
            `heads`, or `kv_heads` for the keys.
        head_dim: width of a head of queries and keys; None is `dim / heads`.
        value_dim: width of a head of values; None is `dim / heads`.
        decay: what is kept at each token: `decay(x) -> (logarithm, factor of the values or None)`,
            e.g. `ConstantDecay`, `ChannelDecay`, `StepDecay`. None keeps all.
        rule: `add` adds k v to the state; `delta` subtracts from v what the state returns for k
            before.
        conv: tokens that a convolution over each channel of q, k, v sees, with SiLU; None is no
            convolution.
        conv_bias: that convolution has a bias.
        qk_norm: normalises queries and keys: `qk_norm(q, k) -> (q, k)`, both (batch, heads, tokens,
            head_dim).
        rotary: turns queries and keys by position, likewise.
        scale: factor of the queries; None is 1 / √head_dim.
        skip: each head adds its values times a learned number, which starts at 1.
        gate: norm and gate of what is read: `gate(heads, x) -> tokens`, e.g. `GatedNorm`.
        causal: must be true; there for models that say so to their attention.
        projection_dropout: share of the outputs zeroed in training, in [0, 1).
        bias: the fused projection to q, k, v has a bias.
        project_bias: the output projection has a bias.
        chunk: tokens that are compared pair by pair; the result does not depend on it. It is 32
            where each channel has a decay (`ChannelDecay`).
        form: `chunked`, `parallel` or `steps`, with equal results: see `recur`.

    Shape:
        x (batch, *tokens, dim), padding_mask (batch, *tokens) -> (batch, *tokens, dim). Padding
        leaves the state as it is. Several axes of tokens are read in row-major order.

    Raises:
        BlockError: `kv_heads` or `groups` does not divide `heads`, a size is not positive, a
            dropout outside [0, 1), `causal` is false, a padding mask that is not boolean; a `mask`
            is given, which cannot be applied because the weight of a pair is never formed.

    Source:
        Sun et al. 2023 (RetNet), arXiv:2307.08621; Yang et al. 2023 (GLA), arXiv:2312.06635; Dao
        and Gu 2024 (Mamba-2), arXiv:2405.21060; Yang et al. 2024 (gated DeltaNet),
        arXiv:2412.06464: see the options `retention`, `gla`, `mamba2` and `delta` of the slot
        attention. `qkv` is one projection whose rows are all heads of q, then k, then v.
    """

    def __init__(
        self,
        dim: int,
        *,
        heads: int,
        kv_heads: int | None = None,
        groups: int | None = None,
        head_dim: int | None = None,
        value_dim: int | None = None,
        decay: nn.Module | None = None,
        rule: Literal["add", "delta"] = "add",
        conv: int | None = None,
        conv_bias: bool = False,
        qk_norm: nn.Module | None = None,
        rotary: nn.Module | None = None,
        scale: float | None = None,
        skip: bool = False,
        gate: nn.Module | None = None,
        causal: bool = True,
        projection_dropout: float = 0.0,
        bias: bool = False,
        project_bias: bool = False,
        chunk: int = 32,
        form: Form = "chunked",
    ):
        super().__init__()
        must_be_positive("heads", heads)
        if head_dim is None or value_dim is None:
            must_divide("heads", heads, "dim", dim)
        self.head_dim = dim // heads if head_dim is None else head_dim
        self.value_dim = dim // heads if value_dim is None else value_dim
        must_be_positive("head_dim", self.head_dim)
        must_be_positive("value_dim", self.value_dim)
        self.value_heads = heads if kv_heads is None else kv_heads
        self.key_heads = self.value_heads if groups is None else groups
        self.query_heads = heads if groups is None else groups
        must_divide("kv_heads", self.value_heads, "heads", heads)
        must_divide("groups", self.query_heads, "heads", heads)
        must_be_positive("conv", 1 if conv is None else conv)
        must_be_share("projection_dropout", projection_dropout)
        must_be_positive("chunk", chunk)
        if not causal:
            raise BlockError(
                "a recurrence reads from the first token to the last",
                got="causal=false",
                fits="causal=true",
                fix="model/attention=linear or full, to see all tokens",
            )
        self.heads, self.chunk, self.form = heads, chunk, form
        self.projection_dropout = projection_dropout
        self.scale = self.head_dim**-0.5 if scale is None else scale
        self.qkv = nn.Linear(dim, sum(self.sizes()), bias=bias)
        self.project = nn.Linear(heads * self.value_dim, dim, bias=project_bias)
        self.conv, self.strength, self.skip = None, None, None
        if conv is not None:
            width = sum(self.sizes())
            self.conv = nn.Conv1d(width, width, conv, groups=width, bias=conv_bias)
        if rule == "delta":
            self.strength = nn.Linear(dim, heads, bias=False)
        if skip:
            self.skip = nn.Parameter(torch.ones(heads))
        self.decay, self.qk_norm, self.rotary, self.gate = decay, qk_norm, rotary, gate

    def sizes(self) -> list[int]:
        """Widths of q, k and v in the fused projection."""
        return [
            self.query_heads * self.head_dim,
            self.key_heads * self.head_dim,
            self.value_heads * self.value_dim,
        ]

    def parts(self) -> dict[str, dict[str, Tensor]]:
        parts = self.qkv.weight.split(self.sizes())
        return {"qkv.weight": dict(zip("qkv", parts, strict=True))}

    def division(self, devices: int) -> Division:
        """The heads are divided where no parameter but those of linear layers belongs to a head;
        elsewhere every device computes all of them.
        """
        columns = {"qkv": tuple(self.sizes())}
        whole = any(part is not None for part in (self.conv, self.strength, self.skip))
        whole |= self.qk_norm is not None
        if isinstance(self.decay, ChannelDecay):
            columns["decay.up"] = (self.heads * self.head_dim,)
        elif self.decay is not None:
            whole = True
        if self.gate is not None:
            whole |= not isinstance(self.gate, GatedNorm) or self.gate.is_shared()
            columns["gate.project"] = (self.heads * self.value_dim,)
        if whole:
            return Division({}, ())
        counts = ("heads", "query_heads", "key_heads", "value_heads")
        for name in counts:
            must_divide("devices", devices, name, getattr(self, name))
        return Division(columns, ("project",), counts)

    def forward(
        self,
        x: Float[Tensor, "batch *tokens dim"],
        padding_mask: Bool[Tensor, " batch *tokens"] | None = None,
        mask: Mask | None = None,
    ) -> Float[Tensor, "batch *tokens dim"]:
        if mask is not None:
            raise BlockError(
                "LinearRecurrence never forms the weight of a pair and cannot mask it",
                got=f"mask of shape {tuple(mask.shape)}",
                fix="padding_mask for padding, SelfAttention for any other mask",
                code="unsupported",
            )
        out, _, _ = self.run(x.flatten(1, -2), padding_mask, None, None, self.form)
        out = F.dropout(out, self.projection_dropout, self.training)
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
        before, state = memory.get("before"), memory.get("state")
        out, before, state = self.run(x, padding_mask, before, state, form)
        if before is not None:
            memory.keep("before", before)
        memory.keep("state", state)
        return out

    def run(
        self,
        x: Float[Tensor, "batch tokens dim"],
        padding_mask: Tensor | None,
        before: Float[Tensor, "batch past width"] | None,
        state: Float[Tensor, "batch heads head_dim value_dim"] | None,
        form: Form,
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        """The output, then what the convolution saw last, and the state.

        Args:
            before: the past tokens that the convolution sees; None for none.
            state: the state after the past tokens; None for none.
        """
        real = None
        if padding_mask is not None:
            real = key_mask(padding_mask).transpose(-2, -1)  # (batch, 1, tokens, 1)
        qkv = self.qkv(x)
        if self.conv is not None:
            if real is not None:
                qkv = qkv.masked_fill(~real[:, 0], 0.0)
            qkv, before = convolve_channels(self.conv, qkv, before)
        q, k, v = qkv.split(self.sizes(), dim=-1)
        q, k = (part.unflatten(-1, (-1, self.head_dim)).transpose(1, 2) for part in (q, k))
        v = v.unflatten(-1, (-1, self.value_dim)).transpose(1, 2)
        v = share_heads(v, self.heads)
        if self.qk_norm is not None:
            q, k = self.qk_norm(q, k)
        if self.rotary is not None:
            q, k = self.rotary(q, k)
        k = share_heads(k, q.shape[1])
        decay, factor, strength = None, None, None
        if self.decay is not None:
            decay, factor = self.decay(x)
        if self.strength is not None:
            strength = self.strength(x).sigmoid().transpose(1, 2).unsqueeze(-1)
        if real is not None:  # padding writes nothing, and all is kept
            k = k.masked_fill(~real, 0.0)
            decay = None if decay is None else decay.masked_fill(~real, 0.0)
        read, state = recur(
            q * self.scale,
            k,
            v if factor is None else v * factor,
            decay,
            strength=strength,
            state=state,
            form=form,
            chunk=self.chunk,
        )
        if self.skip is not None:
            read = read + self.skip[:, None, None] * v
        read = read.transpose(1, 2).to(x.dtype)
        merged = read.flatten(2) if self.gate is None else self.gate(read, x)
        return self.project(merged), before, state
