"""All figures of a GPU by one command: correctness first, then speed and memory.

python -m bench.gpu                              all parts
python -m bench.gpu --parts tests steps          some of them: tests steps llama loop decode start
python -m bench.gpu --parts steps --words --only gpt2 --rounds 3    with words for the part

Without a GPU the same runs on the CPU, at small sizes and with fewer families, to show it works.

Each part is a process of its own, as each can be started alone; its output is also a file of the
folder. A part that fails, or outlasts its time, does not keep the others from running.
"""

import argparse
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from bench.gpu.device import HAS_GPU, name_device
from bench.gpu.steps import FAMILIES
from bench.start.around import ROOT

STEPS = ["bench.gpu.steps", "--rounds", "5" if HAS_GPU else "1"]
BESIDE = [name for name in FAMILIES if name != "llama"]  # it is too large to lie beside others
ONLY = BESIDE if HAS_GPU else ["encoder_decoder", "--peers", "torch.nn.Transformer"]
KIND = "compiled" if HAS_GPU else "eager"
# A step of about 50 ms on an H100: 64 images of 1,024 patches.
WIDE = ["data.size=64", "model.params.patch=2", "model.params.dim=384", "model.params.heads=6"]
LOOP = ["trainer=gpu", *WIDE, "model.params.depth=8"] if HAS_GPU else ["model.params.dim=32"]
DECODE = ["--device", "cuda", "--tokens", "128"] if HAS_GPU else ["--tokens", "8"]


@dataclass(frozen=True)
class Part:
    """A module that is run, its words, and the seconds that it may take."""

    words: list[str]
    seconds: int


PARTS = {
    "tests": Part(["pytest", "-m", "gpu", "-n", "4" if HAS_GPU else "1", "-rs"], 150),
    "steps": Part([*STEPS, "--only", *ONLY, "--infer", "--patience", "150"], 330),
    "llama": Part([*STEPS, "--only", "llama", "--kinds", KIND, "--patience", "100"], 140),
    "loop": Part(["bench.training.loop", "--rounds", "5", *LOOP], 90),
    "decode": Part(["bench.decode", "--batch", "1", "16", "--rounds", "3", *DECODE], 90),
    "start": Part(["bench.gpu.start", "--rounds", "3"], 90),
}


def run(name: str, part: Part, words: list[str], folder: Path) -> bool:
    """Run a part; return whether it ended well."""
    command = [sys.executable, "-W", "ignore", "-m", *part.words, *words]
    print(f"\n== {name}: python -m {' '.join([*part.words, *words])}", flush=True)
    begun = time.monotonic()
    with (folder / f"{name}.txt").open("w", encoding="utf-8") as file:
        process = subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT)
        try:
            status: int | str = process.wait(part.seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            status = f"not done after {part.seconds} s"
    print((folder / f"{name}.txt").read_text(encoding="utf-8"), end="")
    print(f"-- {name}: {time.monotonic() - begun:.0f} s, exit status {status}", flush=True)
    return status == 0


def main() -> None:
    parser = argparse.ArgumentParser(
        "python -m bench.gpu",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--parts", nargs="+", choices=PARTS, default=list(PARTS), help="these parts"
    )
    parser.add_argument(
        "--output", type=Path, default=Path("runs/bench_gpu"), help="a folder (runs/bench_gpu)"
    )
    parser.add_argument("--words", nargs=argparse.REMAINDER, default=[], help="words for each part")
    given = parser.parse_args()
    folder = given.output.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    print(
        f"{name_device()}, torch {torch.__version__}, Python {sys.version.split()[0]}", flush=True
    )
    failed = [name for name in given.parts if not run(name, PARTS[name], given.words, folder)]
    if failed:
        sys.exit(f"not done: {', '.join(failed)}")


if __name__ == "__main__":
    main()
