"""One family: make its contenders, see that they say the same, time them side by side."""

from collections.abc import Collection
from typing import Any

import torch

from bench.ceiling import Ceiling
from bench.contender import Contender, Family
from bench.equal import check
from bench.measure import interleave
from blocks.graph import compile_network


def make(family: Family, only: list[str] | None = None) -> dict[str, Contender]:
    """All contenders, or some and ours."""
    made = {}
    for number, (name, contender) in enumerate(family.contenders.items()):
        if number == 0 or not only or name in only:
            torch.manual_seed(0)
            made[name] = contender()
    return made


def compare(
    family: Family,
    ceiling: Ceiling,
    rounds: int,
    *,
    infer: bool = False,
    only: list[str] | None = None,
    words: Collection[str] = (),
) -> list[dict[str, Any]]:
    """A row for each contender; `ratio` is to the fastest of the peers that do the very same work.

    Args:
        words: what ours is given beyond the peers: bf16 for mixed precision, compile.
    """
    made = make(family, only)
    check(family, made)
    ours, *peers = made
    if "compile" in words:
        compile_network(made[ours].model)
    steps = {
        name: one.asker() if infer else one.trainer(bfloat16=name == ours and "bf16" in words)
        for name, one in made.items()
    }
    times = interleave(steps, rounds)
    exact = [name for name in peers if name not in family.near] or peers
    fastest = times.fastest(exact)
    flops = family.flops() / (3 if infer else 1)
    return [
        {
            "family": family.name,
            "work": " ".join(["inference" if infer else "training step", *(f"+{word}" for word in words)]),
            "contender": name,
            "near": family.near.get(name, ""),
            "fastest": fastest,
            "seconds": times.median(name),
            "ratio": times.ratio(name, fastest),
            "processor": times.ratio(name, fastest, "processor"),
            "gflops": flops / times.median(name) / 1e9,
            "share": flops / times.median(name) / ceiling.float32,
        }
        for name in (ours, *peers)
    ]
