"""The chunked form of linear recurrences beside the formulas of their papers in plain PyTorch.

Ours is `blocks.recurrent.recur`, theirs is written here as the papers print it, as in the
plain versions of flash-linear-attention; the delta rule is that of transformers (Qwen3-Next). All
give the same, to 1e-4 of the largest value. Forward, or forward and backward, in turns; a ratio
is of ours to theirs, with its quartiles.

python -m bench.kernels.recurrences [--rounds N] [--threads N] [--tokens N]
"""

import argparse
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from bench import peers, table
from bench.measure import interleave
from blocks.recurrent.recur import recur
from tasks.process import runtime

BATCH, HEADS, WIDTH, CHUNK = 2, 6, 64, 64
Recurrence = Callable[..., Tensor]


def retention(q: Tensor, k: Tensor, v: Tensor, decay: Tensor) -> Tensor:
    """RetNet, equation 7: each head forgets at a constant rate, decay (1, heads, 1, 1)."""
    at = torch.arange(CHUNK)
    apart = at[:, None] - at
    left = (apart * decay).exp().masked_fill(apart < 0, 0.0)
    since, until = ((at + 1)[:, None] * decay).exp(), ((CHUNK - 1 - at)[:, None] * decay).exp()
    state, read = q.new_zeros(len(q), HEADS, WIDTH, WIDTH), []
    for here in range(0, q.shape[2], CHUNK):
        qi, ki, vi = (part[:, :, here : here + CHUNK] for part in (q, k, v))
        read.append((qi @ ki.transpose(-2, -1) * left) @ vi + (qi @ state) * since)
        state = state * (CHUNK * decay).exp() + (ki * until).transpose(-2, -1) @ vi
    return torch.cat(read, 2)


def gla(q: Tensor, k: Tensor, v: Tensor, decay: Tensor) -> Tensor:
    """GLA, section 4.2: each channel forgets at its own rate, decay (batch, heads, tokens, width).

    Queries and keys are divided by what is left since the chunk began, which overflows where much
    is forgotten in a chunk.
    """
    future = torch.ones(CHUNK, CHUNK, dtype=torch.bool).triu(1)
    state, read = q.new_zeros(len(q), HEADS, WIDTH, WIDTH), []
    for here in range(0, q.shape[2], CHUNK):
        qi, ki, vi, di = (part[:, :, here : here + CHUNK] for part in (q, k, v, decay))
        since = di.cumsum(2)
        end = since[:, :, -1:]
        qi = qi * since.exp()
        pairs = (qi @ (ki * (-since).exp()).transpose(-2, -1)).masked_fill(future, 0.0)
        read.append(pairs @ vi + qi @ state)
        kept = end.exp().transpose(-2, -1)
        state = state * kept + (ki * (end - since).exp()).transpose(-2, -1) @ vi
    return torch.cat(read, 2)


def mamba2(q: Tensor, k: Tensor, v: Tensor, decay: Tensor) -> Tensor:
    """Mamba-2, listing 1: one decay a head, decay (batch, heads, tokens, 1); states of all chunks
    at once.
    """
    q, k, v, decay = (part.unflatten(2, (-1, CHUNK)) for part in (q, k, v, decay))
    decay = decay.squeeze(-1)
    since = decay.cumsum(-1)
    left = segment_sums(decay).exp()
    inside = torch.einsum("bhcln,bhcsn,bhcls,bhcsp->bhclp", q, k, left, v)
    until = (since[..., -1:] - since).exp()
    states = torch.einsum("bhcln,bhcl,bhclp->bhcnp", k, until, v)
    chunks = segment_sums(F.pad(since[..., -1], (1, 0))).exp()
    states = torch.cat((torch.zeros_like(states[:, :, :1]), states), 2)
    before = torch.einsum("bhzc,bhcnp->bhznp", chunks, states)[:, :, :-1]
    outside = torch.einsum("bhcln,bhcnp,bhcl->bhclp", q, before, since.exp())
    return (inside + outside).flatten(2, 3)


def segment_sums(x: Tensor) -> Tensor:
    """The sum of x from each place to each later one: (..., n) -> (..., n, n)."""
    since = x.cumsum(-1)
    future = torch.ones(x.shape[-1], x.shape[-1], dtype=torch.bool).triu(1)
    return (since[..., :, None] - since[..., None, :]).masked_fill(future, -torch.inf)


def delta(q: Tensor, k: Tensor, v: Tensor, decay: Tensor, strength: Tensor) -> Tensor:
    """Gated DeltaNet by transformers, whose heads are the third axis and which scales queries."""
    from transformers.models.qwen3_next.modeling_qwen3_next import torch_chunk_gated_delta_rule

    q, k, v, decay, strength = (part.transpose(1, 2) for part in (q, k, v, decay, strength))
    read, _ = torch_chunk_gated_delta_rule(
        q * WIDTH**0.5, k, v, decay.squeeze(-1), strength.squeeze(-1), chunk_size=CHUNK
    )
    return read.transpose(1, 2)


def ours(q: Tensor, k: Tensor, v: Tensor, decay: Tensor, strength: Tensor | None = None) -> Tensor:
    return recur(q, k, v, decay, strength=strength)[0]


FORMS: dict[str, Recurrence] = {
    "retention": retention,
    "gla": gla,
    "mamba2": mamba2,
    "delta": delta,
}


def make_inputs(name: str, tokens: int) -> list[Tensor]:
    """Queries, keys, values, the logarithm of what is kept, and the strength of the delta rule."""
    torch.manual_seed(0)
    q, k, v = torch.randn(3, BATCH, HEADS, tokens, WIDTH).unbind()
    k = F.normalize(k, dim=-1)
    widths = {"retention": (1, HEADS, 1, 1), "gla": (BATCH, HEADS, tokens, WIDTH)}
    shape = widths.get(name, (BATCH, HEADS, tokens, 1))
    found = [q * WIDTH**-0.5, k, v, F.logsigmoid(torch.randn(shape)) / 16]
    if name == "delta":
        found.append(torch.rand(BATCH, HEADS, tokens, 1))
    return found


def make_step(form: Recurrence, inputs: list[Tensor], train: bool) -> Callable[[], Tensor]:
    """Forward, and backward to all inputs."""
    leaves = [one.clone().requires_grad_(train) for one in inputs]

    def step() -> Tensor:
        with torch.set_grad_enabled(train):
            out = form(*leaves)
            if train:
                out.square().mean().backward()
        return out.detach()

    return step


def compare(name: str, given: argparse.Namespace, train: bool) -> list[str]:
    """A row of the table."""
    inputs = make_inputs(name, given.tokens)
    steps = {
        who: make_step(how, inputs, train) for who, how in (("ours", ours), ("theirs", FORMS[name]))
    }
    mine, other = (step() for step in steps.values())
    torch.testing.assert_close(mine, other, rtol=0, atol=1e-4 * float(other.abs().max()))
    times = interleave(steps, given.rounds)
    taken = [sorted(times.processor[who])[given.rounds // 2] for who in steps]
    ratio = table.ratio(times.ratio("ours", "theirs", "processor"))
    work = "training" if train else "inference"
    return [name, work, *(f"{one * 1e3:.1f} ms" for one in taken), ratio]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--tokens", type=int, default=1024)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    runtime.keep_memory()
    peers.admit()
    size = f"{BATCH} texts of {given.tokens:,} tokens, {HEADS} heads of {WIDTH}"
    print(f"torch {torch.__version__}, {given.threads} thread(s), float32, seed 0; {size}")
    rows = [compare(name, given, train) for name in FORMS for train in (False, True)]
    print(table.table(["", "", "ours", "theirs", "ratio of processor times"], rows))


if __name__ == "__main__":
    main()
