"""Learning rates and starts that carry over from a narrow model to a wide one (muP).

Which sizes grow is read by comparing the parameters of both models, so that no layer says anything.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import nn

from blocks.graph.errors import ConfigError, Problem

Found = TypeVar("Found")
LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)  # weight (out, in, ...)


@dataclass(frozen=True)
class Transfer:
    """What a parameter of a wide model takes over from that of a narrow one, for Adam.

    Args:
        role: "input" (only its output grows; also biases, gains and positions), "scaled" (an
            input whose result is multiplied by a growing number), "hidden" (both grow), "output"
            (only its input grows) or "same".
        growth: how many times as many inputs it sums over, or what it is multiplied by has grown.

    Source:
        Yang et al. 2022 (Tensor Programs V), arXiv:2203.03466, table 3, which is equivalent to
        table 8 without multipliers in the network.
    """

    role: str
    growth: float = 1.0

    @property
    def learning_rate(self) -> float:
        """Factor of the learning rate: 1 / fan_in of all that sums over growing inputs."""
        return 1.0 / self.growth

    @property
    def deviation(self) -> float:
        """Standard deviation at the start, as a multiple of that of the narrow model."""
        power = {"hidden": 0.5, "output": 1.0, "scaled": 1.0}.get(self.role, 0.0)
        return self.growth**-power


def compare_widths(model: nn.Module, base: nn.Module) -> dict[str, Transfer]:
    """Return the rule of each parameter of a model whose narrow form is `base`.

    A layer that the narrow model does not have, in a deeper model, is compared with one that stands
    before it in the same repeat.

    Args:
        model, base: on any device, the meta device included.

    Raises:
        ConfigError: heads whose width grows, or an output that shares the weights of an embedding.
    """
    narrow = dict(base.named_parameters(remove_duplicate=False))
    owners = dict(base.named_modules(remove_duplicate=False))
    found: dict[str, Transfer] = {}
    roles: dict[int, tuple[str, Transfer]] = {}
    for path, module in model.named_modules(remove_duplicate=False):
        _check_heads(path, module, owners)
        for name, parameter in module.named_parameters(recurse=False, remove_duplicate=False):
            whole = f"{path}.{name}".lstrip(".")
            other = _counterpart(whole, narrow)
            if other is None or other.ndim != parameter.ndim:
                raise ConfigError(_explain_unknown(whole))
            owner = owners.get(path, module)
            transfer = _compare(module, owner, name, (tuple(parameter.shape), tuple(other.shape)))
            first, known = roles.setdefault(id(parameter), (whole, transfer))
            if known != transfer:
                raise ConfigError(_explain_tie(whole, first))
            found[whole] = transfer
    return found


def measure_starts(base: nn.Module) -> dict[str, float]:
    """Return the standard deviation of each parameter of a model."""
    found = {}
    for name, parameter in base.named_parameters(remove_duplicate=False):
        found[name] = _deviation(parameter)
    return found


@torch.no_grad()
def carry_starts(
    model: nn.Module, transfers: Mapping[str, Transfer], starts: Mapping[str, float]
) -> None:
    """Scale the parameters of a model that has just been made, so that they start as the narrow
    model does, with the deviations of their roles. Constants stay.

    Args:
        starts: the deviations of the narrow model, from `measure_starts`.
    """
    seen: set[int] = set()
    for name, parameter in model.named_parameters(remove_duplicate=False):
        wanted = _counterpart(name, starts)
        now = _deviation(parameter)
        if id(parameter) in seen or not wanted or now == 0.0:
            continue
        seen.add(id(parameter))
        if transfers[name].role != "same":
            parameter.mul_(wanted * transfers[name].deviation / now)


def _deviation(parameter: torch.Tensor) -> float:
    """The root of the mean square around the mean; 0 for a constant."""
    if parameter.numel() < 2:
        return 0.0
    return float(parameter.detach().double().std(correction=0))


def _compare(
    module: nn.Module, owner: nn.Module, name: str, shapes: tuple[tuple[int, ...], tuple[int, ...]]
) -> Transfer:
    """The rule of one parameter.

    Args:
        module: whose parameter it is.
        owner: the same of the narrow model.
        shapes: of the parameter, here and there.
    """
    shape, other = shapes
    grown = [index for index, size in enumerate(shape) if size != other[index]]
    if not grown:
        return Transfer("same")
    summed = _input_axis(module, name, len(shape))
    if summed is None or summed not in grown:
        factor, before = getattr(module, "factor", 1.0), getattr(owner, "factor", 1.0)
        if factor != before:
            return Transfer("scaled", factor / before)
        return Transfer("input")
    growth = shape[summed] / other[summed]
    return Transfer("hidden" if len(grown) > 1 else "output", growth)


def _input_axis(module: nn.Module, name: str, axes: int) -> int | None:
    """The axis of a parameter over which its layer sums; None where it sums over none."""
    stacks = getattr(module, "stacks", None)  # of matrices, (in, out)
    if callable(stacks) and name in stacks():
        return axes - 2
    if isinstance(module, LAYERS) and name == "weight":
        return 1
    return None


def _counterpart(name: str, known: Mapping[str, Found]) -> Found | None:
    """What the narrow model has under a name, or under that of an earlier repeat."""
    numbers = list(re.finditer(r"(?<=\.)\d+(?=\.|$)", name))
    for match in [None, *reversed(numbers)]:
        if match is None:
            candidates = [name]
        else:
            before = range(int(match[0]) - 1, -1, -1)
            candidates = [
                f"{name[: match.start()]}{index}{name[match.end() :]}" for index in before
            ]
        for candidate in candidates:
            if candidate in known:
                return known[candidate]
    return None


# Mistakes -----------------------------------------------------------------------------------------


def _check_heads(path: str, module: nn.Module, owners: Mapping[str, nn.Module]) -> None:
    """Raise ConfigError where the width of a head grows: scores are divided by its root, and muP
    asks for the width itself (definition 4.1).
    """
    owner = _counterpart(path, owners)
    now, before = _head_dim(module), None if owner is None else _head_dim(owner)
    if now != before:
        raise ConfigError(
            Problem(
                "starts and learning rates carry over between heads of one width",
                path="weights.base",
                got=f"{path} has heads of {now}, and of {before} in the base",
                fix="let the number of heads grow with the width: model.params.heads='dim // 32'",
                code="bad-value",
            )
        )


def _head_dim(module: nn.Module) -> int | None:
    heads, dim = getattr(module, "heads", None), getattr(module, "dim", None)
    found = getattr(module, "head_dim", None)
    if found is None and isinstance(heads, int) and isinstance(dim, int):
        found = dim // heads
    return found


def _explain_unknown(name: str) -> Problem:
    return Problem(
        "the base has no such parameter",
        path="weights.base",
        got=name,
        fix="a base that differs in widths and depths alone",
        code="weights-mismatch",
    )


def _explain_tie(name: str, first: str) -> Problem:
    return Problem(
        "one parameter both reads an input and gives an output, whose rules differ",
        path="weights.base",
        got=f"{first} and {name} are one",
        fix="untie them: '~model.tie'",
        code="unsupported",
    )
