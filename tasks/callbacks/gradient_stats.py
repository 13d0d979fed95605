"""How each node of a network learns: the size of its gradients, and how far a step moves its
weights.
"""

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

    A node is what stands at the top of the graph, each repeat in its own right. `gradient` is the
    norm of its gradients before clipping, summed over accumulated batches; `update` is |change of
    its weights| / |weights| of that step. Frozen parameters do not count, a tied one counts where
    it stands first. Numbers stay on the device until an epoch ends, so that no step waits for them.
    Of several processes the first one measures; gradients are the same in all. Of weights that are
    cut among devices (fsdp, tensor_parallel) no process has whole nodes: nothing is written.

    Args:
        folder: where the file stands.
        samples: about so many steps are measured, evenly over the training.
        name: the name of the file.

    Source:
        The ratio of update and weight, about 1e-3 where training goes well: Karpathy 2015, CS231n,
        "Neural Networks Part 3", ratio of weights to updates.
    """

    def __init__(self, folder: str = ".", samples: int = 50, name: str = "nodes.csv"):
        must_be_positive("samples", samples)
        self.path, self.samples = Path(folder) / name, samples
        self.groups: dict[str, list[nn.Parameter]] = {}
        self.rows: list[tuple[int, int, Tensor]] = []  # step, epoch, (2, nodes)
        self.before: tuple[Tensor, list[list[Tensor]]] | None = None
        self.every, self.total = 1, math.inf

    @property
    def state_key(self) -> str:
        """Return the name under which checkpoints keep the rows, which is that of 0.1.0."""
        return "Nodes"

    def state_dict(self) -> dict[str, Any]:
        """The rows so far and the distance of the steps, so that a resumed run has those of one
        that never stopped.
        """
        self.rows = [(step, epoch, values.cpu()) for step, epoch, values in self.rows]
        return {"every": self.every, "rows": [list(row) for row in self.rows]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows = [(step, epoch, values) for step, epoch, values in state_dict["rows"]]
        self.every = state_dict["every"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.before = None
        if trainer.global_step == 0:
            self.rows, self.every = [], 1
        whole = trainer.is_global_zero and not is_sharded(trainer)
        self.groups = grouped(pl_module.network) if whole else {}  # type: ignore[arg-type]
        self.rows = [
            row for row in self.rows if row[2].shape[1] == len(self.groups)
        ]  # not where others rest by now
        self.total = float(trainer.estimated_stepping_batches)
        if not math.isinf(self.total):
            self.every = max(1, math.ceil(self.total / self.samples))

    def on_before_optimizer_step(self, trainer: pl.Trainer, *rest: Any) -> None:
        step = trainer.global_step
        if (
            self.groups
            and self.before is None
            and (step % self.every == 0 or step == self.total - 1)
        ):
            gradients = [
                [p.grad for p in group if p.grad is not None] for group in self.groups.values()
            ]
            # The copy lives while the weights move, when the activations are gone.
            weights = [[p.detach().clone() for p in group] for group in self.groups.values()]
            self.before = norms(gradients), weights

    def on_train_batch_end(self, trainer: pl.Trainer, *rest: Any) -> None:
        if self.before is None:
            return
        gradient, old = self.before
        self.before = None
        pairs = zip(self.groups.values(), old, strict=True)
        moved = norms(
            [[p.detach() - q for p, q in zip(group, kept, strict=True)] for group, kept in pairs]
        )
        self.rows.append(
            (
                trainer.global_step,
                trainer.current_epoch + 1,
                torch.stack([gradient, moved / norms(old)]),
            )
        )
        if len(self.rows) >= 2 * self.samples:  # a training without a known end
            self.rows, self.every = self.rows[::2], self.every * 2

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.save()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.save()

    def save(self) -> None:
        """Write the file anew."""
        if not self.rows:
            return
        self.rows = [(step, epoch, values.cpu()) for step, epoch, values in self.rows]
        with (
            replace_file(self.path) as draft,
            draft.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            for step, epoch, values in self.rows:
                for node, gradient, update in zip(self.groups, *values.tolist(), strict=True):
                    writer.writerow([step, epoch, node, shown(gradient), shown(update)])


def grouped(network: nn.Module) -> dict[str, list[nn.Parameter]]:
    """The parameters that learn, by the node at which they stand first."""
    paths = sorted(list_nodes(network), key=len, reverse=True)
    found: dict[str, list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        node = next((path for path in paths if name.startswith(f"{path}.")), name)
        if parameter.requires_grad:
            found.setdefault(node, []).append(parameter)
    return found


def norms(groups: list[list[Tensor]]) -> Tensor:
    """The norm of each group as one vector in float32, on the device; not a number for an empty
    one.
    """
    device = next((group[0].device for group in groups if group), torch.device("cpu"))
    nothing = torch.full((), math.nan, device=device)
    return torch.stack(
        [get_total_norm(group).float().to(device) if group else nothing for group in groups]
    )


def shown(value: float) -> str:
    """A number with the digits it is worth; empty where there is none: no gradient, or weights that
    are all zero.
    """
    return f"{value:.4g}" if math.isfinite(value) else ""


def read_nodes(path: Path) -> list[dict[str, str]]:
    """The rows of `nodes.csv`, none where the run has no such file."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
