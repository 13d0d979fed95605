"""The peak memory of each process of a training whose weights are cut among processes.

python -m bench.parallel.memory                      four processes over gloo, a GPT of 100 million
python -m bench.parallel.memory --processes 2 trainer.tensor_parallel_size=2

The peaks are those of the resident memory: until the training begins, in a step, and in a
checkpoint. Freed memory goes back to the system at once, other than in a training on the CPU.
"""

import argparse
import ctypes
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback

from tasks.process import runtime

ROOT = Path(__file__).resolve().parents[2]
COLUMNS = ("network", "step", "checkpoint")
AT_ONCE = 1 << 17  # bytes; freed pieces of this size go back to the system
MODEL = [
    "model=gpt2",
    "data=topics",
    "task=language",
    "task.check_causal=false",
    "model.params.dim=768",
    "model.params.depth=14",
    "model.params.dropout=0",
]
SHORT = [
    "trainer.accelerator=cpu",
    "trainer.precision=32-true",
    "trainer.max_epochs=1",
    "trainer.limit_train_batches=1",
    "trainer.limit_val_batches=1",
    "trainer.limit_test_batches=1",
    "data.batch_size=1",
    "data.length=16",
    "callbacks.progress.style=none",
]


class Peak(Callback):
    """Prints the peak of the resident memory of its process, MB, at some moments."""

    def __init__(self) -> None:
        self.found: list[int] = []
        allocator = ctypes.CDLL(None)
        allocator.mallopt(runtime.MMAP_THRESHOLD, AT_ONCE)
        allocator.mallopt(runtime.TRIM_THRESHOLD, AT_ONCE)

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        self.found.append(peak())

    def on_train_batch_end(self, trainer: Any, *rest: Any) -> None:
        self.found.append(peak())

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self.found.append(peak())
        line = " ".join(map(str, self.found))
        Path(f"peak-{trainer.global_rank}").write_text(line, encoding="utf-8")


def peak() -> int:
    """Return the peak of the resident memory of this process since the last call, MB."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024


def main() -> None:
    parser = argparse.ArgumentParser(description="Peak memory of each process.")
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("words", nargs="*", help="further overrides")
    given = parser.parse_args()
    name = f"{Peak.__module__}.Peak".replace("__main__", "bench.parallel.memory")
    command = [sys.executable, str(ROOT / "train.py"), *MODEL, *SHORT, "trainer=fsdp"]
    command += [f"trainer.devices={given.processes}", *given.words, f"trust={name}"]
    command += [f"+callbacks.peak={{_target_: {name}}}", "hydra.run.dir=run"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    with tempfile.TemporaryDirectory() as place:
        done = subprocess.run(
            command, cwd=place, env=environment, encoding="utf-8", stdout=subprocess.PIPE
        )
        done.check_returncode()
        files = sorted(Path(place).glob("**/peak-*"))
        rows = [path.read_text(encoding="utf-8").split() for path in files]
    print(next(line for line in done.stdout.splitlines() if line.startswith("data ")))
    print("process", *(f"{name:>12}" for name in COLUMNS), " MB")
    for rank, row in enumerate(rows):
        print(f"{rank:>7}", *(f"{value:>12}" for value in row))


if __name__ == "__main__":
    main()
