"""Harm checkpoints and the places where they are saved, and see what is noticed and what survives.

    python -m tests.trust.damage                 all of it
    python -m tests.trust.damage --only flipped  truncated, flipped, full, readonly, killed, tmpdir,
    removed

Each line says how many cases there were, and in how many of them all was well:

truncated   a checkpoint cut off at a random length is named as damaged, never loaded
flipped     the same for one bit that has changed, anywhere in the file
full        a save to a disk without room (a small tmpfs where that is allowed, else a limit on the
size of files)
            raises an error, and the checkpoint before it is intact
readonly    the same for a folder that may not be written to (without root's rights)
removed     the same for a folder that is gone
killed      a save that is killed at a random moment leaves the old or the new checkpoint, whole
tmpdir      temporary files elsewhere, in a place without room, do not matter
"""

import argparse
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from tasks.errors import ArgumentError
from tasks.resume import checkpoint_file

STOCK = "--stock" in sys.argv


def write(content: dict[str, Any], path: Path) -> None:
    """Save as Dougong does, or as Lightning does."""
    if STOCK:
        from pytorch_lightning.plugins.io import TorchCheckpointIO

        TorchCheckpointIO().save_checkpoint(content, str(path))
    else:
        checkpoint_file.save_checkpoint(content, path)


def read(path: Path) -> dict[str, Any]:
    return torch.load(path, weights_only=True) if STOCK else checkpoint_file.load_checkpoint(path)


def content(value: float, size: int = 20_000) -> dict[str, Any]:
    """Something like a checkpoint: many tensors, the same number everywhere, so that a mixture of
    two shows.
    """
    tensors = {f"layer.{number}": torch.full((size,), float(value)) for number in range(20)}
    return {"state_dict": tensors, "epoch": int(value)}


def whole(path: Path) -> float | None:
    """The number that a checkpoint was made with; None where it cannot be read or is a mixture."""
    try:
        found = read(path)
    except (ArgumentError, OSError, RuntimeError, EOFError, ValueError):
        return None
    except Exception:  # the unpickler of a stock file raises what the damage happens to hit
        return None
    values = {
        float(number)
        for tensor in found["state_dict"].values()
        for number in (tensor.min(), tensor.max())
    }
    return values.pop() if len(values) == 1 else None


def truncated(folder: Path, source: random.Random) -> Iterator[bool]:
    path, cut = folder / "whole.ckpt", folder / "cut.ckpt"
    write(content(1, 500), path)
    data = path.read_bytes()
    for _ in range(100):
        cut.write_bytes(data[: source.randrange(len(data))])
        yield refused(cut)


def flipped(folder: Path, source: random.Random) -> Iterator[bool]:
    path, bad = folder / "whole.ckpt", folder / "bad.ckpt"
    write(content(1, 500), path)
    data = bytearray(path.read_bytes())
    for _ in range(100):
        place, bit = source.randrange(len(data)), 1 << source.randrange(8)
        data[place] ^= bit
        bad.write_bytes(data)
        data[place] ^= bit
        yield refused(bad)


def refused(path: Path) -> bool:
    """Whether a file is not loaded, and the error names it."""
    try:
        read(path)
    except ArgumentError as error:
        return str(path) in str(error)
    except Exception:  # a stock file: refused, whatever the words
        return STOCK
    return False


def survives(folder: Path, save: Callable[[Path], None]) -> bool:
    """Whether a save that cannot succeed raises, and the checkpoint before it is still there."""
    path = folder / "last.ckpt"
    try:
        save(path)
    except (checkpoint_file.SaveError, OSError, RuntimeError):
        return whole(path) == 1
    return False


def full(folder: Path, source: random.Random) -> Iterator[bool]:
    small = folder / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "none", str(small)], capture_output=True
    )
    try:
        for _ in range(10):
            for old in small.iterdir():
                old.unlink()
            write(
                content(1), small / "last.ckpt"
            )  # 1.6 MB: there is no room for a second one of this size
            size = source.randrange(20_000, 60_000)
            if mounted.returncode == 0:
                yield survives(small, lambda path, size=size: write(content(2, size), path))
            else:
                yield survives(small, lambda path, size=size: limited(content(2, size), path))
    finally:
        if mounted.returncode == 0:
            subprocess.run(["umount", str(small)], check=True)


def limited(made: dict[str, Any], path: Path) -> None:
    """Save where no file may be larger than 1 MB."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))
    try:
        write(made, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, old)


def readonly(folder: Path, source: random.Random) -> Iterator[bool]:
    """Root may write anywhere, so this is done as somebody else where we are root."""
    place = folder / "readonly"
    place.mkdir()
    write(content(1), place / "last.ckpt")
    (place / "last.ckpt").chmod(0o644)
    for parent in (folder, *folder.parents):
        if parent.stat().st_uid == os.getuid() and parent != parent.parent:
            parent.chmod(parent.stat().st_mode | 0o055)
    place.chmod(0o555)
    for _ in range(3):
        number = os.fork()
        if number == 0:
            os.seteuid(65534) if os.getuid() == 0 else None
            os._exit(0 if survives(place, lambda path: write(content(2), path)) else 1)
        yield os.waitstatus_to_exitcode(os.waitpid(number, 0)[1]) == 0
    place.chmod(0o755)


def removed(folder: Path, source: random.Random) -> Iterator[bool]:
    for number in range(3):
        place = folder / f"removed{number}"
        place.mkdir()
        write(content(1), place / "last.ckpt")
        shutil.rmtree(place)
        try:
            write(content(2), place / "last.ckpt")
        except (checkpoint_file.SaveError, OSError, RuntimeError):
            yield True
        else:
            yield False


def killed(folder: Path, source: random.Random) -> Iterator[bool]:
    path = folder / "last.ckpt"
    write(content(1), path)
    began = time.monotonic()
    write(content(1), path)
    usual = time.monotonic() - began
    for value in range(2, 42):
        number = os.fork()
        if number == 0:
            while True:
                write(content(value), path)
        time.sleep(source.uniform(0, 3) * usual)
        os.kill(number, signal.SIGKILL)
        os.waitpid(number, 0)
        found = whole(path)
        yield found is not None and found <= value
        if found is None:
            write(content(value), path)


def tmpdir(folder: Path, source: random.Random) -> Iterator[bool]:
    before = os.environ.get("TMPDIR")
    os.environ["TMPDIR"] = tempfile.tempdir = "/dev/full"
    try:
        for value in range(3):
            write(content(value), folder / "last.ckpt")
            yield whole(folder / "last.ckpt") == value
    except OSError:
        yield False
    finally:
        tempfile.tempdir = None
        os.environ.pop("TMPDIR")
        if before:
            os.environ["TMPDIR"] = before


KINDS = (truncated, flipped, full, readonly, removed, killed, tmpdir)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=[kind.__name__ for kind in KINDS])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--stock", action="store_true", help="Lightning's own files instead of Dougong's"
    )
    asked = parser.parse_args()
    bad = 0
    for kind in KINDS:
        if asked.only in (None, kind.__name__):
            with tempfile.TemporaryDirectory(prefix="damage-") as folder:
                found = list(kind(Path(folder), random.Random(asked.seed)))
            bad += found.count(False)
            print(
                f"{kind.__name__:10} {len(found):4} cases, {found.count(True):4} well", flush=True
            )
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
