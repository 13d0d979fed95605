"""The state of a run besides its weights, as plain data: random states, environment and
fingerprints.
"""

import hashlib
import os
import platform
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

KEY = "dougong"  # our part of a checkpoint


def random_states() -> dict[str, Any]:
    """Return the states of all random generators of this process."""
    version, numbers, gauss = random.getstate()
    kind, keys, *rest = np.random.get_state()
    states: dict[str, Any] = {
        "python": [version, list(numbers), gauss],
        "numpy": [kind, torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest],
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state_all()
    return states


def set_random_states(states: dict[str, Any]) -> None:
    """Restore what `random_states` returned."""
    version, numbers, gauss = states["python"]
    random.setstate((version, tuple(numbers), gauss))
    kind, keys, *rest = states["numpy"]
    np.random.set_state((kind, keys.cpu().numpy().astype(np.uint32), *rest))
    torch.set_rng_state(states["torch"].cpu())
    devices = states.get("cuda", ())
    if torch.cuda.is_available() and len(devices) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([device.cpu() for device in devices])


def describe_environment(trainer: pl.Trainer) -> dict[str, Any]:
    """Return whatever can change the last bits of a result, as far as it can be queried."""
    environment: dict[str, Any] = {
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "pytorch-lightning": pl.__version__,
        "numpy": np.__version__,
        "processor": platform.machine(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "processes": trainer.world_size,
        "device": device_name(trainer.strategy.root_device),
        "precision": str(trainer.precision),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
    }
    if torch.cuda.is_available():
        environment["cuda"] = torch.version.cuda
        environment["cudnn"] = torch.backends.cudnn.version()
        environment["CUBLAS_WORKSPACE_CONFIG"] = os.environ.get("CUBLAS_WORKSPACE_CONFIG")
    return environment


def device_name(device: torch.device) -> str:
    """Return the name of a GPU, and the type of another device."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return device.type


def fingerprint(*parts: Any) -> str:
    """Return a checksum of tensors, bytes, and whatever else has a plain text."""
    checksum = hashlib.sha256()
    for part in parts:
        if isinstance(part, Tensor):
            checksum.update(str((tuple(part.shape), part.dtype)).encode())
            if part.numel():
                data = part.detach().cpu().contiguous().view(-1).view(torch.uint8)
                checksum.update(data.numpy())  # type: ignore[arg-type]
        elif isinstance(part, (str, int, float)):
            checksum.update(str(part).encode("utf-8", "backslashreplace"))
        else:
            checksum.update(part)
    return checksum.hexdigest()


def data_fingerprint(data: Any) -> str:
    """Return a checksum of all samples in memory, and of the names and sizes of files."""
    return fingerprint(*iterate_contents(getattr(data, "parts", None) or {}))


def iterate_contents(value: Any) -> Iterator[Any]:
    """Yield all tensors and names in nested containers, in a fixed order."""
    if isinstance(value, dict):
        for key in value:
            yield str(key)
            yield from iterate_contents(value[key])
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from iterate_contents(item)
    elif hasattr(value, "fingerprint_parts"):
        yield from value.fingerprint_parts()
    elif isinstance(value, Path):
        yield f"{value.name} {value.stat().st_size if value.is_file() else 0}"
    elif isinstance(value, Tensor):
        yield value
    else:
        yield str(value)


def graph_fingerprint(network: nn.Module) -> str:
    """Return a checksum of what a network computes: the code of its bodies, its modules, and the
    names and shapes of its tensors.
    """
    code, modules = [], []
    for path, module in network.named_modules():
        if hasattr(module, "code"):
            code.append(f"{path}\n{module.code}")
        modules.append(f"{path} {module.extra_repr()} {type(module).__name__}")
    tensors = [f"{name} {size}" for name, size in tensor_shapes(network).items()]
    return fingerprint(*code, *modules, *tensors)


def tensor_shapes(network: nn.Module) -> dict[str, list[int]]:
    """Return the shape of every tensor in the state dictionary of a network, by name."""
    return {name: list(tensor.shape) for name, tensor in network.state_dict().items()}
