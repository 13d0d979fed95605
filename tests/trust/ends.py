"""Ways in which a run is ended: signals, wrong numbers, no memory, no disk.

What it says, its status, what is left.

    python -m tests.trust.ends                  every way at several moments
    python -m tests.trust.ends --only SIGTERM
    python -m tests.trust.ends --only SIGTERM --add trainer=gpu trainer.deterministic=true
    python -m tests.trust.ends --stock          SIGTERM and SIGINT, by Lightning's own means

Each run goes through the front door of `train.py`. It must end with the status and the words that
are expected, and unless its folder was removed it is resumed, and must then end as a run nobody
touched, to the bit.
"""

import argparse
import contextlib
import itertools
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

import train
from tasks.resume.checkpoint import Checkpoint
from tests.trust import forked, stock
from tests.trust.kills import FAMILIES, QUIET, Result, compare

WORDS = [*FAMILIES["vit"].words, *QUIET, "trainer.limit_train_batches=7"]
BATCHES = (1, 9, 20)  # of 21 in three epochs, at which it happens


@dataclass(frozen=True)
class Way:
    """What is done to a run within a batch, and what must come of it.

    Args:
        act: called with the run folder, the batch and the network.
        status: with which the run must leave.
        says: what it must say, as a regular expression.
        saved: whether a checkpoint was made for this reason.
        resumes: whether there is something to go on from.
        processes: how many work on the run; it happens to the first.
    """

    act: Callable[[Path, dict[str, torch.Tensor], Any], Any]
    status: int
    says: str
    saved: bool = False
    resumes: bool = True
    processes: int = 1


def send(*numbers: int) -> Callable[..., None]:
    return lambda *_: [os.kill(os.getpid(), number) for number in numbers] and None


def full(place: Path, *_: Any) -> None:
    """From now on no file may be larger than 8 kB."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def readonly(place: Path, *_: Any) -> None:
    """From now on the checkpoints belong to somebody else.

    Root may write anywhere, so root becomes nobody.
    """
    os.chmod(place / "checkpoints", 0o555)
    if os.getuid() == 0:
        for path in [place, *(path for path in place.iterdir() if path.name != "checkpoints")]:
            os.chown(path, 65534, 65534)
        os.seteuid(65534)


def spoil(place: Path, batch: dict[str, torch.Tensor], network: Any) -> None:
    batch["image"][0, 0, 3, 3] = float("nan")


def overflow(place: Path, batch: dict[str, torch.Tensor], network: Any) -> None:
    network.head.weight.data.fill_(3e38)


SIGNALS = {
    "SIGTERM": Way(
        send(signal.SIGTERM), 143, r"stopped by SIGTERM\nsaved \S+last.ckpt", saved=True
    ),
    "SIGHUP": Way(send(signal.SIGHUP), 129, r"stopped by SIGHUP\nsaved \S+last.ckpt", saved=True),
    "SIGINT": Way(send(signal.SIGINT), 130, r"stopped by Ctrl-C\nsaved \S+last.ckpt", saved=True),
    "SIGINT twice": Way(send(signal.SIGINT, signal.SIGINT), 130, "stopped by Ctrl-C"),
    "SIGUSR1": Way(send(signal.SIGUSR1), 0, r"SIGUSR1: saved last.ckpt at step \d+, continuing"),
}
WAYS = {
    **SIGNALS,
    "not a number": Way(
        spoil,
        1,
        r"not a number in epoch \d, step \d+.*\n +where +first in the output of patch.project",
    ),
    "infinite": Way(
        overflow,
        1,
        r"infinite or not a number in epoch \d, step \d+.*\n +where +first in the output of head",
    ),
    "no memory": Way(
        lambda *_: torch.empty(1 << 50), 1, r"out of memory: .*\n +fix +half of data.batch_size"
    ),
    "no memory, Python": Way(
        lambda *_: bytearray(1 << 60), 1, r"out of memory: .*\n +fix +half of data.batch_size"
    ),
    "disk full": Way(full, 1, r"the checkpoint \S+ could not be saved: File too large"),
    "read-only": Way(readonly, 1, r"the checkpoint \S+ could not be saved: Permission denied"),
    "removed": Way(
        lambda place, *_: shutil.rmtree(place / "checkpoints"),
        1,
        r"the checkpoint \S+ could not be saved: No such file or directory",
        resumes=False,
    ),
    "SIGTERM to one of two": Way(
        send(signal.SIGTERM),
        143,
        r"stopped by SIGTERM\nsaved \S+last.ckpt",
        saved=True,
        processes=2,
    ),
    "disk full for one of two": Way(
        full, 1, r"the checkpoint \S+ could not be saved: File too large", processes=2
    ),
    "not a number in one of two": Way(spoil, 1, r"not a number in epoch \d, step \d+", processes=2),
}
TWO = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "trainer.precision=32-true"]


def front_door(place: Path, overrides: list[str]) -> int:
    """What `python train.py` does, in this process."""
    here = f"resume='{place}'" if (place / "run.json").is_file() else f"hydra.run.dir='{place}'"
    sys.argv = ["train.py", *([here] if here.startswith("resume") else [*overrides, here])]
    try:
        train.main()
    except SystemExit as error:
        return int(error.code or 0)
    return 0


def at(number: int, way: Way, place: Path) -> None:
    """Let it happen in the batch of that number."""
    counted = itertools.count()

    def on_train_batch_start(
        self: Any, trainer: pl.Trainer, module: pl.LightningModule, batch: Any, *rest: Any
    ) -> None:
        if next(counted) == number:
            way.act(place, batch, getattr(module, "network", None))

    Checkpoint.on_train_batch_start = on_train_batch_start  # type: ignore[method-assign]
    stock.Digits.on_train_batch_start = lambda module, batch, index: on_train_batch_start(  # type: ignore[method-assign]
        None, module.trainer, module, batch
    )


def attempt(
    name: str, way: Way, number: int, folder: Path, learn: Any, more: list[str]
) -> list[str]:
    """Let a run end in one way, resume it, and say what was not as it should be."""
    place = folder / f"{name.replace(' ', '-').replace(',', '')}-{number}"
    place.mkdir()
    change = lambda: at(number, way, place)  # noqa: E731
    words = [*WORDS, *(TWO if way.processes > 1 else []), *more]
    process = forked.begin(place, words, processes=way.processes, change=change, learn=learn)
    status, wrong = forked.wait(process, 120), []
    if not forked.gone(process):
        wrong.append("a process is left")
        forked.kill(process)
    told = (place / "output.txt").read_text(encoding="utf-8")
    if status != way.status:
        wrong.append(f"status {status}")
    if not re.search(way.says, told):
        wrong.append("not told")
    if "Traceback" in told:
        wrong.append("a traceback")
    if not way.resumes or status == 0:
        return wrong
    os.chmod(place / "checkpoints", 0o755) if (place / "checkpoints").is_dir() else None
    if not any((place / "checkpoints").glob("*.ckpt")):
        return [*wrong, *(["nothing saved"] if way.saved or number > BATCHES[0] else [])]
    status = forked.wait(forked.begin(place, words, processes=way.processes, learn=learn), 120)
    result = Result(status=status)
    compare(folder / f"whole-{way.processes}", place, result)
    if status != 0 or result.unequal or not result.rows:
        wrong.append(
            f"resumed: status {status}, {result.unequal} tensors differ, rows {result.rows}"
        )
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=[*WAYS])
    parser.add_argument("--stock", action="store_true", help="signals for Lightning's own means")
    parser.add_argument("--add", nargs="+", default=[], help="more overrides for every run")
    asked = parser.parse_args()
    learn = stock.learn if asked.stock else front_door
    ways = {name: SIGNALS[name] for name in ("SIGTERM", "SIGINT")} if asked.stock else WAYS
    bad = 0
    with tempfile.TemporaryDirectory(prefix="ends-") as made:
        folder = Path(made)
        folder.chmod(0o755)
        if asked.only:
            ways = {asked.only: ways[asked.only]}
        for processes in sorted({way.processes for way in ways.values()}):
            whole, words = (
                folder / f"whole-{processes}",
                [*WORDS, *(TWO if processes > 1 else []), *asked.add],
            )
            status = forked.wait(forked.begin(whole, words, processes=processes, learn=learn), 120)
            assert status == 0, (whole / "output.txt").read_text(encoding="utf-8")[-3000:]
        for name, way in ways.items():
            found = [attempt(name, way, number, folder, learn, asked.add) for number in BATCHES]
            bad += sum(map(bool, found))
            faults = "; ".join(dict.fromkeys(text for each in found for text in each))
            print(
                f"{name:26} {len(found):3} runs, {found.count([]):3} as expected  {faults}",
                flush=True,
            )
        with contextlib.suppress(OSError):
            folder.chmod(0o700)
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
