"""What a run has besides weights, in plain data: random states, running metrics, where it stood,
what it ran on.
"""

import hashlib
import os
import platform
import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torchmetrics import Metric

KEY = "dougong"  # the part of a checkpoint that is ours


def random_states() -> dict[str, Any]:
    """The states of all random sources of this process."""
    version, words, gauss = random.getstate()
    kind, keys, *rest = np.random.get_state()
    found: dict[str, Any] = {
        "python": [version, list(words), gauss],
        "numpy": [kind, torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest],
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        found["cuda"] = torch.cuda.get_rng_state_all()
    return found


def set_random_states(states: dict[str, Any]) -> None:
    """Put back what `random_states` gave."""
    version, words, gauss = states["python"]
    random.setstate((version, tuple(words), gauss))
    kind, keys, *rest = states["numpy"]
    np.random.set_state((kind, keys.cpu().numpy().astype(np.uint32), *rest))
    torch.set_rng_state(states["torch"].cpu())
    if (
        "cuda" in states
        and torch.cuda.is_available()
        and len(states["cuda"]) == torch.cuda.device_count()
    ):
        torch.cuda.set_rng_state_all([state.cpu() for state in states["cuda"]])


def metric_states(metrics: Mapping[str, Metric]) -> dict[str, Any]:
    """What the metrics of this process have gathered so far, copied."""
    return {
        name: {
            "count": metric._update_count,
            "states": {key: copied(value) for key, value in states(metric)},
        }
        for name, metric in metrics.items()
    }


def states(metric: Metric) -> Iterator[tuple[str, Any]]:
    yield from ((name, getattr(metric, name)) for name in metric._defaults)


def copied(value: Any) -> Any:
    """A state of a metric, which is a tensor or a list of tensors, on the processor."""
    return (
        value.detach().cpu().clone()
        if isinstance(value, Tensor)
        else [copied(part) for part in value]
    )


def set_metric_states(metrics: Mapping[str, Metric], kept: dict[str, Any]) -> None:
    """Put back what `metric_states` gave; metrics that are new start empty."""
    for name, metric in metrics.items():
        if name in kept:
            for key, value in kept[name]["states"].items():
                setattr(metric, key, moved(value, metric.device))
            metric._update_count, metric._computed = kept[name]["count"], None


def moved(value: Any, device: Any) -> Any:
    return (
        value.to(device) if isinstance(value, Tensor) else [moved(part, device) for part in value]
    )


def environment(trainer: pl.Trainer) -> dict[str, Any]:
    """Whatever changes the last bits of a result, as far as it can be asked for."""
    found: dict[str, Any] = {
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "pytorch-lightning": pl.__version__,
        "numpy": np.__version__,
        "processor": platform.machine(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "processes": trainer.world_size,
        "device": device_name(trainer),
        "precision": str(trainer.precision),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
    }
    if torch.cuda.is_available():
        found["cuda"] = torch.version.cuda
        found["cudnn"] = torch.backends.cudnn.version()
        found["CUBLAS_WORKSPACE_CONFIG"] = os.environ.get("CUBLAS_WORKSPACE_CONFIG")
    return found


def device_name(trainer: pl.Trainer) -> str:
    device = trainer.strategy.root_device
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def fingerprint(*parts: Any) -> str:
    """A checksum over tensors, bytes and whatever else has a plain text."""
    found = hashlib.sha256()
    for part in parts:
        if isinstance(part, Tensor):
            found.update(str((tuple(part.shape), part.dtype)).encode())
            part = (
                part.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy()
                if part.numel()
                else b""
            )
        found.update(
            part
            if not isinstance(part, (str, int, float))
            else str(part).encode("utf-8", "backslashreplace")
        )
    return found.hexdigest()


def data_fingerprint(data: Any) -> str:
    """A checksum of all samples that are held in memory; of files their names and sizes."""
    return fingerprint(*contents(getattr(data, "parts", None) or {}))


def contents(value: Any) -> Iterator[Any]:
    """All tensors and names in what a data module holds, in an order that does not change."""
    if isinstance(value, dict):
        for key in value:
            yield str(key)
            yield from contents(value[key])
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from contents(item)
    elif isinstance(value, Path):
        yield f"{value.name} {value.stat().st_size if value.is_file() else 0}"
    elif isinstance(value, Tensor):
        yield value
    else:
        yield str(value)


def graph_fingerprint(network: nn.Module) -> str:
    """A checksum of what a network computes: the code of its bodies, and the names and shapes of
    its tensors.
    """
    code = [
        f"{path}\n{module.code}"
        for path, module in network.named_modules()
        if hasattr(module, "code")
    ]
    kinds = [
        f"{path} {module.extra_repr()} {type(module).__name__}"
        for path, module in network.named_modules()
    ]
    return fingerprint(*code, *kinds, *(f"{name} {size}" for name, size in shapes(network).items()))


def shapes(network: nn.Module) -> dict[str, list[int]]:
    """The shape of every tensor that a checkpoint of the network has, by name."""
    return {name: list(tensor.shape) for name, tensor in network.state_dict().items()}
