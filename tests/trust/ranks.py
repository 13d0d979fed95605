"""Several processes against one: what they measure, what they learn, and how they end together.

    python -m tests.trust.ranks             all of it
    python -m tests.trust.ranks --quick     a few numbers of samples, a few ways to end

Every number of samples of the validation and the test from 1 to 40 is trained with on two and on
three processes, with and without accumulation, and must end with the metrics of one process. One
set of processes does all of them.

A process that raises, uses up the memory, meets numbers that are none, or is killed ends all others
within `SECONDS`.

Two processes take 32 samples each of the 64 that one takes: the same samples in every step, added
up in another order. What differs at the end is rounding, so copies (ddp) are compared in float64
too, where a mistake would stand out.
"""

import argparse
import csv
import itertools
import json
import os
import random
import re
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tasks.callbacks import logger
from tasks.report import report
from tasks.resume.checkpoint import Checkpoint
from tests.trust import forked
from tests.trust.kills import Result, compare, torment

SMALL = [
    "model=vit",
    "model.params.depth=2",
    "model.params.dim=16",
    "callbacks.progress.style=none",
]
STILL = [
    "data.shift=0",
    "data.rotate=0",
    "data.scale=0",
]  # augmentation is drawn by each process for itself
RUN = [
    *SMALL,
    *STILL,
    "trainer.max_epochs=3",
    "trainer.limit_train_batches=16",
    "optimizer=sgd",
    "optimizer.lr=0.05",
]
TOLERANCE = {"32-true": 1e-5, "64-true": 1e-12}  # of the largest weight
KILLS = 8

TINY = [
    "model=vit",
    "model.params.depth=1",
    "model.params.dim=16",
    *STILL,
    "callbacks.progress.style=none",
    "optimizer=sgd",
    "optimizer.lr=0.05",
    "trainer.max_epochs=1",
    "data=arrays",
]
TRAINED, BATCH = 24, 12  # samples of the training part; of a batch, over all processes
SAMPLES, QUICK = range(1, 41), (1, 2, 13)  # of the validation, and as many of the test
NAMES, APART = ("loss", "accuracy"), 1e-6  # the metrics, and how far apart they may be
SECONDS = 10  # in which a run ends after one of its processes has


def words(strategy: str, precision: str) -> list[str]:
    """The command line of one way to run."""
    if strategy == "one":
        return [*RUN, f"trainer.precision={precision}", "data.batch_size=64"]
    several = [
        f"trainer={strategy}",
        "trainer.accelerator=cpu",
        "trainer.devices=2",
        "data.batch_size=32",
    ]
    return [*RUN, *several, f"trainer.precision={precision}"]


def run(place: Path, given: list[str], processes: int) -> dict[str, torch.Tensor]:
    """The tensors at the end of a run that nobody touches."""
    status = forked.wait(forked.begin(place, given, processes=processes), 300)
    if status != 0:
        output = (place / "output.txt").read_text(encoding="utf-8")
        raise AssertionError(f"the run in {place} ended with {status}:\n{output[-3000:]}")
    return forked.weights(place / "checkpoints" / "last.ckpt")


def apart(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    """The largest difference of a weight, as a share of the largest weight."""
    names = [name for name in one if name.startswith("network.")]
    assert set(one) == set(other), sorted({*one} ^ {*other})[:5]
    most = max(float((one[name] - other[name]).abs().max()) for name in names)
    return most / max(float(one[name].abs().max()) for name in names)


def equal_to_one(folder: Path) -> bool:
    """Whether two processes end where one ends."""
    good = True
    for precision, tolerance in TOLERANCE.items():
        alone = run(folder / f"one-{precision}", words("one", precision), 1)
        for strategy in (
            ("ddp", "fsdp") if precision == "32-true" else ("ddp",)
        ):  # Lightning shards no float64
            found = run(folder / f"{strategy}-{precision}", words(strategy, precision), 2)
            share = apart(alone, found)
            good &= share <= tolerance
            print(
                f"{strategy} on two processes, {precision}: weights {share:.1e} apart, at most "
                f"{tolerance:.0e}",
                flush=True,
            )
    return good


def resumes(folder: Path, source: random.Random) -> bool:
    """Whether a sharded run that is killed ends as the one that nobody touched, to the bit."""
    given = [
        *words("fsdp", "32-true"),
        "model.params.dropout=0.1",
        "optimizer=adamw",
        "callbacks.checkpoint.every_steps=5",
    ]
    began = time.monotonic()
    run(folder / "whole", given, 2)
    seconds, kills, runs, equal = time.monotonic() - began, 0, 0, 0
    while kills < KILLS:
        place = folder / f"killed{runs}"
        start = partial(forked.begin, place, given, processes=2)
        result: Result = torment(place, start, seconds, "any", source, min(4, KILLS - kills))
        compare(folder / "whole", place, result)
        good = result.status == 0 and not result.unequal and result.rows
        kills, runs, equal = kills + result.kills, runs + 1, equal + good
    print(
        f"fsdp on two processes: {kills} kills in {runs} runs, {equal} of {runs} runs end equal "
        "to the bit"
    )
    return equal == runs


def write_arrays(place: Path, samples: int) -> Path:
    """An .npz file of random images with so many samples for validation and test."""
    path, source = place / f"{samples}.npz", np.random.default_rng(samples)
    parts = {"train": TRAINED, "val": samples, "test": samples}
    arrays = {
        f"x_{part}": source.integers(0, 256, (size, 8, 8), dtype=np.uint8)
        for part, size in parts.items()
    }
    arrays |= {f"y_{part}": np.arange(size) % 3 for part, size in parts.items()}
    np.savez(path, **arrays)
    return path


def several(processes: int) -> list[str]:
    """The words for a number of processes; the batch is shared out among them.

    In float64: metrics.csv has six digits, and the rounding of float32 may turn the last.
    """
    words = [f"data.batch_size={BATCH // processes}", "trainer.precision=64-true"]
    if processes == 1:
        return words
    return ["trainer=ddp", "trainer.accelerator=cpu", f"trainer.devices={processes}", *words]


def train_all(
    folder: Path, processes: int, samples: Sequence[int], accumulations: Sequence[int]
) -> int:
    """Let a set of processes train with each number of samples and each accumulation; returns the
    process id.
    """

    def learn(place: Path, words: list[str]) -> int:
        logger.shown, report.write = repr, lambda *_: None  # type: ignore[assignment]
        for size in samples:
            for count in accumulations:
                given = [
                    f"data.path='{folder / str(size)}.npz'",
                    f"trainer.accumulate_grad_batches={count}",
                ]
                here = place / f"{size}-{count}"
                here.mkdir(exist_ok=True)  # another process may be ahead of the first
                forked.dougong(here, [*words, *given])
        return 0

    place = folder / f"processes-{processes}"
    return forked.begin(place, [*TINY, *several(processes)], processes=processes, learn=learn)


def metrics(place: Path) -> dict[str, float]:
    """What a run has measured over validation and test."""
    with (place / "metrics.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    found = {name: float(value) for name, value in rows[-1].items() if name.startswith("val/")}
    return found | json.loads((place / "run.json").read_text(encoding="utf-8"))["test"]


def equal_metrics(folder: Path, samples: Sequence[int]) -> bool:
    """Whether two and three processes finish with the metrics of one, whatever the number of
    samples; tells a table.
    """
    for size in samples:
        write_arrays(folder, size)
    good, accumulations = True, (1, 2)
    for processes in (1, 2, 3):
        began, patience = time.monotonic(), 120 + 30 * len(samples)
        number = train_all(folder, processes, samples, accumulations)
        status = forked.wait(number, patience)
        if status is None:
            forked.kill(number)
        if status != 0:
            said = (folder / f"processes-{processes}" / "output.txt").read_text(encoding="utf-8")
            print(
                f"{processes} processes: status {status} after {time.monotonic() - began:.0f} "
                f"s\n{said}"
            )
            return False
    print(
        f"{'samples':>8} {'processes':>10} {'accumulated':>12} {'finished':>9} "
        f"{'metrics apart':>14}"
    )
    for processes in (2, 3):
        for count in accumulations:
            worst = 0.0
            for size in samples:
                one, other = (
                    metrics(folder / f"processes-{n}" / f"{size}-{count}") for n in (1, processes)
                )
                assert (
                    set(one)
                    == set(other)
                    == {f"{part}/{name}" for part in ("val", "test") for name in NAMES}
                )
                worst = max(worst, *(abs(one[name] - other[name]) for name in one))
            good &= worst <= APART
            told = f"{min(samples)} to {max(samples)}"
            print(
                f"{told:>8} {processes:>10} {count:>12} {len(samples):>9} {worst:>14.1e}",
                flush=True,
            )
    return good


def fail(batch: Any) -> None:
    raise ValueError("broken on purpose")


def spoil(batch: Any) -> None:
    batch["image"][0] = float("nan")


WAYS: dict[
    str, tuple[Callable[[Any], Any], str]
] = {  # what befalls one process, and what the run says
    "raises": (fail, "broken on purpose"),
    "out of memory": (lambda batch: torch.empty(1 << 50), "out of memory"),
    "not a number": (spoil, "not a number"),
    "killed": (
        lambda batch: os.kill(os.getpid(), signal.SIGKILL),
        "another process of this run has ended",
    ),
    "stopped": (lambda batch: os.kill(os.getpid(), signal.SIGSTOP), "stopped by SIGTERM"),
}


def befall(way: str, part: str, place: Path) -> Callable[[], None]:
    """Let it happen to this process in the second batch of a part."""
    seen = []

    def on_batch_start(self: Any, trainer: Any, module: Any, batch: Any, *rest: Any) -> None:
        seen.append(batch)
        if len(seen) == 2:
            (place / "now").touch()
            WAYS[way][0](batch)

    return lambda: setattr(Checkpoint, f"on_{part}_batch_start", on_batch_start)


def ends_together(folder: Path, way: str, part: str, rank: int) -> bool:
    """Whether a run of two processes ends with what befalls one of them."""
    place = folder / f"{way}-{part}-{rank}".replace(" ", "-")
    place.mkdir()
    given = [*TINY, *several(2), "data.batch_size=4", f"data.path='{write_arrays(folder, 17)}'"]
    number = forked.begin(place, given, processes=2, change=befall(way, part, place), changed=rank)
    status = None
    while status is None and not (place / "now").exists():
        status = forked.wait(number, 0.05)
    if way == "stopped":
        os.kill(number, signal.SIGTERM)
    began, patience = time.monotonic(), 3 * SECONDS if way == "stopped" else SECONDS
    status = forked.wait(number, patience) if status is None else status
    left = not forked.gone(number, 1)
    seconds = time.monotonic() - began
    if left:
        forked.kill(number)
    told = re.search(WAYS[way][1], (place / "output.txt").read_text(encoding="utf-8"))
    good = bool(status) and not left and (bool(told) or (rank == 0 and way == "killed"))
    print(
        f"process {rank} {way} in {part}: status {status}, {seconds:.1f} s, "
        f"{'told' if told else 'not told'}"
        f"{', a process is left' if left else ''}",
        flush=True,
    )
    return good


def all_ways() -> list[tuple[str, str, int]]:
    """What can befall which process in which part.

    Losses are looked at in training alone. A first process that is stopped runs none of our code:
    it can tell nothing, and whoever started it has to kill it.
    """
    found = []
    for way, part, rank in itertools.product(WAYS, ("train", "validation", "test"), (0, 1)):
        if way == "not a number" and part != "train":
            continue
        if way == "stopped" and rank == 0:
            continue
        found.append((way, part, rank))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--quick", action="store_true", help="a few numbers of samples, a few ways to end"
    )
    quick = parser.parse_args().quick
    with tempfile.TemporaryDirectory(prefix="ranks-") as made:
        folder = Path(made)
        good = [equal_metrics(folder, QUICK if quick else SAMPLES)]
        ways = [("killed", "validation", 1)] if quick else all_ways()
        good += [ends_together(folder, *way) for way in ways]
        if not quick:
            good += [equal_to_one(folder), resumes(folder, random.Random(0))]
    return int(not all(good))


if __name__ == "__main__":
    sys.exit(main())
