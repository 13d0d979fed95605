"""What stands around the steps: building a model, importing, starting a run, reading data, and the
loop itself.
"""

import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from bench import table
from bench.measure import interleave

ROOT = Path(__file__).resolve().parents[2]
DEEP = [
    "params.dim=384",
    "params.depth=48",
    "params.heads=6",
    "params.vocab=1000",
    "params.length=128",
]
IMPORTS = "import torch, pytorch_lightning"
QUESTIONS = (
    "explain model=vit",
    "check model=vit",
    "diff model=vit model=swin",
    "explain model=transformer data=phrases",
    "check model=gpt data=text",
)


def process(*command: str) -> float:
    """Seconds of processor time of a new process, its own and its children's."""
    import resource

    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def building() -> list[dict[str, Any]]:
    """A GPT of 48 layers, ours and that of transformers, without the time to import either."""
    from transformers import GPT2Config, GPT2LMHeadModel

    from blocks.graph import build

    config = GPT2Config(
        n_embd=384,
        n_layer=48,
        n_head=6,
        vocab_size=1000,
        n_positions=128,
        bos_token_id=0,
        eos_token_id=0,
    )
    steps: dict[str, Callable[[], object]] = {
        "dougong": lambda: build("gpt2", DEEP, {}),
        "dougong, without memory for weights": lambda: build("gpt2", DEEP, {}, device="meta"),
        "transformers": lambda: GPT2LMHeadModel(config),
    }
    times = interleave(steps, 5, warm=1)
    return [
        {"what": f"48 layers: {name}", "seconds": statistics.median(times.processor[name])}
        for name in steps
    ]


def starting(rounds: int) -> list[dict[str, Any]]:
    """From the command to the first step of training, against the import of torch and Lightning
    alone.
    """
    with tempfile.TemporaryDirectory() as folder:
        words = ["trainer=debug", "+trainer.fast_dev_run=true", f"runs={folder}"]
        commands = {
            "import torch, pytorch_lightning": (sys.executable, "-c", IMPORTS),
            "train.py, to its first step": (sys.executable, "-m", "bench.start.first_step", *words),
        }
        steps = {
            name: lambda command=command: process(*command) for name, command in commands.items()
        }
        found: dict[str, list[float]] = {name: [] for name in steps}
        for _ in range(rounds):
            for name, step in steps.items():
                found[name].append(step())
    return [{"what": name, "seconds": statistics.median(values)} for name, values in found.items()]


def asking(rounds: int) -> list[dict[str, Any]]:
    """Questions about a model against the import of torch alone, each beside it in time."""
    commands: dict[str, tuple[str, ...]] = {"import torch": (sys.executable, "-c", "import torch")}
    for line in QUESTIONS:
        command, *words = line.split()
        commands[line] = (sys.executable, "-m", "blocks", command, "--no-server", *words)
    rows = [{name: process(*command) for name, command in commands.items()} for _ in range(rounds)]
    return [
        {"what": name, "seconds": statistics.median(row[name] for row in rows)} for name in commands
    ]


def loading() -> list[dict[str, Any]]:
    """Batches of the digits: our loader against torch's over the same tensors."""
    from torch.utils.data import DataLoader, TensorDataset

    from tasks.data.images.digits import Digits

    data = Digits(batch_size=64)
    data.read()
    ours = data.train_dataloader()
    first = next(iter(ours))
    count = data.sizes()["train"]
    tensors = [value[:1].expand(count, *value.shape[1:]).contiguous() for value in first.values()]
    theirs = DataLoader(TensorDataset(*tensors), batch_size=64, shuffle=True)
    times = interleave({"dougong": lambda: list(ours), "torch DataLoader": lambda: list(theirs)}, 9)
    return [
        {
            "what": f"reading {count:,} digits: {name}",
            "seconds": statistics.median(times.processor[name]),
        }
        for name in times.processor
    ]


def started(rounds: int) -> list[dict[str, Any]]:
    """All of it, as a table of processor time."""
    torch.manual_seed(0)
    results = [*building(), *loading(), *asking(rounds), *starting(min(rounds, 5))]
    rows = [[str(each["what"]), f"{float(each['seconds']):.3f} s"] for each in results]
    print(table.table(("", "processor time"), rows))
    return results
