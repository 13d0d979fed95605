"""Parameter groups with weight decay and learning rates of their own, and their optimizer."""

import inspect
from collections.abc import Callable, Iterator, Mapping

import torch
from torch import nn

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


def group_parameters(
    network: nn.Module,
    weight_decay: float,
    lr: float | None = None,
    rates: Mapping[str, float] | None = None,
) -> list[dict]:
    """Return the parameters of `network` in groups: those with weight decay first.

    A module may name parameters of its own that do not decay in an attribute `undecayed`, a tuple
    of names.

    Args:
        network: whose trainable parameters are grouped.
        weight_decay: of the parameters that decay.
        lr: the learning rate that `rates` multiply.
        rates: name of a parameter -> multiplier of its learning rate, 1 where there is none.
    """
    parameters: dict[tuple[bool, float], list[nn.Parameter]] = {}
    for name, parameter, module in named_parameters(network):
        is_exempt = name.rpartition(".")[2] in getattr(module, "undecayed", ())
        key = (is_decayed(name, parameter) and not is_exempt, (rates or {}).get(name, 1.0))
        parameters.setdefault(key, []).append(parameter)
    groups = []
    for decayed, rate in sorted(parameters, reverse=True):
        group = {"params": parameters[decayed, rate], "weight_decay": 0.0}
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
    fused: bool = True,
) -> torch.optim.Optimizer:
    """Return the optimizer that `make` describes, over the groups of `network`.

    Args:
        network: whose parameters are optimized.
        make: a class, or a partial of one.
        rates: name of a parameter -> multiplier of its learning rate.
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
    groups = group_parameters(network, chosen.get("weight_decay", 0.0), chosen.get("lr"), rates)
    optimizer = make(groups, **options)
    disable_grouped_kernels(optimizer)
    return optimizer
