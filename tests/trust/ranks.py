"""Two processes against one with the same global batch, and sharded weights that are killed and go on.

    python -m tests.trust.ranks

Two processes take 32 samples each of the 64 that one takes: the same samples in every step, added up in another order.
What differs at the end is rounding, so copies (ddp) are compared in float64 too, where a mistake would stand out.
"""

import random
import sys
import tempfile
import time
from pathlib import Path

import torch

from tests.trust import forked
from tests.trust.kills import Result, compare, torment

SMALL = ["model=vit", "model.params.depth=2", "model.params.dim=16", "callbacks.progress.style=none"]
STILL = ["data.shift=0", "data.rotate=0", "data.scale=0"]  # augmentation is drawn by each process for itself
RUN = [*SMALL, *STILL, "trainer.max_epochs=3", "trainer.limit_train_batches=16", "optimizer=sgd", "optimizer.lr=0.05"]
TOLERANCE = {"32-true": 1e-5, "64-true": 1e-12}  # of the largest weight
KILLS = 8


def words(strategy: str, precision: str) -> list[str]:
    """The command line of one way to run."""
    if strategy == "one":
        return [*RUN, f"trainer.precision={precision}", "data.batch_size=64"]
    several = [f"trainer={strategy}", "trainer.accelerator=cpu", "trainer.devices=2", "data.batch_size=32"]
    return [*RUN, *several, f"trainer.precision={precision}"]


def run(place: Path, given: list[str], processes: int) -> dict[str, torch.Tensor]:
    """The tensors at the end of a run that nobody touches."""
    status = forked.wait(forked.begin(place, given, processes=processes), 300)
    assert status == 0, f"the run in {place} ended with {status}:\n{(place / 'output.txt').read_text()[-3000:]}"
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
        for strategy in ("ddp", "fsdp") if precision == "32-true" else ("ddp",):  # Lightning shards no float64
            found = run(folder / f"{strategy}-{precision}", words(strategy, precision), 2)
            share = apart(alone, found)
            good &= share <= tolerance
            print(
                f"{strategy} on two processes, {precision}: weights {share:.1e} apart, at most {tolerance:.0e}",
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
        start = lambda change: forked.begin(place, given, processes=2, change=change)  # noqa: B023, E731
        result: Result = torment(place, start, seconds, "any", source, min(4, KILLS - kills))
        compare(folder / "whole", place, result)
        good = result.status == 0 and not result.unequal and result.rows
        kills, runs, equal = kills + result.kills, runs + 1, equal + good
    print(f"fsdp on two processes: {kills} kills in {runs} runs, {equal} of {runs} runs end equal to the bit")
    return equal == runs


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="ranks-") as folder:
        good = [equal_to_one(Path(folder)), resumes(Path(folder), random.Random(0))]
    return int(not all(good))


if __name__ == "__main__":
    sys.exit(main())
