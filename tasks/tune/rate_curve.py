"""The loss at rising learning rates, and the rate that it suggests."""

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tasks.report.plots import COLOURS, Panel, draw_panels
from tasks.report.plots import Point as PlotPoint

LOWEST, HIGHEST = 1e-6, 10.0  # rates
STEPS = 141  # 20 for a factor of 10
WIDTH = 3.0  # standard deviation of the Gaussian that smooths the losses, in steps
FIRST = 10  # steps at rates that change little: the loss before the search
SURE = 4.0  # standard errors by which the loss must fall
LAST = 5  # steps whose mean says that the loss diverges
TABLE, PICTURE = "find_lr.csv", "find_lr.svg"


class LearningRateError(RuntimeError):
    """The loss falls at none of the rates."""

    code = "no-learning-rate"


@dataclass(frozen=True)
class Suggestion:
    """A learning rate, and the losses that suggest it.

    Args:
        rate: rounded to three digits.
        rates: those that were tried, in rising order.
        losses: the loss at each of them.
        smooth: the same, smoothed.
        diverged: whether the losses end because they diverge.
    """

    rate: float
    rates: list[float]
    losses: list[float]
    smooth: list[float]
    diverged: bool


def rate_of_step(step: int) -> float:
    """Return the learning rate of a step of the search, counted from zero."""
    return LOWEST * (HIGHEST / LOWEST) ** (step / (STEPS - 1))


def find_limit(losses: Sequence[float]) -> float:
    """Return the loss above which a search diverges: about twice the first one."""
    first = np.asarray(losses[:FIRST])
    start = float(first.mean())
    return start + max(abs(start), start - min(losses), SURE * float(first.std()))


def has_diverged(losses: Sequence[float]) -> bool:
    """Return whether the last losses are not finite, or far above the first ones."""
    if not math.isfinite(losses[-1]):
        return True
    if len(losses) < FIRST + LAST:
        return False
    return float(np.mean(losses[-LAST:])) > find_limit(losses)


def smooth_losses(losses: Sequence[float]) -> np.ndarray:
    """Return the losses smoothed over equal factors of the rate, without the delay of a running
    mean; outliers count as the limit beyond which the loss diverges.
    """
    values = np.minimum(np.asarray(losses), find_limit(losses))
    steps = np.arange(len(values))
    weights = np.exp(-0.5 * ((steps[:, None] - steps) / WIDTH) ** 2)
    return weights @ values / weights.sum(1)


def suggest_rate(losses: Sequence[float]) -> Suggestion:
    """Return the rate at which the smoothed loss is lowest.

    The rate at which the loss falls fastest, the rule of Lightning, is too low by a factor of 30
    and more where the first loss is above that of a constant answer: it then marks the steps in
    which the network learns not to be sure.

    Args:
        losses: of the steps of a search, as `rate_of_step` numbers them.

    Raises:
        LearningRateError: the loss does not fall by more than the noise of its batches, or is not
            finite from the beginning.

    Source:
        Smith 2017, arXiv:1506.01186, section 3.3: the upper bound of the rates, which a schedule
        rises to and falls from. Others divide it by 10, because a running mean delays their curve;
        the smoothing here is symmetric.
    """
    if not losses:
        raise LearningRateError(
            "the search for a learning rate had no batch to train on\n"
            "  fix       trainer.limit_train_batches=1.0"
        )
    diverged = has_diverged(losses)
    finite = list(losses)
    while finite and not math.isfinite(finite[-1]):
        finite.pop()
    if len(finite) < 2:
        raise LearningRateError(
            f"the loss is not finite at a learning rate of {LOWEST:g}, in the first step of the "
            "search\n  fix       a rate does not help: look at the data, at weights.load and at "
            "trainer.precision"
        )
    smooth = smooth_losses(finite)
    lowest = int(smooth.argmin())
    start = min(FIRST, len(finite))
    noise = float(np.std(finite[:start]) / math.sqrt(2 * math.sqrt(math.pi) * WIDTH))
    fall = float(np.mean(finite[:start])) - float(smooth[lowest])
    if fall <= max(SURE * noise, 1e-4 * abs(finite[0])):
        ending = f"up to {rate_of_step(len(finite) - 1):.3g}"
        if diverged:
            ending = f"up to {rate_of_step(len(finite) - 1):.3g}, where it diverges"
        raise LearningRateError(
            f"the loss does not fall at any learning rate from {LOWEST:g} {ending}\n"
            f"  got       {np.mean(finite[:start]):.4g} at first, {smooth[lowest]:.4g} at best, a "
            f"noise of {noise:.2g}\n"
            f"  fix       look at {PICTURE} in the run folder; larger batches (data.batch_size, "
            "trainer.accumulate_grad_batches), trainer.gradient_clip_val=1.0, or an optimizer.lr "
            "of your own with trainer.find_lr=false"
        )
    return Suggestion(
        rate=float(f"{rate_of_step(lowest):.3g}"),
        rates=[rate_of_step(step) for step in range(len(finite))],
        losses=finite,
        smooth=smooth.tolist(),
        diverged=diverged,
    )


def write_curve(folder: Path, losses: Sequence[float], rate: float | None) -> None:
    """Write the losses into the run folder, as a table and as a picture.

    Args:
        folder: of the run.
        losses: of the steps of a search.
        rate: that was chosen; None where none was.
    """
    finite = [loss for loss in losses if math.isfinite(loss)]
    smooth = smooth_losses(finite) if finite else np.zeros(0)
    rows = []
    for step, loss in enumerate(losses):
        smoothed = f"{smooth[step]:.6g}" if step < len(smooth) else ""
        rows.append((f"{rate_of_step(step):.6g}", f"{loss:.6g}", smoothed))
    with (folder / TABLE).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("lr", "loss", "smooth"))
        writer.writerows(rows)
    (folder / PICTURE).write_text(draw_curve(finite, smooth, rate), encoding="utf-8")


def draw_curve(losses: Sequence[float], smooth: np.ndarray, rate: float | None) -> str:
    """Return the losses over the rate as SVG, with a line at the chosen rate."""
    if not losses:
        return draw_panels([], "no finite loss")
    limit = find_limit(losses)
    series: dict[str, list[PlotPoint]] = {"loss": [], "smooth": []}
    for step, loss in enumerate(losses):
        series["loss"].append(PlotPoint(rate_of_step(step), min(loss, limit)))
        series["smooth"].append(PlotPoint(rate_of_step(step), float(smooth[step])))
    title = "no rate found"
    if rate is not None:
        title = f"optimizer.lr {rate:g}"
    panel = Panel(
        series=series,
        x="learning rate",
        y="loss",
        log=("x",),
        best=rate,
        colours=(COLOURS[5], COLOURS[0]),
        wide=560,
    )
    return draw_panels([panel], title)
