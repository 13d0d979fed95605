"""Every block with a method `step`, against its `forward`: in pieces as at once, padded or not,
rows exchanged or not.

Float64 leaves rounding no room: 1e-10. A block of the catalogue with a `step` must be here.
"""

import pytest
import torch
from torch import nn

from blocks.attention import (
    CrossAttention,
    DifferentialAttention,
    LatentAttention,
    LinearAttention,
    SelfAttention,
)
from blocks.attention.additive import AdditiveAttention
from blocks.catalog import own
from blocks.combine import Arange
from blocks.conv import CausalConv1d
from blocks.mixture import MixtureOfExperts
from blocks.norm import QKNorm
from blocks.position import ALiBi, LearnedPosition, RelativeBias, SinusoidalPosition
from blocks.recurrent import (
    GRU,
    LSTM,
    RNN,
    MatrixLSTM,
    MinGRU,
    MinLSTM,
    ScalarLSTM,
    SelectiveStateSpace,
)
from blocks.support.decode_cache import DecodeCache, StepError
from tests.blocks.recurrences import KINDS

B, N, D, H, C, S = 3, 11, 24, 4, 5, 7  # rows, tokens, width, heads, width and tokens of the context
PIECES = ((0, 5), (5, 7), *((place, place + 1) for place in range(7, N)))

SELF = {
    "attention": lambda: SelfAttention(D, heads=H, causal=True),
    "attention with weights": lambda: SelfAttention(D, heads=H, causal=True, return_weights=True),
    "grouped": lambda: SelfAttention(D, heads=H, kv_heads=2, causal=True),
    "alibi": lambda: SelfAttention(D, heads=H, causal=True, position_bias=ALiBi(H)),
    "relative": lambda: SelfAttention(
        D, heads=H, causal=True, position_bias=RelativeBias(H, buckets=8)
    ),
    "sliding": lambda: SelfAttention(D, heads=H, causal=True, window=3),
    "sliding with weights": lambda: SelfAttention(
        D, heads=H, causal=True, window=3, return_weights=True
    ),
    "sliding alibi": lambda: SelfAttention(
        D, heads=H, causal=True, window=4, position_bias=ALiBi(H)
    ),
    "capped": lambda: SelfAttention(D, heads=H, causal=True, soft_cap=2.0),
    "normalised": lambda: SelfAttention(D, heads=H, causal=True, qk_norm=QKNorm(D // H)),
    "sinks": lambda: SelfAttention(D, heads=H, kv_heads=2, causal=True, sinks=True),
    "sliding to sinks": lambda: SelfAttention(D, heads=H, causal=True, sinks=True, window=2),
    "gated": lambda: SelfAttention(D, heads=H, causal=True, gate="element"),
    "differential": lambda: DifferentialAttention(
        D, heads=H, kv_heads=2, causal=True, position_bias=ALiBi(H)
    ),
    "differential with weights": lambda: DifferentialAttention(
        D, heads=H, causal=True, return_weights=True
    ),
    "mixture": lambda: MixtureOfExperts(D, experts=3, hidden=5, capacity=0.5),
    "latent": lambda: LatentAttention(D, heads=H, kv_rank=5, q_rank=7, value_dim=3, causal=True),
    "linear": lambda: LinearAttention(D, heads=H, causal=True, chunk=3),
    **{name: (lambda name=name: KINDS[name](D, H)) for name in KINDS},
    "mamba": lambda: SelectiveStateSpace(D, hidden=5, state=3),
    "mlstm": lambda: MatrixLSTM(D, heads=H, chunk=4),
    "mingru": lambda: MinGRU(D, hidden=C, layers=2, chunk=3),
    "minlstm": lambda: MinLSTM(D, hidden=C, layers=2),
    "slstm": lambda: ScalarLSTM(D, hidden=6, heads=2, layers=2),
    "rnn": lambda: RNN(D, hidden=C, layers=2),
    "gru": lambda: GRU(D, hidden=C, layers=2),
    "lstm": lambda: LSTM(D, hidden=C, layers=2),
}
PLAIN = {
    "positions": lambda: Arange(start=2, step=3, kind="float"),
    "learned": lambda: LearnedPosition(N, D),
    "sinusoidal": lambda: SinusoidalPosition(D),
    "conv": lambda: CausalConv1d(D, C, kernel=3, dilation=2),
    "conv of one": lambda: CausalConv1d(D, C, kernel=1),
}
CROSS = {
    "cross": lambda: CrossAttention(D, C, heads=H),
    "cross with weights": lambda: CrossAttention(D, C, heads=H, return_weights=True),
    "additive": lambda: AdditiveAttention(D, C, hidden=13),
    "additive with weights": lambda: AdditiveAttention(D, C, hidden=13, return_weights=True),
}
ELSEWHERE = {
    "Attend",  # takes heads: tests/blocks/test_attend.py
    "FutureTokens",  # gives back what it gets: tests/blocks/test_future_tokens.py
    "Rotary",  # its memory is handed to it inside an attention: tests/tasks/test_score.py, llama
}


@pytest.fixture(autouse=True)
def _one_thread():
    """Blocks this small only wait for each other's threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def made(make):
    torch.manual_seed(0)
    block = make().double().eval()
    for parameter in block.parameters():
        nn.init.normal_(parameter, std=0.5)
    return block


def first(output):
    return output[0] if isinstance(output, tuple) else output


def in_steps(block, x, *others, memory=None, **growing):
    """What `step` gives for each piece, side by side; in the middle the rows are exchanged, and
    back at the end.
    """
    memory, out, turned = memory or DecodeCache(N), [], torch.tensor([2, 0, 1])
    back = turned.argsort()
    for number, (begin, end) in enumerate(PIECES):
        if number == 2:
            memory.move(torch.arange(B), turned)
        rows = turned if number >= 2 else torch.arange(B)
        named = {name: value[rows, begin:end] for name, value in growing.items()}
        moved = [value[rows] for value in others] if number >= 2 else others
        piece = first(block.step(memory, x[rows, begin:end], *moved, **named))
        out.append(piece[back] if number >= 2 else piece)
        memory.seen = end
    return torch.cat(out, dim=1)


def equal(found, wanted):
    assert torch.allclose(found, wanted, rtol=0, atol=1e-10 * max(1.0, float(wanted.abs().max())))


def test_every_block_with_a_step_is_here():
    here = {type(make()).__name__ for make in (*SELF.values(), *PLAIN.values(), *CROSS.values())}
    assert {name for name, kind in own().items() if hasattr(kind, "step")} == here | ELSEWHERE


@torch.no_grad()
@pytest.mark.parametrize("name", [*SELF, *PLAIN])
def test_in_pieces_as_at_once(name):
    block, x = made((SELF | PLAIN)[name]), torch.randn(B, N, D, dtype=torch.float64)
    equal(in_steps(block, x), first(block(x)))


@torch.no_grad()
@pytest.mark.parametrize("name", SELF)
def test_padding_behind_the_tokens_is_remembered_as_padding(name):
    block, x = made(SELF[name]), torch.randn(B, N, D, dtype=torch.float64)
    real = torch.arange(N) < torch.tensor([[N], [4], [8]])
    equal(in_steps(block, x, padding_mask=real)[real], first(block(x, padding_mask=real))[real])


@torch.no_grad()
@pytest.mark.parametrize("name", [name for name in SELF if name not in ("rnn", "gru", "lstm")])
def test_padding_before_the_tokens_is_remembered_as_padding(name):
    block, x = made(SELF[name]), torch.randn(B, N, D, dtype=torch.float64)
    real = torch.arange(N) >= torch.tensor([[0], [6], [3]])
    equal(in_steps(block, x, padding_mask=real)[real], first(block(x, padding_mask=real))[real])


@torch.no_grad()
@pytest.mark.parametrize("name", CROSS)
def test_a_context_is_looked_at_as_at_once(name):
    block, x = made(CROSS[name]), torch.randn(B, N, D, dtype=torch.float64)
    context = torch.randn(B, S, C, dtype=torch.float64)
    real = torch.arange(S) < torch.tensor([[S], [2], [5]])
    equal(in_steps(block, x, context), first(block(x, context)))
    equal(in_steps(block, x, context, real), first(block(x, context, real)))


@torch.no_grad()
def test_a_context_is_projected_once_as_long_as_it_is_the_same():
    block, x = made(CROSS["cross"]), torch.randn(B, N, D, dtype=torch.float64)
    context, asked = torch.randn(B, S, C, dtype=torch.float64), []
    block.kv.register_forward_hook(lambda module, inputs, output: asked.append(1))
    memory = DecodeCache(N)
    for place in range(4):
        block.step(memory, x[:, place : place + 1], context)
    assert len(asked) == 1
    other = torch.randn_like(context)
    equal(block.step(memory, x[:, :1], other), block(x[:, :1], other))


@torch.no_grad()
def test_additive_attention_to_what_was_said_looks_back_only():
    block, x = (
        made(lambda: AdditiveAttention(D, D, hidden=13, causal=True)),
        torch.randn(B, N, D, dtype=torch.float64),
    )
    equal(in_steps(block, x, context=x), block(x, x))


@torch.no_grad()
@pytest.mark.parametrize("name", ["rnn", "gru", "lstm", "mingru", "minlstm"])
def test_a_state_that_is_given_is_where_the_first_step_begins(name):
    block, x, memory = made(SELF[name]), torch.randn(B, N, D, dtype=torch.float64), DecodeCache(N)
    given = {word: torch.randn(B, 2, C, dtype=torch.float64) for word in block.outputs[1:]}
    whole = block(x, **given)
    steps = []
    for begin, end in PIECES:  # it is given again at every step, as a graph does
        steps.append(block.step(memory, x[:, begin:end], **given))
        memory.seen = end
    equal(torch.cat([step[0] for step in steps], dim=1), whole[0])
    for last, wanted in zip(steps[-1][1:], whole[1:], strict=True):
        equal(last, wanted)


def test_storage_is_made_once():
    memory = DecodeCache(N)
    places = set()
    for place in range(N):
        places.add(memory.append("keys", torch.full((B, H, 1, C), float(place)), 2).data_ptr())
        memory.seen = place + 1
    assert len(places) == 1


X = torch.zeros(B, 1, D)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (
            lambda: SelfAttention(D, heads=H).step(DecodeCache(N), X),
            "a token attends to the tokens after it; got causal=false; fits: causal=true",
        ),
        (
            lambda: LinearAttention(D, heads=H).step(DecodeCache(N), X),
            "a token attends to the tokens after it; got causal=false; fits: causal=true",
        ),
        (
            lambda: LinearAttention(D, heads=H, causal=True, return_weights=True).step(
                DecodeCache(N), X
            ),
            "weights over all pairs cannot be updated step by step; got return_weights=true",
        ),
        (
            lambda: SelfAttention(D, heads=H, causal=True).step(
                DecodeCache(N), X, mask=torch.ones(1, 1).bool()
            ),
            "a mask of pairs covers all tokens at once; got mask (1, 1)",
        ),
        (
            lambda: SelfAttention(D, heads=H, causal=True).step(
                DecodeCache(N), torch.zeros(B, 2, 2, D)
            ),
            "only a sequence of tokens has steps; got x (3, 2, 2, 24)",
        ),
        (
            lambda: GRU(D, hidden=C, bidirectional=True).step(DecodeCache(N), X),
            "a network that reads backwards starts at the end; got bidirectional=true",
        ),
        (
            lambda: LearnedPosition(2, D).step(DecodeCache(N, seen=2), X),
            "more tokens than learned positions; got 3 tokens, 2 positions",
        ),
        (
            lambda: DecodeCache(2, seen=2).append("keys", X, 1),
            "more tokens than the cache has room for; got 3 tokens, limit=2",
        ),
        (
            lambda: DecodeCache(N, seen=4).append("keys", X, 1),
            "keys of the past tokens are not in the cache; got 4 past tokens",
        ),
    ],
)
def test_what_cannot_go_on_token_by_token_says_why(step, message):
    with pytest.raises(StepError) as error:
        step()
    assert str(error.value) == message
