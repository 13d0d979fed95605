"""The loss curve of ours with words that make it faster, beside that of a peer in float32 as it
comes.

python -m bench.compare.curve vit_s --peer timm --words bf16 [compile] [--steps N] [--rate R]

Both begin with the weights of the peer and learn one batch by heart with the same fused AdamW.
Nothing is timed.
"""

import argparse

import torch

from bench import peers, table
from bench.compare.contender import Family
from bench.compare.equal import check
from blocks.graph import compile_network

SHOWN = 10  # steps between two lines of the table


def curves(
    family: Family, peer: str, words: list[str], steps: int, rate: float
) -> dict[str, list[float]]:
    """The loss before each step, by contender."""
    ours = next(iter(family.contenders))
    made = {}
    for name in (ours, peer):
        torch.manual_seed(0)
        made[name] = family.contenders[name]()
    check(family, made)  # which copies the weights of the peer into ours
    if "compile" in words:
        compile_network(made[ours].model)
    found = {}
    for name, contender in made.items():
        step = contender.trainer(bfloat16=name == ours and "bf16" in words, rate=rate)
        found[name] = [float(step()) for _ in range(steps)]
    return found


def main() -> None:
    parser = argparse.ArgumentParser("python -m bench.compare.curve", description=__doc__)
    parser.add_argument("family")
    parser.add_argument("--peer", required=True)
    parser.add_argument("--words", nargs="*", default=["bf16"], choices=["bf16", "compile"])
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--rate", type=float, default=1e-4, help="learning rate (1e-4)")
    parser.add_argument("--batch", type=int, default=8, help="images at a time (8)")
    given = parser.parse_args()
    peers.admit()
    from bench.families import families

    found = curves(
        families(given.batch)[given.family], given.peer, given.words, given.steps, given.rate
    )
    ours, theirs = found.values()
    rows = [
        [f"{step}", f"{ours[step]:.4f}", f"{theirs[step]:.4f}"]
        for step in range(0, given.steps, SHOWN)
    ]
    if (given.steps - 1) % SHOWN:
        rows.append([f"{given.steps - 1}", f"{ours[-1]:.4f}", f"{theirs[-1]:.4f}"])
    print(
        table.table(
            (f"{given.family}, step", f"ours, {' '.join(given.words)}", f"{given.peer}, float32"),
            rows,
        )
    )
    apart = max(abs(a - b) for a, b in zip(ours, theirs, strict=True))
    print(
        f"at most {apart:.4f} apart, {apart / max(theirs):.2%} of where they begin; seed 0, "
        f"rate {given.rate}"
    )


if __name__ == "__main__":
    main()
