"""A causal window of attention by bands, beside one mask of all pairs.

`attend` cuts the queries into bands, which meet their own keys and those of the band before. A mask
that forbids nothing keeps all pairs together. Both give the same, to 1e-5 of the largest value. In
turns; a ratio is of bands to pairs, with its quartiles.

python -m bench.kernels.window [--rounds N] [--threads N]
"""

import argparse
from collections.abc import Callable

import torch
from torch import Tensor

from bench import table
from bench.measure import interleave
from blocks.attention.dot_product import attend
from tasks.process import runtime

BATCH, HEADS, WIDTH = 2, 6, 64
SIZES = [(256, 16), (512, 64), (1024, 128), (1024, 256), (2048, 256), (4096, 128), (4096, 1024)]


def make_step(tokens: int, window: int, train: bool, pairs: bool) -> Callable[[], Tensor]:
    """Forward, and backward to queries, keys and values."""
    torch.manual_seed(0)
    shape = (BATCH, HEADS, tokens, WIDTH)
    q, k, v = (torch.randn(shape).requires_grad_(train) for _ in range(3))
    mask = torch.ones(1, 1, dtype=torch.bool) if pairs else None

    def step() -> Tensor:
        with torch.set_grad_enabled(train):
            out, _ = attend(q, k, v, causal=True, window=window, mask=mask)
            if train:
                out.square().mean().backward()
        return out.detach()

    return step


def compare(tokens: int, window: int, train: bool, rounds: int) -> list[str]:
    """A row of the table."""
    steps = {name: make_step(tokens, window, train, name == "pairs") for name in ("bands", "pairs")}
    mine, other = (step() for step in steps.values())
    torch.testing.assert_close(mine, other, rtol=0, atol=1e-5 * float(other.abs().max()))
    times = interleave(steps, rounds)
    taken = [sorted(times.processor[name])[rounds // 2] for name in steps]
    ratio = table.ratio(times.ratio("bands", "pairs", "processor"))
    work = "training" if train else "inference"
    return [f"{tokens:,}", str(window), work, *(f"{one * 1e3:.1f} ms" for one in taken), ratio]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    runtime.keep_memory()
    size = f"batch {BATCH}, {HEADS} heads of {WIDTH}"
    print(f"torch {torch.__version__}, {given.threads} thread(s), float32, seed 0; {size}")
    rows = [compare(*one, train, given.rounds) for one in SIZES for train in (False, True)]
    header = ["tokens", "window", "", "bands", "pairs", "ratio of processor times"]
    print(table.table(header, rows))


if __name__ == "__main__":
    main()
