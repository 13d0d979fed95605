"""Which parameters decay, and how the learning rate goes."""

import inspect
import math
from collections.abc import Callable, Iterator, Mapping

import torch
from torch import nn

from tasks.errors import ArgumentError, must_be_share
from tasks.parallel_state import go_one_by_one, kind_of

# The last word of the name of a parameter that does not decay, whatever its shape.
UNDECAYED = ("bias", "gain", "scale", "table", "token", "tokens", "position", "positions")


def decays(name: str, parameter: nn.Parameter) -> bool:
    """Whether weight decay applies: to matrices and kernels; not to biases, norms, tokens, positions or scales."""
    if parameter.ndim < 2:
        return False
    last = name.rpartition(".")[2]
    return not any(last == word or last.endswith(f"_{word}") for word in UNDECAYED)


def named_parameters(network: nn.Module) -> Iterator[tuple[str, nn.Parameter, nn.Module]]:
    """Each trained parameter once, with the module that owns it."""
    seen: set[nn.Parameter] = set()
    for path, module in network.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.requires_grad and parameter not in seen:
                seen.add(parameter)
                yield f"{path}.{name}" if path else name, parameter, module


def groups(
    network: nn.Module, weight_decay: float, lr: float | None = None, rates: Mapping[str, float] | None = None
) -> list[dict]:
    """The parameters of `network` in groups: those that decay first, then those that do not.

    A module may name parameters of its own that do not decay in an attribute `undecayed`, a tuple of names.

    Args:
        lr: the learning rate that `rates` multiply.
        rates: name of a parameter -> multiplier of its learning rate, 1 where there is none.
    """
    found: dict[tuple[bool, float], list[nn.Parameter]] = {}
    for name, parameter, module in named_parameters(network):
        own = name.rpartition(".")[2] in getattr(module, "undecayed", ())
        key = (decays(name, parameter) and not own, (rates or {}).get(name, 1.0))
        found.setdefault(key, []).append(parameter)
    return [
        {"params": found[decayed, rate], "weight_decay": weight_decay if decayed else 0.0}
        | ({} if rate == 1.0 or lr is None else {"lr": lr * rate})
        for decayed, rate in sorted(found, reverse=True)
    ]


def optimise(
    network: nn.Module,
    make: Callable[..., torch.optim.Optimizer],
    rates: Mapping[str, float] | None = None,
    *,
    fused: bool = True,
) -> torch.optim.Optimizer:
    """The optimiser that `make` stands for, over the groups of `network`.

    Args:
        fused: take the kernel that updates all parameters at once, where the optimiser has one and `make` does not say.
    """
    given = getattr(make, "keywords", {})
    fused = fused and not any(map(kind_of, network.parameters()))  # torch has no fused SGD for weights in shards
    known = inspect.signature(getattr(make, "func", make)).parameters
    defaults = {name: known[name].default for name in ("weight_decay", "lr") if name in known}
    chosen = {name: default for name, default in defaults.items() if default is not inspect.Parameter.empty} | given
    options = {"fused": True} if fused and "fused" in known and not {"fused", "foreach"} & set(given) else {}
    optimizer = make(groups(network, chosen.get("weight_decay", 0.0), chosen.get("lr"), rates), **options)
    go_one_by_one(optimizer)
    return optimizer


class Cosine:
    """Linear warm-up, then half a cosine from the learning rate down to a share of it.

    Args:
        warmup: share of all steps, in [0, 1), in which the rate rises from zero.
        final: the rate of the last step, as a share of the highest.

    Source:
        Loshchilov and Hutter 2017, arXiv:1608.03983, without restarts; warm-up as in Goyal et al. 2017,
        arXiv:1706.02677.
    """

    def __init__(self, *, warmup: float = 0.1, final: float = 0.01):
        must_be_share("warmup", warmup)
        if not 0 <= final <= 1:
            raise ArgumentError("final", "final must be in [0, 1]", got=f"final={final}", fits="0.01, say")
        self.warmup, self.final = warmup, final

    def factor(self, step: int, steps: int) -> float:
        """What the learning rate is multiplied with in step `step` of `steps`, counted from zero."""
        rise = round(self.warmup * steps)
        if step < rise:
            return (step + 1) / rise
        done = min((step - rise) / max(steps - 1 - rise, 1), 1.0)
        return self.final + (1 - self.final) * (1 + math.cos(math.pi * done)) / 2

    def __call__(self, optimizer: torch.optim.Optimizer, steps: int) -> torch.optim.lr_scheduler.LRScheduler:
        return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: self.factor(step, steps))


class Constant(Cosine):
    """Linear warm-up, then the same rate to the end.

    Args:
        warmup: share of all steps, in [0, 1), in which the rate rises from zero.
    """

    def __init__(self, *, warmup: float = 0.0):
        super().__init__(warmup=warmup, final=1.0)


class InverseSquareRoot(Cosine):
    """Linear warm-up, then a rate that falls with the square root of the step.

    Args:
        warmup: share of all steps, in [0, 1), in which the rate rises from zero.

    Source:
        Vaswani et al. 2017, arXiv:1706.03762, section 5.3; the highest rate is the optimiser's own.
    """

    def __init__(self, *, warmup: float = 0.1):
        super().__init__(warmup=warmup, final=0.0)

    def factor(self, step: int, steps: int) -> float:
        rise = max(round(self.warmup * steps), 1)
        return min((step + 1) / rise, math.sqrt(rise / (step + 1)))
