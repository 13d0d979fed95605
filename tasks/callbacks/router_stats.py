"""Figures of the routers of mixtures of experts over training."""

import csv
import math
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from torch import Tensor, nn

from blocks.support.files import replace_file
from tasks.errors import must_be_positive

COLUMNS = ("step", "epoch", "node", "balance", "entropy", "dropped", "load")


class RouterStats(Callback):
    """Writes `routers.csv` into the run folder, where the network has mixtures of experts: how a
    router divides its tokens, at some steps of training.

    `load` is the share of the choices that each expert has, `balance` the largest of them times the
    number of experts, 1 where all are equal; `entropy` is that of the chances of a token over
    log(experts), 1 for an undecided router; `dropped` is the share of choices beyond the capacity,
    or of tokens that no expert chose. A mixture is a block with the attribute `router_figures`: the
    loads, then entropy and dropped share of its last pass. The last batch of a measured step
    counts, of several processes that of the first. Numbers stay on the device until an epoch ends.

    Args:
        folder: of the file.
        samples: about how many steps are measured, evenly over the training.
        name: of the file.

    Source:
        Fedus et al. 2022, arXiv:2101.03961, section 2.2 (shares and dropped tokens).
    """

    def __init__(self, folder: str = ".", samples: int = 50, name: str = "routers.csv"):
        must_be_positive("samples", samples)
        self.path = Path(folder) / name
        self.samples, self.every, self.total = samples, 1, math.inf
        self.routers: dict[str, nn.Module] = {}
        self.rows: list[tuple[int, int, str, Tensor]] = []  # step, epoch, node, figures

    def state_dict(self) -> dict[str, Any]:
        """Return the rows and the distance of the measured steps, for a resumed run."""
        rows = [[*row[:3], row[3].cpu()] for row in self.rows]
        return {"every": self.every, "rows": rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows = [tuple(row) for row in state_dict["rows"]]
        self.every = state_dict["every"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.routers = {}
        if not trainer.is_global_zero:
            return
        if trainer.global_step == 0:
            self.rows, self.every = [], 1
        network: Any = pl_module.network
        for path, module in network.named_modules():
            if hasattr(module, "router_figures"):
                self.routers[path.replace("_orig_mod.", "")] = module
        self.total = float(trainer.estimated_stepping_batches)
        if not math.isinf(self.total):
            self.every = max(1, math.ceil(self.total / self.samples))

    def on_train_batch_end(self, trainer: pl.Trainer, *rest: Any) -> None:
        step = trainer.global_step
        measured = (step - 1) % self.every == 0 or step == self.total
        known = self.rows[-1][0] if self.rows else 0
        if not self.routers or not measured or step <= known:
            return
        for path, module in self.routers.items():
            if isinstance(module.router_figures, Tensor):
                row = (step, trainer.current_epoch + 1, path, module.router_figures.detach())
                self.rows.append(row)
        if len(self.rows) >= 2 * self.samples * len(self.routers):  # no known end
            self.every *= 2
            self.rows = [row for row in self.rows if (row[0] - 1) % self.every == 0]

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.save()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.save()

    def save(self) -> None:
        """Write all rows to the file."""
        if not self.rows:
            return
        self.rows = [(*row[:3], row[3].cpu()) for row in self.rows]
        with (
            replace_file(self.path) as draft,
            draft.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            for step, epoch, node, figures in self.rows:
                *load, entropy, dropped = figures.tolist()
                numbers = (max(load) * len(load), entropy, dropped)
                shares = " ".join(f"{share:.4g}" for share in load)
                writer.writerow([step, epoch, node, *(f"{each:.4g}" for each in numbers), shares])


def read_routers(path: Path) -> list[dict[str, str]]:
    """Return the rows of `routers.csv`, none where the run has no such file."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
