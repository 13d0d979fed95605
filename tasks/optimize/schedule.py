"""Learning rate schedules."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch

from tasks.errors import ArgumentError, must_be_share


class Schedule(ABC):
    """The shape of the learning rate over a training: a linear warm-up, then `factor`.

    Args:
        warmup: share of all steps, in [0, 1), in which the rate rises from zero.
        rewarm: share of the remaining steps, in [0, 1), in which the rate of a run that is resumed
            with another end rises again from its last value; None to continue on the curve of all
            steps.
    """

    endless = False  # whether it needs no number of steps

    def __init__(self, *, warmup: float, rewarm: float | None = None):
        must_be_share("warmup", warmup)
        if rewarm is not None:
            must_be_share("rewarm", rewarm)
        self.warmup, self.rewarm = warmup, rewarm

    @abstractmethod
    def factor(self, step: int, steps: int, warmup: float | None = None, low: float = 0.0) -> float:
        """Return the multiplier of the learning rate.

        Args:
            step: counted from zero.
            steps: number of steps of the schedule.
            warmup: another share of the steps than `self.warmup`.
            low: multiplier at which the warm-up begins.
        """

    def count_rise(self, steps: int, warmup: float | None) -> int:
        """Return the number of steps of the warm-up."""
        if warmup is None:
            warmup = self.warmup
        return round(warmup * steps)

    def __call__(
        self,
        optimizer: torch.optim.Optimizer,
        steps: float,
        clock: Callable[[], float] | None = None,
    ) -> torch.optim.lr_scheduler.LRScheduler:
        """Return the schedule of an optimizer.

        Args:
            optimizer: whose rates are set.
            steps: of the whole training, inf where only the clock ends it.
            clock: gives the share of the allowed time that has passed; None without a limit.
        """
        return Curve(optimizer, self, steps, clock)


class Cosine(Schedule):
    """Linear warm-up, then half a cosine from the learning rate down to a share of it.

    Args:
        warmup: share of all steps, in [0, 1), in which the rate rises from zero.
        final: the rate of the last step, as a share of the highest.
        rewarm: share of the remaining steps, in [0, 1), in which the rate of a run that is resumed
            with another end rises again from its last value, to fall once more; None to continue
            on the curve of all steps.

    Source:
        Loshchilov and Hutter 2017, arXiv:1608.03983, without restarts; warm-up as in Goyal et al.
        2017, arXiv:1706.02677; the second one as in Ibrahim et al. 2024, arXiv:2403.08763.
    """

    def __init__(self, *, warmup: float = 0.1, final: float = 0.01, rewarm: float | None = None):
        super().__init__(warmup=warmup, rewarm=rewarm)
        if not 0 <= final <= 1:
            raise ArgumentError(
                "final", "final must be in [0, 1]", got=f"final={final}", fits="e.g. 0.01"
            )
        self.final = final

    def factor(self, step: int, steps: int, warmup: float | None = None, low: float = 0.0) -> float:
        rise = self.count_rise(steps, warmup)
        if step < rise:
            return low + (1 - low) * (step + 1) / rise
        done = min((step - rise) / max(steps - 1 - rise, 1), 1.0)
        return self.final + (1 - self.final) * (1 + math.cos(math.pi * done)) / 2


class Constant(Schedule):
    """Linear warm-up, then the same rate to the end.

    Args:
        warmup: share of all steps, in [0, 1), in which the rate rises from zero.
    """

    def __init__(self, *, warmup: float = 0.0):
        super().__init__(warmup=warmup)
        self.endless = warmup == 0

    def factor(self, step: int, steps: int, warmup: float | None = None, low: float = 0.0) -> float:
        rise = self.count_rise(steps, warmup)
        if step < rise:
            return low + (1 - low) * (step + 1) / rise
        return 1.0


class InverseSquareRoot(Schedule):
    """Linear warm-up, then a rate that falls with the square root of the step.

    Args:
        warmup: share of all steps, in [0, 1), in which the rate rises from zero.
        rewarm: as for `Cosine`.

    Source:
        Vaswani et al. 2017, arXiv:1706.03762, section 5.3; the highest rate is the optimiser's own.
    """

    def __init__(self, *, warmup: float = 0.1, rewarm: float | None = None):
        super().__init__(warmup=warmup, rewarm=rewarm)

    def factor(self, step: int, steps: int, warmup: float | None = None, low: float = 0.0) -> float:
        rise = max(self.count_rise(steps, warmup), 1)
        if step < rise:
            return low + (1 - low) * (step + 1) / rise
        return math.sqrt(rise / (step + 1))


class Curve(torch.optim.lr_scheduler.LRScheduler):
    """The learning rates of a run to the end of its steps or of its time, whichever is nearer.

    Args:
        optimizer: whose rates are set.
        schedule: the shape.
        steps: as `Schedule.__call__` takes them.
        clock: as `Schedule.__call__` takes it.
    """

    RESOLUTION = 10_000  # parts into which the allowed time is divided

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        schedule: Schedule,
        steps: float,
        clock: Callable[[], float] | None = None,
    ):
        self.schedule = schedule
        self.steps = steps
        self.clock = clock
        # step, factor and time at which the rate rose again
        self.first = 0
        self.low = 0.0
        self.passed = 0.0
        self.note: str | None = None  # how a changed end changes the rate
        super().__init__(optimizer)

    def factor(self) -> float:
        """Return the multiplier of the rates in this step."""
        step, steps = self.last_epoch - self.first, self.steps - self.first
        if self.clock is not None:
            share = max((self.clock() - self.passed) / max(1 - self.passed, 1e-9), step / steps)
            step = min(int(share * self.RESOLUTION), self.RESOLUTION - 1)
            steps = self.RESOLUTION
        elif math.isinf(steps):
            return 1.0
        warmup = None
        if self.first:
            warmup = self.schedule.rewarm
        return self.schedule.factor(step, int(steps), warmup, self.low)

    def get_lr(self) -> Any:
        factor = self.factor()
        return [base * factor for base in self.base_lrs]

    def state_dict(self) -> dict[str, Any]:
        state = dict(vars(self))
        for name in ("optimizer", "schedule", "clock", "note"):
            del state[name]
        return {name: value for name, value in state.items() if not callable(value)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a checkpoint, and set the rates of the next step where the training ends
        elsewhere now.
        """
        steps = self.steps  # as configured now, not as before
        state = {**state_dict, "steps": steps}
        state.pop("lr_lambdas", None)  # in checkpoints of other schedules
        super().load_state_dict(state)
        before, base = float(self._last_lr[0]), float(self.base_lrs[0])
        is_moved = state_dict.get("steps", steps) != steps
        is_moved = is_moved or not math.isclose(self.get_lr()[0], before, rel_tol=0.01)
        if is_moved and self.schedule.rewarm is not None and base:
            self.first = self.last_epoch
            self.low = before / base
            self.passed = 0.0
            if self.clock is not None:
                self.passed = self.clock()
        self._last_lr = self.get_lr()
        for group, rate in zip(self.optimizer.param_groups, self._last_lr, strict=True):
            group["lr"] = rate
        self.note = None
        if is_moved:
            self.note = self.describe_change(before, base)

    def describe_change(self, before: float, base: float) -> str:
        """Return how a changed end changes the learning rate.

        Args:
            before: the last rate.
            base: the highest rate.
        """
        now = float(self._last_lr[0])
        end = f"step {self.steps:.0f}"
        if self.clock is not None:
            end = "the end of max_time"
        text = (
            f"schedule  step {self.last_epoch + 1}, on the way to {end}: learning rate "
            f"{now:.3g}, before {before:.3g}"
        )
        if self.first == self.last_epoch:
            rewarm = self.schedule.rewarm
            return f"{text}; rises to {base:.3g} and falls again (schedule.rewarm={rewarm})"
        if now <= 2 * before or not before:
            return text
        fix = "schedule.rewarm=0.1 lets it rise over a tenth of the steps left"
        return f"{text}, {now / before:.0f} times as high; {fix}"
