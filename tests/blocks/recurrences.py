"""The linear recurrences of the papers, as the options of the slot attention have them."""

from blocks.norm import QKUnitNorm
from blocks.position import Rotary
from blocks.recurrent import ChannelDecay, ConstantDecay, GatedNorm, LinearRecurrence, StepDecay


def retention(dim, heads, **others):
    wide = 2 * dim // heads
    return LinearRecurrence(
        dim,
        heads=heads,
        value_dim=wide,
        decay=ConstantDecay(heads),
        gate=GatedNorm(dim, heads, wide, weight="none"),
        **others,
    )


def turned_retention(dim, heads):
    """Not for single steps: the graph hands its memory to the part."""
    return retention(dim, heads, rotary=Rotary(dim // heads))


def gla(dim, heads, **others):
    thin = dim // (2 * heads)
    return LinearRecurrence(
        dim,
        heads=heads,
        head_dim=thin,
        decay=ChannelDecay(dim, heads, thin),
        gate=GatedNorm(dim, heads),
        chunk=4,
        **others,
    )


def mamba2(dim, heads, **others):
    wide = 2 * dim // heads
    return LinearRecurrence(
        dim,
        heads=heads,
        groups=heads // 2,
        head_dim=7,
        value_dim=wide,
        decay=StepDecay(dim, heads),
        conv=4,
        conv_bias=True,
        scale=1.0,
        skip=True,
        gate=GatedNorm(dim, heads, wide, norm_groups=heads // 2, first="gate", weight="all"),
        chunk=3,
        **others,
    )


def delta(dim, heads, **others):
    wide = 2 * dim // heads
    return LinearRecurrence(
        dim,
        heads=heads,
        value_dim=wide,
        rule="delta",
        decay=StepDecay(dim, heads, write=False),
        conv=4,
        qk_norm=QKUnitNorm(),
        gate=GatedNorm(dim, heads, wide),
        chunk=4,
        **others,
    )


def shared(dim, heads):
    """Keys and values of fewer heads, and no part."""
    return LinearRecurrence(dim, heads=heads, kv_heads=2, bias=True, chunk=2)


KINDS = {"retention": retention, "gla": gla, "mamba2": mamba2, "delta": delta, "shared": shared}
