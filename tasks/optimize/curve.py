"""The base of learning rate schedules, and the rates of a run that follows one."""

import math
from collections.abc import Callable
from typing import Any

import torch

from tasks.errors import ArgumentError, must_be_share


class Schedule:
    """The shape of the learning rate over a training: a linear warm-up, then `decay`.

    Args:
        warmup: how long the rate rises from zero: a share of all steps in [0, 1), e.g. 0.1, or a
            whole number of steps, e.g. 500.
        rewarm: share of the remaining steps, in [0, 1), in which the rate of a run that is resumed
            with another end rises again from its last value; None to continue on the curve of all
            steps.
    """

    endless = False  # whether it needs no number of steps

    def __init__(self, *, warmup: float, rewarm: float | None = None):
        must_be_share_or_steps("warmup", warmup)
        if rewarm is not None:
            must_be_share("rewarm", rewarm)
        self.warmup, self.rewarm = warmup, rewarm
        # arguments that do not fit a training of unknown steps, because they are steps themselves
        self.fixed: dict[str, Any] = {}

    def factor(
        self, step: int, steps: float, warmup: float | None = None, low: float = 0.0
    ) -> float:
        """Return the multiplier of the learning rate.

        Args:
            step: counted from zero.
            steps: number of steps of the schedule; inf for an endless one.
            warmup: another warm-up than `self.warmup`.
            low: multiplier at which the warm-up begins.
        """
        rise = self.count_rise(steps, warmup)
        if step < rise:
            return low + (1 - low) * (step + 1) / rise
        return self.decay(step, rise, steps)

    def decay(self, step: int, rise: int, steps: float) -> float:
        """Return the multiplier of the learning rate after the warm-up.

        Args:
            step: counted from zero, at least `rise`.
            rise: number of steps of the warm-up.
            steps: number of steps of the schedule.
        """
        raise NotImplementedError

    def momentum(self, step: int, steps: float, warmup: float | None = None) -> float | None:
        """Return the momentum of a step, None to leave that of the optimizer.

        Args:
            step: as for `factor`.
            steps: as for `factor`.
            warmup: as for `factor`.
        """
        return None

    def count_rise(self, steps: float, warmup: float | None = None) -> int:
        """Return the number of steps of the warm-up."""
        if warmup is None:
            warmup = self.warmup
        return count_steps(warmup, steps)

    def describe_misfit(self, steps: float) -> str | None:
        """Return what of the schedule does not fit into a number of steps."""
        if self.count_rise(steps) < steps:
            return None
        return (
            f"schedule  the warm-up has {self.warmup} steps and the training {steps:.0f}: the "
            "learning rate only rises"
        )

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


def is_steps(length: float) -> bool:
    """Return whether a length is a number of steps, not a share of all steps."""
    return isinstance(length, int) and not isinstance(length, bool)


def count_steps(length: float, steps: float) -> int:
    """Return the number of steps of a length.

    Args:
        length: a share of `steps` in [0, 1), or a whole number of steps.
        steps: the whole.
    """
    if is_steps(length) or not length:
        return int(length)
    return round(length * steps)


def must_be_share_or_steps(argument: str, value: float) -> None:
    """Raise an ArgumentError unless `value` is a share in [0, 1) or a whole number of steps."""
    if 0 <= value < 1 or (is_steps(value) and value > 0):
        return
    raise ArgumentError(
        argument,
        f"{argument} must be a share in [0, 1) or a whole number of steps",
        got=f"{argument}={value}",
        fits="e.g. 0.1 of all steps, or 500 steps",
    )


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
        self.risen = 0.0  # share of the time that a warm-up in steps has taken
        self.note: str | None = None  # what of the schedule may surprise
        if clock is None:
            self.note = schedule.describe_misfit(steps)
        super().__init__(optimizer)

    def factor(self) -> float:
        """Return the multiplier of the rates in this step."""
        step, steps, warmup = self.position()
        return self.schedule.factor(step, steps, warmup, self.low)

    def position(self) -> tuple[int, float, float | None]:
        """Return step, number of steps and warm-up, as `Schedule.factor` takes them; with a clock,
        a step is a part of the time.
        """
        step, steps = self.last_epoch - self.first, self.steps - self.first
        warmup = None
        if self.first:
            warmup = self.schedule.rewarm
        is_free = self.schedule.endless and not self.first
        if self.clock is None or is_free:
            return step, steps, warmup
        share = max((self.clock() - self.passed) / max(1 - self.passed, 1e-9), step / steps)
        part = min(int(share * self.RESOLUTION), self.RESOLUTION - 1)
        if self.first or not is_steps(self.schedule.warmup):
            return part, self.RESOLUTION, warmup
        if step < self.schedule.warmup:
            self.risen = part / self.RESOLUTION
            return step, math.inf, warmup
        return part, self.RESOLUTION, self.risen

    def get_lr(self) -> Any:
        factor = self.factor()
        return [base * factor for base in self.base_lrs]

    def step(self, epoch: int | None = None) -> None:
        super().step(epoch)
        self.set_momentum()

    def set_momentum(self) -> None:
        """Set the momentum of this step, where the schedule has one."""
        step, steps, warmup = self.position()
        momentum = self.schedule.momentum(step, steps, warmup)
        if momentum is None:
            return
        for group in self.optimizer.param_groups:
            if "momentum" in group:
                group["momentum"] = momentum
            if "betas" in group:
                group["betas"] = (momentum, *group["betas"][1:])

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
        has_end = self.clock is not None or not math.isinf(steps)
        if is_moved and has_end and self.schedule.rewarm is not None and base:
            self.first = self.last_epoch
            self.low = before / base
            self.passed = 0.0
            if self.clock is not None:
                self.passed = self.clock()
        self._last_lr = self.get_lr()
        for group, rate in zip(self.optimizer.param_groups, self._last_lr, strict=True):
            group["lr"] = rate
        self.set_momentum()
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
            end = "the end of its time"
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
