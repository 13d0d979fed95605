"""Learning rate schedules."""

import math
from collections.abc import Callable
from typing import ClassVar, Literal

from tasks.errors import ArgumentError, must_be_one_of, must_be_share
from tasks.optimize.curve import Schedule, count_steps, is_steps, must_be_share_or_steps


def must_be_final(final: float) -> None:
    """Raise an ArgumentError unless `final` is a share of the highest rate."""
    if not 0 <= final <= 1:
        raise ArgumentError(
            "final", "final must be in [0, 1]", got=f"final={final}", fits="e.g. 0.01"
        )


class Cosine(Schedule):
    """Linear warm-up, then half a cosine from the learning rate down to a share of it.

    Args:
        warmup: how long the rate rises from zero: a share of all steps in [0, 1), or a whole number
            of steps.
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
        must_be_final(final)
        self.final = final

    def decay(self, step: int, rise: int, steps: float) -> float:
        done = min((step - rise) / max(steps - 1 - rise, 1), 1.0)
        return self.final + (1 - self.final) * (1 + math.cos(math.pi * done)) / 2


class Constant(Schedule):
    """Linear warm-up, then the same rate to the end.

    Args:
        warmup: how long the rate rises from zero: a share of all steps in [0, 1), or a whole number
            of steps.
    """

    def __init__(self, *, warmup: float = 0.0):
        super().__init__(warmup=warmup)
        self.endless = is_steps(warmup) or warmup == 0

    def decay(self, step: int, rise: int, steps: float) -> float:
        return 1.0


class InverseSquareRoot(Schedule):
    """Linear warm-up, then a rate that falls with the square root of the step.

    Args:
        warmup: how long the rate rises from zero: a share of all steps in [0, 1), or a whole number
            of steps.
        rewarm: as for `Cosine`.

    Source:
        Vaswani et al. 2017, arXiv:1706.03762, section 5.3; the highest rate is the optimiser's own.
    """

    def __init__(self, *, warmup: float = 0.1, rewarm: float | None = None):
        super().__init__(warmup=warmup, rewarm=rewarm)
        self.endless = is_steps(warmup)

    def count_rise(self, steps: float, warmup: float | None = None) -> int:
        return max(super().count_rise(steps, warmup), 1)

    def decay(self, step: int, rise: int, steps: float) -> float:
        return math.sqrt(rise / (step + 1))


class WarmupStableDecay(Schedule):
    """Linear warm-up, then a constant rate, which falls in the last steps only.

    A run can be continued from a checkpoint before the decay with any other number of steps.

    Args:
        warmup: how long the rate rises from zero: a share of all steps in [0, 1), or a whole number
            of steps.
        decay: how long the rate falls: a share of all steps, or a whole number of steps.
        shape: how it falls, of the share x of the decay that has passed: sqrt, 1 - sqrt(x); linear,
            1 - x; cosine, half a cosine.
        final: the rate after the last step, as a share of the highest.
        rewarm: as for `Cosine`.

    Source:
        Hu et al. 2024, arXiv:2404.06395, section 4; Hagele et al. 2024, arXiv:2405.18392, section 3
        and its code for the shapes. The decay of the first is exponential.
    """

    SHAPES: ClassVar[dict[str, Callable[[float], float]]] = {
        "sqrt": lambda share: 1 - math.sqrt(share),
        "linear": lambda share: 1 - share,
        "cosine": lambda share: (1 + math.cos(math.pi * share)) / 2,
    }

    def __init__(
        self,
        *,
        warmup: float = 0.05,
        decay: float = 0.2,
        shape: Literal["sqrt", "linear", "cosine"] = "sqrt",
        final: float = 0.0,
        rewarm: float | None = None,
    ):
        super().__init__(warmup=warmup, rewarm=rewarm)
        must_be_share_or_steps("decay", decay)
        must_be_one_of("shape", shape, tuple(self.SHAPES))
        must_be_final(final)
        self.length, self.shape, self.final = decay, shape, final
        if is_steps(decay):
            self.fixed["decay"] = decay

    def decay(self, step: int, rise: int, steps: float) -> float:
        begin = max(steps - count_steps(self.length, steps), rise)
        if step < begin:
            return 1.0
        share = min((step - begin) / max(steps - begin, 1), 1.0)
        return self.final + (1 - self.final) * self.SHAPES[self.shape](share)

    def describe_misfit(self, steps: float) -> str | None:
        rise, fall = self.count_rise(steps), count_steps(self.length, steps)
        if rise >= steps or rise + fall <= steps:
            return super().describe_misfit(steps)
        return (
            f"schedule  warm-up and decay have {rise + fall} steps and the training {steps:.0f}: "
            "the decay begins after the warm-up and is shorter"
        )


class OneCycle(Schedule):
    """The rate rises to its highest value, then falls far below the first one; the momentum does
    the reverse.

    Args:
        warmup: how long the rate rises: a share of all steps in [0, 1), or a whole number of steps.
        start: the first rate, as a share of the highest.
        final: the rate of the last step, as a share of the highest.
        shape: of rise and fall: cosine, linear.
        momentum: the lowest and the highest momentum (the first beta of AdamW), which falls while
            the rate rises; null leaves that of the optimizer.
        rewarm: as for `Cosine`.

    Source:
        Smith and Topin 2018, arXiv:1708.07120, in two phases, as torch's OneCycleLR.
    """

    def __init__(
        self,
        *,
        warmup: float = 0.3,
        start: float = 0.04,
        final: float = 4e-6,
        shape: Literal["cosine", "linear"] = "cosine",
        momentum: list[float] | None = None,
        rewarm: float | None = None,
    ):
        super().__init__(warmup=warmup, rewarm=rewarm)
        must_be_final(final)
        must_be_share("start", start)
        must_be_one_of("shape", shape, ("cosine", "linear"))
        if momentum is not None:
            must_be_range_of_momentum(momentum)
        self.start, self.final, self.shape, self.range = start, final, shape, momentum

    def factor(
        self, step: int, steps: float, warmup: float | None = None, low: float = 0.0
    ) -> float:
        is_rising, share = self._phase(step, steps, warmup)
        if is_rising:
            return self._interpolate(low or self.start, 1.0, share)
        return self._interpolate(1.0, self.final, share)

    def momentum(self, step: int, steps: float, warmup: float | None = None) -> float | None:
        if self.range is None:
            return None
        low, high = self.range
        is_rising, share = self._phase(step, steps, warmup)
        if is_rising:
            return self._interpolate(high, low, share)
        return self._interpolate(low, high, share)

    def _phase(self, step: int, steps: float, warmup: float | None) -> tuple[bool, float]:
        """Return whether the rate rises, and the share of this phase that has passed."""
        if warmup is None:
            warmup = self.warmup
        # a fraction of a step, as in torch
        peak = (warmup if is_steps(warmup) else warmup * steps) - 1
        if step <= peak:
            return True, step / max(peak, 1)
        return False, min((step - peak) / (steps - 1 - peak), 1.0)

    def _interpolate(self, first: float, last: float, share: float) -> float:
        if self.shape == "cosine":
            share = (1 - math.cos(math.pi * share)) / 2
        return first + (last - first) * share


def must_be_range_of_momentum(momentum: list[float]) -> None:
    """Raise an ArgumentError unless `momentum` is a lowest and a highest one."""
    is_range = len(momentum) == 2 and 0 <= momentum[0] <= momentum[1] < 1
    if not is_range:
        raise ArgumentError(
            "momentum",
            "momentum must be the lowest and the highest one, in [0, 1)",
            got=f"momentum={momentum}",
            fits="[0.85, 0.95]; null leaves that of the optimizer",
        )


class StepDecay(Schedule):
    """Linear warm-up, then a rate that is multiplied at each milestone.

    Args:
        milestones: shares of all steps in (0, 1), or whole numbers of steps.
        gamma: multiplier at each milestone, in (0, 1].
        warmup: how long the rate rises from zero: a share of all steps in [0, 1), or a whole number
            of steps.

    Source:
        He et al. 2016, arXiv:1512.03385, section 3.4; as torch's MultiStepLR.
    """

    def __init__(
        self,
        *,
        milestones: list[float] | None = None,
        gamma: float = 0.1,
        warmup: float = 0.0,
    ):
        super().__init__(warmup=warmup)
        if milestones is None:
            milestones = [0.5, 0.75]
        for milestone in milestones:
            must_be_share_or_steps("milestones", milestone)
        if not 0 < gamma <= 1:
            raise ArgumentError(
                "gamma", "gamma must be in (0, 1]", got=f"gamma={gamma}", fits="e.g. 0.1"
            )
        self.milestones, self.gamma = milestones, gamma
        self.endless = all(map(is_steps, milestones)) and (is_steps(warmup) or warmup == 0)
        if any(map(is_steps, milestones)) and not self.endless:
            self.fixed["milestones"] = milestones

    def decay(self, step: int, rise: int, steps: float) -> float:
        passed = [each for each in self.milestones if step >= count_steps(each, steps)]
        return self.gamma ** len(passed)
