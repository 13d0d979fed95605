"""Kill runs at random moments, go on, and compare the end with that of a run nobody touched, to the
bit.

    python -m tests.trust.kills --count 200     every family and setting in turn
    python -m tests.trust.kills --only two_processes
    python -m tests.trust.kills --stock         the same for a script with Lightning's own means
    python -m tests.trust.kills --only vit --add trainer=gpu trainer.deterministic=true

Each run is killed with SIGKILL up to four times, at random moments, in a batch of a validation or
between two writes of a save, and then left to finish. Its checkpoints (weights and the states of
the optimiser), its metrics.csv (all but the seconds), nodes.csv and the pictures of it must then
equal those of the untouched run. `--forget` leaves the random states out of a resume, to see that
the comparison notices.
"""

import argparse
import csv
import itertools
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tasks.resume import checkpoint_file, state
from tasks.resume.checkpoint import Checkpoint
from tests.trust import forked, stock

QUIET = [
    "callbacks.progress.style=none",
    "trainer.max_epochs=3",
    "callbacks.checkpoint.every_steps=5",
]
SMALL_TEXT = [
    "data.length=16",
    "data.batch_size=32",
    "trainer.limit_train_batches=16",
    "trainer.limit_val_batches=4",
]


@dataclass(frozen=True)
class Case:
    """One way to run: what is added to the command line, in how many processes, and at which
    moments it is killed.
    """

    words: tuple[str, ...]
    processes: int = 1
    images: bool = False
    moment: str = "any"  # any, validation, save


FAMILIES = {
    "vit": Case(
        ("model=vit", "model.params.depth=1", "model.params.dim=16", "model.params.dropout=0.1")
    ),
    "cnn": Case(("model=cnn",)),
    "swin": Case(
        (
            "model=swin",
            "model.params.dim=8",
            "model.params.heads=[1,1]",
            "model.params.depths=[1,1]",
            "model.params.drop_path=0.2",
        )
    ),
    "lstm": Case(
        (
            "experiment=recall",
            "model=lstm_language",
            "data.lag=12",
            "data.train=512",
            "data.test=64",
        )
    ),
    "gpt": Case(
        (
            "experiment=language",
            "model.params.depth=1",
            "model.params.dim=32",
            "data.tokenizer=characters",
            *SMALL_TEXT,
            "trainer.limit_test_batches=2",
        )
    ),
    "translate": Case(
        (
            "experiment=translate",
            "model.params.depth=1",
            "model.params.dim=16",
            "data.train=512",
            "data.test=64",
            "trainer.limit_val_batches=2",
            "trainer.limit_test_batches=1",
        )
    ),
}
SETTINGS = {
    "plain": Case(()),
    "accumulation": Case(
        ("trainer.accumulate_grad_batches=3", "callbacks.checkpoint.every_steps=2")
    ),
    "validation_within": Case(("+trainer.val_check_interval=7",)),
    "every_step": Case(("callbacks.checkpoint.every_steps=1",)),
    "early_stopping": Case(
        (
            "+callbacks.stop={_target_: pytorch_lightning.callbacks.EarlyStopping, monitor: "
            "val/loss, patience: 1}",
        )
    ),
    "workers_0": Case(
        ("data=images", "data.workers=0", "data.size=8", "data.channels=1"), images=True
    ),
    "workers_2": Case(
        ("data=images", "data.workers=2", "data.size=8", "data.channels=1"), images=True
    ),
    "in_validation": Case(("+trainer.val_check_interval=5",), moment="validation"),
    "in_a_save": Case((), moment="save"),
    "two_processes": Case(
        (
            "trainer=ddp",
            "trainer.accelerator=cpu",
            "trainer.devices=2",
            "trainer.precision=32-true",
        ),
        processes=2,
    ),
    "in_a_save_of_shards": Case(
        (
            "trainer=fsdp",
            "trainer.accelerator=cpu",
            "trainer.devices=2",
            "trainer.precision=32-true",
        ),
        processes=2,
        moment="save",
    ),
}


def pairs(only: str | None) -> list[tuple[str, str]]:
    """Which family under which setting: each family plain, each setting with a family in turn."""
    image = ["vit", "cnn", "swin"]
    names = list(FAMILIES)
    found = [(name, "plain") for name in names]
    for number, setting in enumerate(name for name in SETTINGS if name != "plain"):
        usable = image if SETTINGS[setting].images else names
        found += [(usable[(number + shift) % len(usable)], setting) for shift in (0, 2)]
    return [pair for pair in found if only is None or only in pair]


def words(family: str, setting: str, folder: Path) -> tuple[list[str], int]:
    """The command line and the number of processes of one case."""
    case = SETTINGS[setting]
    data = [f"data.path='{folder}'"] if case.images else []
    return [*FAMILIES[family].words, *QUIET, *case.words, *data], case.processes


def write_images(folder: Path) -> None:
    """Real digits as class folders, 480 of them."""
    from PIL import Image
    from sklearn.datasets import load_digits

    found = load_digits()
    for number in range(480):
        place = folder / str(found.target[number])
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray((found.images[number] * 15).astype("uint8")).save(place / f"{number}.png")


def table(place: Path) -> list[dict[str, str]]:
    """The rows of metrics.csv without the clock."""
    with (place / "metrics.csv").open(encoding="utf-8") as file:
        return [
            {name: value for name, value in row.items() if name != "seconds"}
            for row in csv.DictReader(file)
        ]


@dataclass
class Result:
    """What came of one run that was killed."""

    kills: int = 0
    saving: int = 0  # kills that left a half-written file behind
    unequal: int = 0  # tensors
    rows: bool = True  # whether metrics.csv is the same
    nodes: bool = True  # whether nodes.csv and its pictures are the same
    status: int | None = 0


def die_at(number: int) -> Callable[..., None]:
    """What kills the run, with all of its processes, when it is called for the time of that
    number.
    """
    counted = itertools.count()
    return lambda *_: os.killpg(0, signal.SIGKILL) if next(counted) == number else None


def die_in_validation(number: int) -> None:
    """Let this run die in the validation batch of that number."""
    Checkpoint.on_validation_batch_start = die_at(number)  # type: ignore[method-assign]


def die_in_a_save(number: int) -> None:
    """Let this run die before the write, flush or renaming of that number."""
    die = die_at(number)
    for place, name in (
        (checkpoint_file.HashingFile, "write"),
        (os, "fsync"),
        (os, "replace"),
        (os, "link"),
        (shutil, "rmtree"),
    ):
        setattr(place, name, after(die, getattr(place, name)))


def after(first: Callable[[], None], then: Callable[..., Any]) -> Callable[..., Any]:
    def both(*given: Any, **named: Any) -> Any:
        first()
        return then(*given, **named)

    return both


# what makes a run die at a moment, and how many such moments there are to choose from
MOMENTS: dict[str, tuple[Callable[[int], None], int]] = {
    "validation": (die_in_validation, 8),
    "save": (die_in_a_save, 300),
}


def torment(
    place: Path,
    start: Callable[..., int],
    seconds: float,
    moment: str,
    source: random.Random,
    most: int,
) -> Result:
    """Kill a run up to `most` times at random moments, then let it finish."""
    result = Result()
    while True:
        left = result.kills < most
        patience, change = (source.uniform(0.05, 0.75) * seconds if left else 300), None
        if left and moment in MOMENTS:
            die, end = MOMENTS[moment]
            patience, number = 300, source.randrange(end)
            change = lambda die=die, number=number: die(number)  # noqa: E731
        process = start(change=change)
        status = forked.wait(process, patience)
        if status is None:
            forked.kill(process)
            forked.wait(process)
        if status not in (None, -signal.SIGKILL) or not left:
            result.status = status
            return result
        result.kills += 1
        result.saving += bool(list((place / "checkpoints").glob(".*.part")))


def compare(whole: Path, place: Path, result: Result) -> None:
    """Count what differs between a run that was killed and the untouched one."""
    if result.status != 0:
        return
    for name in ("last.ckpt", "best.ckpt"):
        if (whole / "checkpoints" / name).is_file():
            one, other = (
                forked.weights(folder / "checkpoints" / name) for folder in (whole, place)
            )
            result.unequal += len(forked.unequal(one, other))
    if (whole / "metrics.csv").is_file():
        result.rows = table(whole) == table(place)
    for name in ("nodes.csv", "gradients.svg", "updates.svg"):
        if (whole / name).is_file():
            result.nodes &= (place / name).is_file() and (whole / name).read_bytes() == (
                place / name
            ).read_bytes()


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=200, help="kills in all")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--only", help="a family or a setting")
    parser.add_argument(
        "--stock", action="store_true", help="Lightning's own means instead of Dougong"
    )
    parser.add_argument("--forget", action="store_true", help="resume without the random states")
    parser.add_argument("--add", nargs="+", default=[], help="more overrides for every run")
    parser.add_argument("--keep", help="a folder for the runs")
    asked = parser.parse_args()
    folder = Path(asked.keep or tempfile.mkdtemp(prefix="kills-")).absolute()
    source = random.Random(asked.seed)
    if asked.forget:
        state.set_random_states = lambda states: None
    write_images(folder / "images")
    cases = [("vit", "plain"), ("vit", "every_step")] if asked.stock else pairs(asked.only)
    learn = stock.learn if asked.stock else None
    total = run_all(cases, folder, source, asked.count, learn, asked.add)
    if not asked.keep:
        shutil.rmtree(folder)
    return total


def run_all(
    cases: list[tuple[str, str]],
    folder: Path,
    source: random.Random,
    count: int,
    learn: Any,
    more: list[str],
) -> int:
    """Go through the cases until there are enough kills; returns the exit status."""
    print(f"{'case':34}{'kills':>6}{'saving':>8}  end", flush=True)
    baselines: dict[tuple[str, str], float] = {}
    kills = saving = runs = equal = 0
    while kills < count:
        for family, setting in cases:
            if kills >= count:
                break
            given, processes = words(family, setting, folder / "images")
            given = [*given, *more]
            whole = folder / f"{family}-{setting}-whole"
            if (family, setting) not in baselines:
                began = time.monotonic()
                status = forked.wait(
                    forked.begin(whole, given, processes=processes, learn=learn), 300
                )
                baselines[family, setting] = time.monotonic() - began
                assert status == 0, (
                    f"the untouched run in {whole} ended with {status}: see output.txt"
                )
            place = folder / f"{family}-{setting}-{runs}"
            start = partial(forked.begin, place, given, processes=processes, learn=learn)
            seconds, moment = baselines[family, setting], SETTINGS[setting].moment
            result = torment(place, start, seconds, moment, source, min(4, count - kills))
            compare(whole, place, result)
            if result.kills == 0 and result.status == 0:
                shutil.rmtree(
                    place
                )  # it was over before its first moment came: nothing can be learned from it
                continue
            kills, saving, runs = kills + result.kills, saving + result.saving, runs + 1
            good = result.status == 0 and not result.unequal and result.rows and result.nodes
            equal += good
            differ = f"{result.unequal} tensors differ, rows {result.rows}, nodes {result.nodes}"
            told = "equal" if good else f"status {result.status}, {differ}"
            print(
                f"{family + ' ' + setting:34}{result.kills:6}{result.saving:8}  {told}", flush=True
            )
            if good:
                shutil.rmtree(place)
    print(
        f"{kills} kills in {runs} runs, {saving} while a file was being written: "
        f"{equal} of {runs} runs end equal to the bit"
    )
    return int(equal != runs)


if __name__ == "__main__":
    sys.exit(main())
