"""Sweeps whose jobs fail in eight ways: the others finish, and a second run does only what is
missing.

python -m tests.trust.sweeps                             20 jobs, one at a time and two at a time
python -m tests.trust.sweeps --launcher submitit_local   the same through submitit; ray, through Ray
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SMALL = ["trainer=debug", "model.params.depth=1", "model.params.dim=16", "model.params.heads=2"]
# A block that fails in training, in the way it is told, while a file of that name lies beside the
# program.
BLOCK = """
import ctypes, os, pathlib, signal, sys

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Fragile(nn.Module):
    def __init__(self, way: str):
        super().__init__()
        self.way = way

    def forward(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch ..."]:
        if not (self.training and pathlib.Path(self.way).exists()):
            return x
        return getattr(self, self.way)(x)

    def error(self, x):
        raise ZeroDivisionError("as told")

    def leave(self, x):
        sys.exit(0)

    def leave_at_once(self, x):
        os._exit(0)

    def terminated(self, x):
        os.kill(os.getpid(), signal.SIGTERM)
        return x

    def killed(self, x):
        os.kill(os.getpid(), signal.SIGKILL)

    def segfault(self, x):
        ctypes.string_at(0)

    def memory(self, x):
        return x + torch.empty(1 << 60)

    def not_a_number(self, x):  # `nan` alone would be a number to Hydra, and no text
        return x * float("nan")
"""
WAYS = (
    "error",
    "leave",
    "leave_at_once",
    "terminated",
    "killed",
    "segfault",
    "memory",
    "not_a_number",
)


def sweep(folder: Path, ways: list[str], seeds: int, *words: str) -> subprocess.CompletedProcess:
    """Run `train.py -m` over ways and seeds."""
    (folder / "fragile.py").write_text(BLOCK, encoding="utf-8")
    command = [
        sys.executable,
        str(ROOT / "train.py"),
        "-m",
        *SMALL,
        f"library=[{folder / 'fragile.py'}]",
        f"seed={','.join(map(str, range(seeds)))}",
        "+model.graph.fragile.block=Fragile",
        "+model.graph.fragile.after=position",
        "+model.graph.fragile.way=" + ",".join(ways),
        *words,
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, cwd=folder, env=environment, encoding="utf-8", capture_output=True, timeout=900
    )


def states(folder: Path) -> dict[tuple[str, str], str]:
    """(way, seed) -> how it ended, from the table of the sweep."""
    (table,) = folder.rglob("sweep.csv")
    with table.open(newline="", encoding="utf-8") as file:
        return {
            (row["model.graph.fragile.way"], row["seed"]): row["status"]
            for row in csv.DictReader(file)
        }


def started(folder: Path) -> dict[str, str]:
    """folder -> when its run started."""
    return {
        path.parent.name: json.loads(path.read_text(encoding="utf-8"))["started"]
        for path in folder.rglob("*/run.json")
    }


def attempt(folder: Path, ways: list[str], seeds: int, *words: str) -> dict[str, Any]:
    """A sweep in which all ways but "fine" fail, and the same command again when the cause is
    gone.
    """
    for way in ways:
        if not way.startswith("fine"):
            (folder / way).touch()
    first = sweep(folder, ways, seeds, *words)
    found = states(folder)
    before = started(folder)
    for way in ways:
        (folder / way).unlink(missing_ok=True)
    second = sweep(folder, ways, seeds, *words, "resume=true")
    after = started(folder)
    again = {name for name in after if after[name] != before.get(name)}
    fine = [key for key, state in found.items() if state == "finished"]
    return {
        "jobs": len(found),
        "finished": len(fine),
        "failed": sum(state in ("failed", "died") for state in found.values()),
        "wrongly ended": sum(
            key[0].startswith("fine") != (state == "finished") for key, state in found.items()
        ),
        "status": first.returncode,
        "run again": len(again),
        "finished then": sum(state == "finished" for state in states(folder).values()),
        "status then": second.returncode,
        "never finished": sorted(
            {key[0] for key, state in states(folder).items() if state != "finished"}
        ),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="Sweeps whose jobs fail.")
    parser.add_argument("--launcher", default="processes", help="a file of conf/hydra/launcher")
    parser.add_argument(
        "--jobs", type=int, nargs="*", default=[1, 2], help="how many at once, one sweep each"
    )
    chosen = parser.parse_args()
    good = True
    for jobs in chosen.jobs:
        with tempfile.TemporaryDirectory() as place:
            ways = [*WAYS, "fine", "fine_too"]
            words = (f"hydra/launcher={chosen.launcher}", f"hydra.launcher.n_jobs={jobs}")
            found = attempt(Path(place), ways, 2, *words)
        print(
            ", ".join([*words, *(f"{name} {value}" for name, value in found.items())]), flush=True
        )
        good &= found["wrongly ended"] == 0 and found["finished then"] == found["jobs"]
        good &= (
            found["run again"] == found["failed"]
            and found["status"] == 1
            and found["status then"] == 0
        )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
