"""Processor time of a training step of each run of a sweep, and how many steps cost the same.

python -m bench.training.steps experiment=modern seed=0 [--steps 500] [--rounds 60] [WORDS]

One step of each takes its turn in one process with one thread. Ratios are those of a round, to the
first run of the sweep; `steps` is what the time of `--steps` steps of the first buys.
"""

import argparse
import statistics
from collections.abc import Callable, Iterator
from typing import Any

import torch

from bench import table
from bench.measure import Times, interleave, timed
from bench.training.loop import parts
from blocks.graph import compose
from blocks.graph.compose.combinations import combinations
from tasks.optimize.groups import build_optimizer


def stepper(words: tuple[str, ...]) -> Callable[[], None]:
    """A training step of a run, without Lightning."""
    composed = compose([*words, "trainer.threads=1"])
    task, data = parts(composed)
    network, most = task.network.train(), composed.config["trainer"]["gradient_clip_val"]
    optimizer = build_optimizer(network, task.make_optimizer)
    batches, parameters = endless(data.train_dataloader()), list(network.parameters())

    def step() -> None:
        batch = next(batches)
        optimizer.zero_grad()
        task.compute_loss(batch).backward()
        torch.nn.utils.clip_grad_norm_(parameters, most)
        optimizer.step()

    return step


def endless(loader: Any) -> Iterator[Any]:
    while True:
        yield from loader


def measure(runs: list[tuple[str, ...]], rounds: int) -> Times:
    """Seconds of a step of each run, by its differing words."""
    return interleave({label(run, runs): stepper(run) for run in runs}, rounds, ask=timed)


def label(run: tuple[str, ...], runs: list[tuple[str, ...]]) -> str:
    """The words in which a run differs from the others."""
    common = set(runs[0]).intersection(*runs)
    return " ".join(word for word in run if word not in common) or "the run"


def main() -> None:
    parser = argparse.ArgumentParser(
        "python -m bench.training.steps",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--steps", type=int, default=500, help="of the first run (500)")
    parser.add_argument("--rounds", type=int, default=60, help="steps of each that count (60)")
    parser.add_argument("words", nargs="*", help="words of train.py, some with several values")
    given = parser.parse_args()
    torch.set_num_threads(1)
    runs = combinations(given.words)
    times = measure(runs, given.rounds)
    first, *_ = times.processor
    rows = []
    for name in times.processor:
        ratio = times.ratio(name, first, "processor")
        seconds = statistics.median(times.processor[name])
        steps = f"{given.steps / ratio[0]:.0f}"
        rows.append([name, f"{seconds * 1e3:.1f} ms", table.ratio(ratio), steps])
    print(table.table(("", "processor time", f"of {first}", "steps"), rows))


if __name__ == "__main__":
    main()
