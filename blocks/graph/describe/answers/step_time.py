"""How long a training takes on the CPU of this machine: an estimate from its ceiling."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

import torch

from blocks.graph.describe.answers.ceiling import Ceiling
from blocks.graph.describe.cost import Cost
from blocks.graph.describe.memory_budget import Setting
from blocks.support.text_table import align_columns

# A product and the two of its backward pass, each multiply-add two operations.
OPERATIONS = 6
# What is kept for the backward pass is written and read, and so is its gradient.
TRANSFERS = 4
# Of each weight: the gradient is written; gradient, weight and states are read, the latter two
# written.
WEIGHTS = 4


@dataclass(frozen=True)
class StepTime:
    """Seconds of a training step.

    Args:
        products: of matrix products and convolutions at the speed of the ceiling.
        memory: of reading and writing activations, at the bandwidth of the ceiling.
        optimizer: of reading and writing weights, gradients and states.
        batch: samples of a step.
    """

    products: float
    memory: float
    optimizer: float
    batch: int

    @property
    def seconds(self) -> float:
        return self.products + self.memory + self.optimizer


def estimate_step(cost: Cost, parameters: int, setting: Setting, ceiling: Ceiling) -> StepTime:
    """Return the time of a step, as if products and transfers never overlapped.

    Args:
        cost: of one sample, in float32.
        parameters: of the network.
        setting: of the training, on one device.
        ceiling: of the machine.
    """
    speed, size = ceiling.float32, 1.0
    if setting.computes != torch.float32:
        speed, size = ceiling.bfloat16, setting.computes.itemsize / 4
    moved = (WEIGHTS + 2 * setting.states) * setting.keeps.itemsize * parameters
    return StepTime(
        products=OPERATIONS * cost.macs * setting.batch / speed,
        memory=TRANSFERS * cost.memory * size * setting.batch / ceiling.memory,
        optimizer=moved / ceiling.memory,
        batch=setting.batch,
    )


def count_steps(samples: int, batch: int, trainer: Mapping[str, Any]) -> int | None:
    """Return the steps of a whole training; None where it has no end that is known."""
    epochs, most = trainer.get("max_epochs"), trainer.get("max_steps", -1)
    found = []
    if isinstance(epochs, int) and epochs > 0:
        found.append(epochs * ceil(samples / batch))
    if isinstance(most, int) and most > 0:
        found.append(most)
    return min(found, default=None)


def describe_time(time: StepTime, steps: int | None) -> dict[str, Any]:
    """Return the answer for programs."""
    whole = None if steps is None else steps * time.seconds
    return {
        "products": time.products,
        "memory": time.memory,
        "optimizer": time.optimizer,
        "step": time.seconds,
        "steps": steps,
        "training": whole,
    }


def show_time(time: StepTime, steps: int | None, ceiling: Ceiling) -> str:
    """Return the answer as a table."""
    rows = [
        ("products", _milliseconds(time.products), "of matrices, forward and backward"),
        ("memory", _milliseconds(time.memory), "activations and their gradients"),
        ("optimizer", _milliseconds(time.optimizer), "weights, gradients and states"),
        ("step", _milliseconds(time.seconds), f"of {time.batch} samples, about"),
    ]
    lines = align_columns(rows, left=(0, 2))
    if steps is not None:
        hours = steps * time.seconds / 3600
        lines.append(f"training: {steps:,} steps, {hours:.2g} hours without validation")
    lines.append(f"this machine: {ceiling} (--measure measures again)")
    return "\n".join(lines)


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:,.1f} ms"
