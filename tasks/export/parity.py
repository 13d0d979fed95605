"""Compare what was written with the run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tasks.errors import ArgumentError
from tasks.run.load_run import Finished

Batch = dict[str, Tensor]
Network = Callable[[Batch], dict[str, Tensor]]

# relative to the largest output; float32 computed by another kernel differs by rounding
TOLERANCE = 1e-5


@dataclass(frozen=True)
class Parity:
    """How far what was written is from the run.

    Args:
        batches: sizes of the batches that were compared.
        source: where the samples came from.
        difference: the largest absolute difference of any output.
        scale: the largest output of the run, at least one.
    """

    batches: tuple[int, ...]
    source: str
    difference: float
    scale: float

    @property
    def is_close(self) -> bool:
        """Whether the difference is within the tolerance."""
        return self.difference <= TOLERANCE * self.scale

    def __str__(self) -> str:
        sizes = " and ".join(map(str, self.batches))
        largest = f"largest difference {self.difference:.1e} of {self.scale:.3g}"
        return f"{self.source}, batches of {sizes}: {largest}"


def check_parity(parity: Parity) -> None:
    """Raise an ArgumentError where the outputs differ by more than the tolerance."""
    if not parity.is_close:
        raise ArgumentError(
            "run", "what was written differs from the run", got=str(parity), fits=f"{TOLERANCE:.0e}"
        )


@torch.no_grad()
def compare_networks(run: Finished, written: Network, batch: Batch, source: str) -> Parity:
    """Compare the outputs for batches of two sizes: a size that was written into the file shows
    only with another one.
    """
    sizes = (len(next(iter(batch.values()))), 1)
    difference = 0.0
    scale = 1.0
    for size in sizes:
        part = {name: tensor[:size] for name, tensor in batch.items()}
        expected = name_outputs(run.network(**part))
        found = run_written(written, part)
        if list(expected) != list(found):
            raise ArgumentError(
                "run",
                "what was written has other outputs",
                got=", ".join(found),
                fits=", ".join(expected),
            )
        for name, tensor in expected.items():
            difference = max(difference, largest_difference(found[name], tensor))
            if tensor.is_floating_point():
                scale = max(scale, float(tensor.abs().max()))
    return Parity(sizes, source, difference, scale)


def run_written(written: Network, batch: Batch) -> dict[str, Tensor]:
    """Return the outputs of what was written.

    Raises:
        ArgumentError: it does not run.
    """
    try:
        return written(batch)
    except Exception as error:  # each runtime has errors of its own
        size = len(next(iter(batch.values())))
        raise ArgumentError(
            "run",
            f"what was written does not run on a batch of {size}",
            got=" ".join(str(error).split())[:200],
            fix="another format: --to pt2, --to safetensors",
        ) from error


def largest_difference(found: Tensor, expected: Tensor) -> float:
    """Return the largest absolute difference; infinity for other shapes and for NaN."""
    if found.shape != expected.shape:
        return float("inf")
    if not expected.is_floating_point():  # masks and indices
        return float("inf") if not torch.equal(found, expected) else 0.0
    difference = (found - expected).abs().max()
    return float("inf") if difference.isnan() else float(difference)


def name_outputs(result: Any) -> dict[str, Tensor]:
    """Return the outputs of a network by name."""
    if isinstance(result, Mapping):
        return dict(result)
    return {"out": result}
