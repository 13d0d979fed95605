"""Runs in processes of their own without the eight seconds that importing torch and Lightning
takes.

The parent imports everything and computes nothing; each run is a fork of it, with the same front
half as `train.py`: compose, record, train. A fork can be killed at any moment like any other
process.
"""

import contextlib
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

import babel.dates  # noqa: F401 - what a run imports late is imported before the first fork
import sklearn.datasets  # noqa: F401
import torch

from blocks.graph import compose, read_whole
from tasks.process.parent import die_with_parent
from tasks.process.signals import Interrupted
from tasks.resume import adopt
from tasks.run import run_folder, train

torch.set_num_threads(1)
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = (
    "1"  # whether there is a GPU is asked without starting CUDA
)


def begin(
    place: Path,
    overrides: Sequence[str],
    *,
    processes: int = 1,
    change: Callable[[], None] | None = None,
    changed: int = 0,
    learn: Callable[[Path, list[str]], int] | None = None,
) -> int:
    """Start a run, or go on with the one in `place` if it has a checkpoint; returns the process id.

    Args:
        processes: ranks of one run, found as `torchrun` would tell them; all are of one process
            group.
        change: called in the new process before the run, to break something.
        changed: the rank in which it is called.
        learn: what to run instead of Dougong.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    number = os.fork()
    if number:
        with contextlib.suppress(OSError):
            os.setpgid(number, number)
        return number
    status = 1
    try:
        with contextlib.suppress(OSError):
            os.setpgid(0, 0)
        place.mkdir(parents=True, exist_ok=True)
        log = os.open(place / "output.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        rank = several(processes) if processes > 1 else 0
        if change is not None and rank == changed:
            change()
        status = (learn or dougong)(place, list(overrides))
    except Interrupted as stopped:
        status = stopped.status
    except SystemExit as left:
        status = left.code if isinstance(left.code, int) else int(left.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def several(processes: int) -> int:
    """Fork the other ranks; returns the rank of this process."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    rank = next((number for number in range(1, processes) if os.fork() == 0), 0)
    if rank:
        die_with_parent()
    known = {
        "RANK": rank,
        "LOCAL_RANK": rank,
        "GROUP_RANK": 0,
        "WORLD_SIZE": processes,
        "LOCAL_WORLD_SIZE": processes,
    }
    os.environ |= {name: str(value) for name, value in known.items()}
    os.environ |= {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "TORCHELASTIC_RUN_ID": "trust",
    }
    return rank


def dougong(place: Path, overrides: list[str]) -> int:
    """What `train.py` does with its command line, in this process."""
    if any((place / "checkpoints").glob("*.ckpt")) and not any(
        word.startswith("resume=") for word in overrides
    ):
        overrides = [f"resume='{place}'", *overrides]
    composed = compose(overrides, adopted=adopt.read_overrides(overrides))
    known = run_folder.describe_start(composed.config, adopt.run_overrides(overrides), place)
    quiet = os.environ.get("LOCAL_RANK", "0") != "0"
    record = run_folder.Record(
        place, quiet=quiet, resumed=(place / run_folder.RECORD).is_file(), **known
    )
    train.train(composed, place, record)
    return 0


def wait(number: int, seconds: float | None = None) -> int | None:
    """The exit status of a process, negative for a signal; None if it is not over after so many
    seconds.
    """
    end = None if seconds is None else time.monotonic() + seconds
    while True:
        found, status = os.waitpid(number, os.WNOHANG if end is not None else 0)
        if found:
            return os.waitstatus_to_exitcode(status)
        if end is not None and time.monotonic() > end:
            return None
        time.sleep(0.002)


def kill(number: int, how: int = signal.SIGKILL) -> None:
    """Send a signal to a run and all processes it has started."""
    try:
        os.killpg(number, how)
    except ProcessLookupError:
        os.kill(number, how)


def gone(number: int, seconds: float = 30) -> bool:
    """Whether all processes of a run have ended, at the latest after so many seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not any(alive(path, number) for path in Path("/proc").glob("[0-9]*/stat")):
            return True
        time.sleep(0.05)
    return False


def alive(path: Path, group: int) -> bool:
    """Whether a process, by its file in /proc, is of a group and not only waiting to be counted as
    dead.
    """
    try:
        state, _, found = path.read_text(encoding="utf-8").rpartition(")")[2].split()[:3]
    except OSError:
        return False
    return state != "Z" and int(found) == group


def weights(path: Path) -> dict[str, torch.Tensor]:
    """Every tensor of a checkpoint, of the network and the optimiser, by name."""
    content = read_whole(path)
    found = dict(content["state_dict"])
    for group, states in enumerate(content["optimizer_states"]):
        for index, entries in states["state"].items():
            found |= {
                f"optimizer.{group}.{index}.{name}": torch.as_tensor(value)
                for name, value in entries.items()
            }
    return found


def unequal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> list[str]:
    """Names of tensors that differ in any bit."""
    names = [name for name in one if name not in other or not one[name].equal(other[name])]
    return names + [name for name in other if name not in one]
