"""Parameter groups with weight decay and learning rates of their own, and their optimizer."""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from blocks.graph import find_ends
from tasks.parallel.optimizer_state import disable_grouped_kernels, mesh_of

# Last part of the name of a parameter that does not decay, whatever its shape.
UNDECAYED = ("bias", "gain", "scale", "table", "token", "tokens", "position", "positions")


def is_decayed(name: str, parameter: nn.Parameter) -> bool:
    """Return whether weight decay applies: to matrices and kernels; not to biases, norms, tokens,
    positions or scales.
    """
    if parameter.ndim < 2:
        return False
    last = name.rpartition(".")[2]
    return not any(last == word or last.endswith(f"_{word}") for word in UNDECAYED)


def named_parameters(network: nn.Module) -> Iterator[tuple[str, nn.Parameter, nn.Module]]:
    """Yield each trainable parameter once, with the module that owns it."""
    seen: set[nn.Parameter] = set()
    for path, module in network.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.requires_grad and parameter not in seen:
                seen.add(parameter)
                yield f"{path}.{name}" if path else name, parameter, module


class Matrices:
    """Which parameters of a network are matrices inside it, and how they are composed.

    Embeddings, and the layers that read an input or compute an output, do not count.

    Args:
        network: read only.
    """

    def __init__(self, network: nn.Module):
        self.ends = tuple(f"{path}." for path in find_ends(network))
        self.rows: dict[str, list[int]] = {}
        for path, module in network.named_modules():
            if not hasattr(type(module), "parts"):
                continue
            for name, parts in module.parts().items():
                whole = module.get_parameter(name)
                rows = [len(part) for part in parts.values()]
                is_cut = sum(rows) == len(whole)
                if is_cut and all(part.shape[1:] == whole.shape[1:] for part in parts.values()):
                    self.rows[f"{path}.{name}".lstrip(".")] = rows

    def find_form(self, name: str, parameter: nn.Parameter, module: nn.Module) -> str:
        """Return "matrix" (out, in), "kernel" (out, in, ...), "stack" of matrices (in, out), or ""
        for a parameter that is no matrix inside the network.
        """
        is_outer = isinstance(module, nn.Embedding) or name.startswith(self.ends)
        if parameter.ndim < 2 or is_outer:
            return ""
        last = name.rpartition(".")[2]
        if hasattr(module, "stacks") and last in module.stacks():  # type: ignore[operator]
            return "stack"
        if parameter.ndim == 2:
            return "matrix"
        return "kernel"


def group_parameters(
    network: nn.Module,
    weight_decay: float,
    lr: float | None = None,
    rates: Mapping[str, float] | None = None,
    matrices: Matrices | None = None,
) -> list[dict]:
    """Return the parameters of `network` in groups: those with weight decay first.

    A module may name parameters of its own that do not decay in an attribute `undecayed`, a tuple
    of names.

    Args:
        network: whose trainable parameters are grouped.
        weight_decay: of the parameters that decay.
        lr: the learning rate that `rates` multiply.
        rates: name of a parameter -> multiplier of its learning rate, 1 where there is none.
        matrices: gives the groups a `form` and `rows`, as `Muon` takes them.
    """
    parameters: dict[tuple[bool, float, str, tuple[int, ...]], list[nn.Parameter]] = {}
    for name, parameter, module in named_parameters(network):
        is_exempt = name.rpartition(".")[2] in getattr(module, "undecayed", ())
        decayed = is_decayed(name, parameter) and not is_exempt
        form = ""
        rows: tuple[int, ...] = ()
        if matrices is not None and decayed:
            form = matrices.find_form(name, parameter, module)
            rows = tuple(matrices.rows.get(name, ()))
        key = (decayed, (rates or {}).get(name, 1.0), form, rows)
        parameters.setdefault(key, []).append(parameter)
    groups = []
    for key in sorted(parameters, reverse=True):
        decayed, rate, form, rows = key
        group: dict[str, Any] = {"params": parameters[key], "weight_decay": 0.0}
        if form:
            group |= {"form": form, "rows": list(rows)}
        if decayed:
            group["weight_decay"] = weight_decay
        if rate != 1.0 and lr is not None:
            group["lr"] = lr * rate
        groups.append(group)
    return groups


def build_optimizer(
    network: nn.Module,
    make: Callable[..., torch.optim.Optimizer],
    rates: Mapping[str, float] | None = None,
    *,
    others: Sequence[nn.Parameter] = (),
    fused: bool = True,
) -> torch.optim.Optimizer:
    """Return the optimizer that `make` describes, over the groups of `network`.

    Args:
        network: whose parameters are optimized.
        make: a class, or a partial of one.
        rates: name of a parameter -> multiplier of its learning rate.
        others: parameters outside of the network, which do not decay.
        fused: use the kernel that updates all parameters at once, where the optimizer has one and
            `make` does not choose.
    """
    given = getattr(make, "keywords", {})
    signature = inspect.signature(getattr(make, "func", make)).parameters
    chosen = {}
    for name in ("weight_decay", "lr"):
        if name in signature and signature[name].default is not inspect.Parameter.empty:
            chosen[name] = signature[name].default
    chosen |= given
    options = {}
    # torch has no fused SGD for sharded weights
    fused = fused and "fused" in signature and not {"fused", "foreach"} & set(given)
    if fused and not any(map(mesh_of, network.parameters())):
        options["fused"] = True
    matrices = None
    if getattr(getattr(make, "func", make), "splits_matrices", False):
        matrices = Matrices(network)
    decay, lr = chosen.get("weight_decay", 0.0), chosen.get("lr")
    groups = group_parameters(network, decay, lr, rates, matrices)
    if others:
        groups.append({"params": list(others), "weight_decay": 0.0})
    optimizer = make(groups, **options)
    disable_grouped_kernels(optimizer)
    return optimizer
