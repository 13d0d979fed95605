"""From the command to the first step on a GPU, in turn with the same imports and a step by hand.

python -m bench.gpu.start [--rounds N]
"""

import argparse
import subprocess
import sys
import tempfile

from bench import table
from bench.gpu.device import DEVICE, HAS_GPU
from bench.measure import interleave
from bench.start.around import ROOT

# What `train.py` imports, the context of the GPU, its kernels for a product and for fused AdamW.
BY_HAND = f"""
import gc; gc.disable()
import hydra, omegaconf, pytorch_lightning, torch, torchmetrics
layer = torch.nn.Linear(64, 64).to({DEVICE!r})
optimizer = torch.optim.AdamW(layer.parameters(), fused=True)
with torch.autocast({DEVICE!r}, torch.bfloat16):
    loss = layer(torch.randn(64, 64, device={DEVICE!r})).square().mean()
loss.backward(); optimizer.step(); loss.item()
"""


def run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", cwd=ROOT)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)


def main() -> None:
    parser = argparse.ArgumentParser("python -m bench.gpu.start", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="how often each is asked (5)")
    given = parser.parse_args()
    trainer = "gpu" if HAS_GPU else "cpu"
    with tempfile.TemporaryDirectory() as folder:
        words = [f"trainer={trainer}", f"runs={folder}", "callbacks.progress.style=none"]
        commands = {
            "imports and a step by hand": [sys.executable, "-c", BY_HAND],
            "train.py, to its first step": [sys.executable, "-m", "bench.start.first_step", *words],
        }
        steps = {name: lambda command=command: run(command) for name, command in commands.items()}
        times = interleave(steps, given.rounds, warm=1)
    first, second = commands
    rows = [[name, f"{times.median(name):.2f} s"] for name in commands]
    differences = sorted(
        b - a for a, b in zip(times.clock[first], times.clock[second], strict=True)
    )
    middle = differences[len(differences) // 2]
    rows.append(["difference", f"{middle:.2f} s [{differences[0]:.2f} to {differences[-1]:.2f}]"])
    print(table.table(("", "by the clock"), rows))


if __name__ == "__main__":
    main()
