"""Running metrics: a mean that does not wait for the device, and their states for checkpoints."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torchmetrics import MeanMetric, Metric, R2Score


class Mean(MeanMetric):
    """A weighted mean of scalars that does not check whether they are finite.

    The check of `MeanMetric` makes each step wait for a GPU; its `nan_strategy="disable"` skips
    it, and ignores the weights. A loss that is not finite ends the run anyway, by
    `tasks.learn.checks.nonfinite`.
    """

    def update(self, value: Tensor, weight: Tensor | int = 1) -> None:  # type: ignore[override]
        self.mean_value += value * weight
        self.weight += weight


class Determination(R2Score):
    """The coefficient of determination, R2, as the mean over the targets; not a number for fewer
    than two samples, where it has no meaning.

    Args:
        targets: how many; a process without a sample takes part in the sums of all.
    """

    def __init__(self, targets: int):
        super().__init__()
        for name in ("sum_squared_error", "sum_error", "residual"):
            self.add_state(name, torch.zeros(targets), dist_reduce_fx="sum")

    def compute(self) -> Tensor:
        if self.total < 2:
            return torch.full((), torch.nan)
        return super().compute()


def train_metrics(module: Any) -> dict[str, Metric]:
    """Return the metrics over an epoch of training; {} for a module that is no `Task`.

    Those of a validation are left out: they may have what the last validation left.
    """
    if not hasattr(module, "train_metrics"):
        return {}
    return dict(module.train_metrics())


def metric_states(metrics: Mapping[str, Metric]) -> dict[str, Any]:
    """Return a copy of the states of metrics in this process, on the CPU."""
    states = {}
    for name, metric in metrics.items():
        values = {key: copy_state(getattr(metric, key)) for key in metric._defaults}
        states[name] = {"count": metric._update_count, "states": values}
    return states


def set_metric_states(metrics: Mapping[str, Metric], states: Mapping[str, Any]) -> None:
    """Restore what `metric_states` returned; metrics that it does not have stay as they are."""
    for name, metric in metrics.items():
        if name in states:
            for key, value in states[name]["states"].items():
                setattr(metric, key, move_state(value, metric.device))
            metric._update_count, metric._computed = states[name]["count"], None


def copy_state(value: Any) -> Any:
    """Return a copy of a tensor or a list of tensors on the CPU."""
    if isinstance(value, Tensor):
        return value.detach().cpu().clone()
    return [copy_state(item) for item in value]


def move_state(value: Any, device: torch.device) -> Any:
    """Return a tensor or a list of tensors on a device."""
    if isinstance(value, Tensor):
        return value.to(device)
    return [move_state(item, device) for item in value]
