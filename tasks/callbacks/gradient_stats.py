"""Gradient norms and update ratios of each node of a network over training."""

import csv
import math
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from blocks.graph.run.inspect import list_nodes
from blocks.support.files import replace_file
from tasks.errors import must_be_positive
from tasks.parallel.strategy import is_sharded

COLUMNS = ("step", "epoch", "node", "gradient", "update")


class GradientStats(Callback):
    """Writes `nodes.csv` into the run folder: gradient norm and update ratio of each node, at some
    steps of training.

    A node is one of the top level of the graph, each repeat by itself. `gradient` is the norm of
    its gradients before clipping, summed over accumulated batches; `update` is |change of its
    weights| / |weights| of that step. Frozen parameters do not count; a tied one counts where it
    appears first. Numbers stay on the device until an epoch ends, so that no step waits for them.
    Of several processes the first one measures; gradients are the same in all. With sharded
    weights (fsdp, tensor_parallel) no process has whole nodes: nothing is written.

    Args:
        folder: of the file.
        samples: about how many steps are measured, evenly over the training.
        name: of the file.

    Source:
        The ratio of update and weight, about 1e-3 where training goes well: Karpathy 2015, CS231n,
        "Neural Networks Part 3", ratio of weights to updates.
    """

    def __init__(self, folder: str = ".", samples: int = 50, name: str = "nodes.csv"):
        must_be_positive("samples", samples)
        self.path = Path(folder) / name
        self.samples = samples
        self.groups: dict[str, list[nn.Parameter]] = {}
        self.rows: list[tuple[int, int, Tensor]] = []  # step, epoch, (2, nodes)
        self.before: tuple[Tensor, list[list[Tensor]]] | None = None
        self.every = 1
        self.total = math.inf

    @property
    def state_key(self) -> str:
        """Name of this state in checkpoints, that of release 0.1.0."""
        return "Nodes"

    def state_dict(self) -> dict[str, Any]:
        """Return the rows and the distance of the measured steps, for a resumed run."""
        self._move_rows_to_cpu()
        return {"every": self.every, "rows": [list(row) for row in self.rows]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows = [(step, epoch, values) for step, epoch, values in state_dict["rows"]]
        self.every = state_dict["every"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.before = None
        if trainer.global_step == 0:
            self.rows = []
            self.every = 1
        self.groups = {}
        if trainer.is_global_zero and not is_sharded(trainer):
            self.groups = group_by_node(pl_module.network)  # type: ignore[arg-type]
        # rows of a run with other frozen nodes do not fit
        self.rows = [row for row in self.rows if row[2].shape[1] == len(self.groups)]
        self.total = float(trainer.estimated_stepping_batches)
        if not math.isinf(self.total):
            self.every = max(1, math.ceil(self.total / self.samples))

    def on_before_optimizer_step(self, trainer: pl.Trainer, *rest: Any) -> None:
        step = trainer.global_step
        if not self.groups or self.before is not None:
            return
        if step % self.every and step != self.total - 1:
            return
        gradients, weights = [], []
        for group in self.groups.values():
            gradients.append([p.grad for p in group if p.grad is not None])
            # this copy lives while the weights change, when the activations are freed
            weights.append([p.detach().clone() for p in group])
        self.before = compute_norms(gradients), weights

    def on_train_batch_end(self, trainer: pl.Trainer, *rest: Any) -> None:
        if self.before is None:
            return
        gradient, before = self.before
        self.before = None
        changes = []
        for group, old in zip(self.groups.values(), before, strict=True):
            changes.append([p.detach() - q for p, q in zip(group, old, strict=True)])
        update = compute_norms(changes) / compute_norms(before)
        values = torch.stack([gradient, update])
        self.rows.append((trainer.global_step, trainer.current_epoch + 1, values))
        if len(self.rows) >= 2 * self.samples:  # a training without a known end
            self.rows = self.rows[::2]
            self.every *= 2

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.save()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.save()

    def save(self) -> None:
        """Write all rows to the file."""
        if not self.rows:
            return
        self._move_rows_to_cpu()
        with (
            replace_file(self.path) as draft,
            draft.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            for step, epoch, values in self.rows:
                for node, *pair in zip(self.groups, *values.tolist(), strict=True):
                    writer.writerow([step, epoch, node, *map(format_finite, pair)])

    def _move_rows_to_cpu(self) -> None:
        self.rows = [(step, epoch, values.cpu()) for step, epoch, values in self.rows]


def group_by_node(network: nn.Module) -> dict[str, list[nn.Parameter]]:
    """Return the trainable parameters by the node at which they appear first."""
    paths = sorted(list_nodes(network), key=len, reverse=True)
    groups: dict[str, list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            node = next((path for path in paths if name.startswith(f"{path}.")), name)
            groups.setdefault(node, []).append(parameter)
    return groups


def compute_norms(groups: list[list[Tensor]]) -> Tensor:
    """Return the norm of each group as one vector, (groups,) in float32 on the device of the
    tensors; NaN for an empty group.
    """
    device = next((group[0].device for group in groups if group), torch.device("cpu"))
    norms = []
    for group in groups:
        norm = torch.full((), math.nan, device=device)
        if group:
            norm = get_total_norm(group).float().to(device)
        norms.append(norm)
    return torch.stack(norms)


def format_finite(value: float) -> str:
    """Format a number with four digits; "" for NaN, where there is no gradient or no weight."""
    if not math.isfinite(value):
        return ""
    return f"{value:.4g}"


def read_nodes(path: Path) -> list[dict[str, str]]:
    """Return the rows of `nodes.csv`, none where the run has no such file."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
