"""One family: make its contenders, see that they say the same, time them side by side."""

from contextlib import ExitStack, closing
from dataclasses import replace
from typing import Any

import torch

from bench.compare.apart import Apart, Work
from bench.compare.contender import Contender, Family
from bench.compare.equal import check
from bench.measure import interleave
from blocks.graph.describe.answers.ceiling import Ceiling

Row = dict[str, Any]


def make(family: Family, only: list[str] | None = None) -> dict[str, Contender]:
    """All contenders, or some and ours."""
    made = {}
    for number, (name, contender) in enumerate(family.contenders.items()):
        if number == 0 or not only or name in only:
            torch.manual_seed(0)
            made[name] = contender()
    return made


def compare(
    family: Family, ceiling: Ceiling, rounds: int, work: Work, only: list[str] | None = None
) -> list[Row]:
    """A row for each contender; `ratio` is to the fastest of the peers that do the very same work.

    Args:
        work: what they are asked for; its words are for ours alone.
    """
    ours, *peers = _equal(family, only)
    plain = replace(work, words=())
    with ExitStack() as stack:
        steps = {
            name: stack.enter_context(closing(Apart(name, work if name == ours else plain)))
            for name in (ours, *peers)
        }
        times = interleave(steps, rounds, ask=Apart.ask)
    exact = [name for name in peers if name not in family.near] or peers
    fastest = times.fastest(exact)
    flops = family.flops() / (3 if work.infer else 1)
    return [
        {
            "family": family.name,
            "work": " ".join(
                [
                    "inference" if work.infer else "training step",
                    *(f"+{word}" for word in work.words),
                    *(["peers keep freed memory"] if work.keep else []),
                ]
            ),
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


def _equal(family: Family, only: list[str] | None) -> list[str]:
    """The names of the contenders, once they were seen to say the same."""
    made = make(family, only)
    check(family, made)
    return list(made)
