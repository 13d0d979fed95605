"""Training on several processes beside training on one, over gloo on the processor: the same
losses, the same weights.

python -m tests.trust.parallel              a small ViT and a small Llama: fsdp, tensor_parallel,
both, and with repeats
                                            computed anew; each beside one process with the same
                                            batches
python -m tests.trust.parallel --quick      ViT with fsdp and tensor_parallel alone

Tolerance: losses, written with six digits, differ by less than 1e-4, weights by less than 1e-3
after 12 steps of AdamW, which divides by the size of a gradient and so makes a rounding error of a
small one as large as a step.
"""

import argparse
import csv
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch

from tasks.resume.checkpoint_file import load_checkpoint

ROOT = Path(__file__).resolve().parents[2]
LOSS, WEIGHT = 1e-4, 1e-3
SHORT = [
    "trainer.accelerator=cpu",
    "trainer.precision=32-true",
    "trainer.max_epochs=3",
    "trainer.deterministic=true",
    "trainer.limit_train_batches=4",
    "trainer.limit_val_batches=2",
    "trainer.limit_test_batches=2",
]
VIT = [
    "model.params.depth=2",
    "data.shift=0",
    "data.rotate=0",
    "data.scale=0",
]  # moved images depend on the process
LLAMA = [
    "model=llama",
    "data=topics",
    "task=language",
    "model.params.dim=32",
    "model.params.heads=4",
    "model.params.depth=2",
    "model.params.hidden=88",
]


@dataclass(frozen=True)
class Case:
    """One way to train: its words, and among how many groups of processes a batch of 16 is
    shared.
    """

    name: str
    words: tuple[str, ...]
    groups: int


CASES = [
    Case("fsdp, 2 processes", ("trainer=fsdp", "trainer.devices=2"), 2),
    Case("tensor_parallel, 2 processes", ("trainer=tensor_parallel", "trainer.devices=2"), 1),
    Case(
        "both, 2 x 2 processes",
        ("trainer=fsdp", "trainer.devices=4", "trainer.tensor_parallel_size=2"),
        2,
    ),
    Case(
        "fsdp, repeats anew",
        ("trainer=fsdp", "trainer.devices=2", "trainer.checkpoint_activations=true"),
        2,
    ),
]


def run(folder: Path, *words: str) -> None:
    """Train into a folder; raises RuntimeError with what the program said."""
    command = [sys.executable, str(ROOT / "train.py"), *words, f"hydra.run.dir={folder.name}"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command,
        cwd=folder.parent,
        env=environment,
        encoding="utf-8",
        capture_output=True,
        timeout=600,
    )
    if done.returncode:
        raise RuntimeError(f"status {done.returncode}: {' '.join(command)}\n{done.stderr[-3000:]}")


def losses(folder: Path) -> list[float]:
    """Training and validation loss of every epoch."""
    with (folder / "metrics.csv").open(newline="", encoding="utf-8") as file:
        return [
            float(row[name])
            for row in csv.DictReader(file)
            for name in ("train/loss", "val/loss")
            if row.get(name)
        ]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """The weights after the last step, as the checkpoint has them."""
    return load_checkpoint(folder / "checkpoints" / "last.ckpt")["state_dict"]


def apart(one: Path, many: Path) -> tuple[float, float]:
    """How far two runs lie apart at most: in losses, in weights."""
    a, b = weights(one), weights(many)
    assert a.keys() == b.keys()
    pairs = zip(losses(one), losses(many), strict=True)
    return max(abs(x - y) for x, y in pairs), max(
        float((a[name] - b[name]).abs().max()) for name in a
    )


def compare(place: Path, model: list[str], cases: list[Case], name: str) -> bool:
    """Train as each case says and on one process; tell how far apart they are."""
    run(place / f"{name}-one", *SHORT, *model, "trainer=cpu", "data.batch_size=16")
    good = True
    for number, case in enumerate(cases):
        folder = place / f"{name}-{number}"
        run(folder, *SHORT, *model, *case.words, f"data.batch_size={16 // case.groups}")
        loss, weight = apart(place / f"{name}-one", folder)
        good &= loss < LOSS and weight < WEIGHT
        print(
            f"{name}, {case.name}: losses differ by {loss:.1e}, weights by {weight:.1e}", flush=True
        )
    return good


def main() -> int:
    parser = argparse.ArgumentParser(description="Several processes beside one.")
    parser.add_argument("--quick", action="store_true", help="two cases of one model")
    quick = parser.parse_args().quick
    with tempfile.TemporaryDirectory() as place:
        good = compare(Path(place), VIT, CASES[:2] if quick else CASES, "vit")
        good &= quick or compare(Path(place), LLAMA, CASES, "llama")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
