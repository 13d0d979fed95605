"""Composed attention: the node `Attend` beside the same written out as products and a softmax.

Both are trained for a step, forward and backward, in turns; a ratio is of the written-out form to
`Attend`, with its quartiles. Memory is what a process of its own holds at its highest, less what it
held before the step.

python -m bench.kernels.attend [--rounds N]
"""

import argparse
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import torch

from bench import table
from bench.compare.memory import held, highest
from bench.measure import interleave
from blocks.graph import Composed, Graph, plan

HEADS, WIDTH = 6, 64
SIZES = {"197 tokens, batch 8": (8, 197, False), "1,024 tokens, batch 2, causal": (2, 1024, True)}
FORMS = ("written out", "Attend")


def make(form: str, tokens: int, causal: bool) -> Graph:
    """Attention between projections, whose core is one node or five."""
    split = {"block": "Rearrange", "pattern": "b t (h d) -> b h t d", "sizes": {"h": HEADS}}
    graph: dict[str, Any] = {}
    for name in ("q", "k", "v"):
        graph[f"{name}_wide"] = {"block": "Linear", "in": "x", "features": HEADS * WIDTH}
        graph[name] = dict(split)
    if form == "Attend":
        graph["core"] = {"block": "Attend", "in": ["q", "k", "v"], "causal": causal}
    else:
        graph["products"] = {"block": "MatMul", "in": ["q", "k"], "transpose": True}
        graph["scores"] = {"block": "Gain", "factor": WIDTH**-0.5}
        if causal:
            later = torch.full((tokens, tokens), -torch.inf).triu(1).flatten().tolist()
            shape = [1, tokens, tokens]
            graph["mask"] = {"block": "Constant", "in": [], "shape": shape, "value": later}
            graph["masked"] = {"block": "Add", "in": ["scores", "mask"]}
        graph["weights"] = {"block": "Softmax", "axis": -1}
        graph["core"] = {"block": "MatMul", "in": ["weights", "v"]}
    graph["joined"] = {"block": "Rearrange", "pattern": "b h t d -> b t (h d)"}
    graph["out"] = {"block": "Linear", "features": HEADS * WIDTH}
    inputs = {"x": {"tokens": tokens, "dim": HEADS * WIDTH}}
    torch.manual_seed(0)
    return plan(Composed({"model": {"inputs": inputs, "graph": graph}}), {}).materialise()


def make_step(form: str, size: str) -> Callable[[], torch.Tensor]:
    """Forward and backward for a fixed batch; returns what the network gives."""
    batch, tokens, causal = SIZES[size]
    model = make(form, tokens, causal)
    x = torch.randn(batch, tokens, HEADS * WIDTH)

    def step() -> torch.Tensor:
        out = model(x)
        out.square().mean().backward()
        return out.detach()

    return step


def measure_peak(form: str, size: str) -> int:
    """Bytes at the highest of three steps, in this process."""
    torch.ones(1).requires_grad_().square().backward()  # what torch starts once
    step = make_step(form, size)
    before = held()
    for _ in range(3):
        step()
    return highest() - before


def ask_peak(form: str, size: str) -> int:
    """The same in a new process. Its highest is at least what this one holds, so it comes first."""
    command = [sys.executable, "-m", "bench.kernels.attend", "--peak", form, size]
    done = subprocess.run(command, check=True, capture_output=True, encoding="utf-8")
    return int(done.stdout)


def compare(size: str, rounds: int, peaks: list[int]) -> list[str]:
    """A row of the table."""
    steps = {form: make_step(form, size) for form in FORMS}
    one, other = (step() for step in steps.values())
    torch.testing.assert_close(one, other, rtol=0, atol=1e-5)
    times = interleave(steps, rounds)
    row = [size]
    for form, peak in zip(FORMS, peaks, strict=True):
        row += [f"{times.median(form) * 1e3:.0f} ms", f"{peak / 2**20:.0f} MiB"]
    return [*row, table.ratio(times.ratio(*FORMS)), f"{peaks[0] / peaks[1]:.2f}"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--peak", nargs=2, metavar=("FORM", "SIZE"))
    given = parser.parse_args()
    if given.peak:
        print(measure_peak(*given.peak))
        return
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, float32, seed 0")
    head = ["", "written out", "", "Attend", "", "ratio of times", "of memory"]
    peaks = {size: [ask_peak(form, size) for form in FORMS] for size in SIZES}
    print(table.table(head, [compare(size, given.rounds, peaks[size]) for size in SIZES]))


if __name__ == "__main__":
    main()
