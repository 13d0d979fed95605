"""Which parameters decay, and how the learning rate goes."""

import inspect
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import nn

from tasks.errors import ArgumentError, must_be_share
from tasks.parallel.optimizer_state import disable_grouped_kernels, mesh_of

# The last word of the name of a parameter that does not decay, whatever its shape.
UNDECAYED = ("bias", "gain", "scale", "table", "token", "tokens", "position", "positions")


def is_decayed(name: str, parameter: nn.Parameter) -> bool:
    """Whether weight decay applies: to matrices and kernels; not to biases, norms, tokens,
    positions or scales.
    """
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


def group_parameters(
    network: nn.Module,
    weight_decay: float,
    lr: float | None = None,
    rates: Mapping[str, float] | None = None,
) -> list[dict]:
    """The parameters of `network` in groups: those that decay first, then those that do not.

    A module may name parameters of its own that do not decay in an attribute `undecayed`, a tuple
    of names.

    Args:
        lr: the learning rate that `rates` multiply.
        rates: name of a parameter -> multiplier of its learning rate, 1 where there is none.
    """
    found: dict[tuple[bool, float], list[nn.Parameter]] = {}
    for name, parameter, module in named_parameters(network):
        own = name.rpartition(".")[2] in getattr(module, "undecayed", ())
        key = (is_decayed(name, parameter) and not own, (rates or {}).get(name, 1.0))
        found.setdefault(key, []).append(parameter)
    return [
        {"params": found[decayed, rate], "weight_decay": weight_decay if decayed else 0.0}
        | ({} if rate == 1.0 or lr is None else {"lr": lr * rate})
        for decayed, rate in sorted(found, reverse=True)
    ]


def build_optimizer(
    network: nn.Module,
    make: Callable[..., torch.optim.Optimizer],
    rates: Mapping[str, float] | None = None,
    *,
    fused: bool = True,
) -> torch.optim.Optimizer:
    """The optimiser that `make` stands for, over the groups of `network`.

    Args:
        fused: take the kernel that updates all parameters at once, where the optimiser has one and
            `make` does not say.
    """
    given = getattr(make, "keywords", {})
    fused = fused and not any(
        map(mesh_of, network.parameters())
    )  # torch has no fused SGD for weights in shards
    known = inspect.signature(getattr(make, "func", make)).parameters
    defaults = {name: known[name].default for name in ("weight_decay", "lr") if name in known}
    chosen = {
        name: default
        for name, default in defaults.items()
        if default is not inspect.Parameter.empty
    } | given
    options = (
        {"fused": True}
        if fused and "fused" in known and not {"fused", "foreach"} & set(given)
        else {}
    )
    optimizer = make(
        group_parameters(network, chosen.get("weight_decay", 0.0), chosen.get("lr"), rates),
        **options,
    )
    disable_grouped_kernels(optimizer)
    return optimizer


class Cosine:
    """Linear warm-up, then half a cosine from the learning rate down to a share of it.

    Args:
        warmup: share of all steps, in [0, 1), in which the rate rises from zero.
        final: the rate of the last step, as a share of the highest.
        rewarm: share of the steps left, in [0, 1), in which the rate of a run that is resumed with
            another end rises again from where it was, to fall once more; None to go on along the
            curve of all steps.

    Source:
        Loshchilov and Hutter 2017, arXiv:1608.03983, without restarts; warm-up as in Goyal et al.
            2017,
        arXiv:1706.02677; the second one as in Ibrahim et al. 2024, arXiv:2403.08763.
    """

    endless = False  # whether it can do without the number of steps

    def __init__(self, *, warmup: float = 0.1, final: float = 0.01, rewarm: float | None = None):
        must_be_share("warmup", warmup)
        if rewarm is not None:
            must_be_share("rewarm", rewarm)
        if not 0 <= final <= 1:
            raise ArgumentError(
                "final", "final must be in [0, 1]", got=f"final={final}", fits="0.01, say"
            )
        self.warmup, self.final, self.rewarm = warmup, final, rewarm

    def factor(self, step: int, steps: int, warmup: float | None = None, low: float = 0.0) -> float:
        """What the learning rate is multiplied with in step `step` of `steps`, counted from zero.

        Args:
            warmup: another share of the steps than `self.warmup`.
            low: where the warm-up begins.
        """
        rise = round((self.warmup if warmup is None else warmup) * steps)
        if step < rise:
            return low + (1 - low) * (step + 1) / rise
        done = min((step - rise) / max(steps - 1 - rise, 1), 1.0)
        return self.final + (1 - self.final) * (1 + math.cos(math.pi * done)) / 2

    def __call__(
        self,
        optimizer: torch.optim.Optimizer,
        steps: float,
        clock: Callable[[], float] | None = None,
    ) -> torch.optim.lr_scheduler.LRScheduler:
        """The schedule of an optimiser.

        Args:
            steps: of the whole training, inf where nothing but the clock ends it.
            clock: what share of the time that training may take is over; None where it has no
                limit.
        """
        return Curve(optimizer, self, steps, clock)


class Constant(Cosine):
    """Linear warm-up, then the same rate to the end.

    Args:
        warmup: share of all steps, in [0, 1), in which the rate rises from zero.
    """

    def __init__(self, *, warmup: float = 0.0):
        super().__init__(warmup=warmup, final=1.0)
        self.endless = warmup == 0


class InverseSquareRoot(Cosine):
    """Linear warm-up, then a rate that falls with the square root of the step.

    Args:
        warmup: share of all steps, in [0, 1), in which the rate rises from zero.
        rewarm: as for `Cosine`.

    Source:
        Vaswani et al. 2017, arXiv:1706.03762, section 5.3; the highest rate is the optimiser's own.
    """

    def __init__(self, *, warmup: float = 0.1, rewarm: float | None = None):
        super().__init__(warmup=warmup, final=0.0, rewarm=rewarm)

    def factor(self, step: int, steps: int, warmup: float | None = None, low: float = 0.0) -> float:
        rise = max(round((self.warmup if warmup is None else warmup) * steps), 1)
        if step < rise:
            return low + (1 - low) * (step + 1) / rise
        return math.sqrt(rise / (step + 1))


class Curve(torch.optim.lr_scheduler.LRScheduler):
    """The learning rates of a run, step by step, to the end of its steps or of its time, whichever
    is nearer.

    Args:
        optimizer: whose rates are set.
        schedule: the shape.
        steps: as `Cosine.__call__` takes them.
        clock: as `Cosine.__call__` takes it.
    """

    FINE = 10_000  # where time is what passes, it is counted in so many parts

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        schedule: Cosine,
        steps: float,
        clock: Callable[[], float] | None = None,
    ):
        self.schedule, self.steps, self.clock = schedule, steps, clock
        self.first, self.low, self.passed = (
            0,
            0.0,
            0.0,
        )  # the step, factor and time from which the rate rose again
        self.told: str | None = None  # what a change of the end does to the rate
        super().__init__(optimizer)

    def factor(self) -> float:
        """What the rates are multiplied with in this step."""
        step, steps = self.last_epoch - self.first, self.steps - self.first
        if self.clock is not None:
            share = max((self.clock() - self.passed) / max(1 - self.passed, 1e-9), step / steps)
            step, steps = min(int(share * self.FINE), self.FINE - 1), self.FINE
        elif math.isinf(steps):
            return 1.0
        again = self.schedule.rewarm if self.first else None
        return self.schedule.factor(step, int(steps), again, self.low)

    def get_lr(self) -> Any:
        factor = self.factor()
        return [base * factor for base in self.base_lrs]

    def state_dict(self) -> dict[str, Any]:
        left = ("optimizer", "schedule", "clock", "told")
        return {
            name: value
            for name, value in vars(self).items()
            if name not in left and not callable(value)
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint, and set the rates of the next step where the training ends
        elsewhere by now.
        """
        now = {"steps": self.steps}  # what is asked for, not what was
        super().load_state_dict(
            {name: value for name, value in state_dict.items() if name != "lr_lambdas"} | now
        )
        before, base = float(self._last_lr[0]), float(self.base_lrs[0])
        moved = state_dict.get("steps", self.steps) != self.steps
        moved = moved or not math.isclose(self.get_lr()[0], before, rel_tol=0.01)
        if moved and self.schedule.rewarm is not None and base:
            self.first, self.low, self.passed = (
                self.last_epoch,
                before / base,
                self.clock() if self.clock else 0.0,
            )
        self._last_lr = self.get_lr()
        for group, rate in zip(self.optimizer.param_groups, self._last_lr, strict=True):
            group["lr"] = rate
        self.told = self.tell(before, base) if moved else None

    def tell(self, before: float, base: float) -> str:
        """What another end does to the learning rate."""
        now, end = (
            float(self._last_lr[0]),
            "the end of max_time" if self.clock else f"step {self.steps:.0f}",
        )
        text = (
            f"schedule  step {self.last_epoch + 1}, on the way to {end}: learning rate "
            f"{now:.3g}, before {before:.3g}"
        )
        if self.first == self.last_epoch:
            return (
                f"{text}; rises to {base:.3g} and falls again "
                f"(schedule.rewarm={self.schedule.rewarm})"
            )
        if now <= 2 * before or not before:
            return text
        fix = "schedule.rewarm=0.1 lets it rise over a tenth of the steps left"
        return f"{text}, {now / before:.0f} times as high; {fix}"
