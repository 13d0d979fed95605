"""The same task with Lightning's own means, as its documentation shows them: what the tables
compare Dougong with.
"""

import warnings
from pathlib import Path

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from pytorch_lightning.callbacks import ModelCheckpoint
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset


class Digits(pl.LightningModule):
    """A small network with dropout; AdamW; cross-entropy."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Sequential(
            nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, 10)
        )

    def training_step(self, batch: list[Tensor], number: int) -> Tensor:
        loss = F.cross_entropy(self.network(batch[0]), batch[1])
        self.log("train/loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: list[Tensor], number: int) -> None:
        self.log("val/loss", F.cross_entropy(self.network(batch[0]), batch[1]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=1e-3)


def learn(place: Path, overrides: list[str]) -> int:
    """Train for three epochs, from `last.ckpt` if there is one; `overrides` say after how many
    steps to save.
    """
    warnings.simplefilter("ignore")
    steps = [
        text.partition("=")[2]
        for text in overrides
        if text.startswith("callbacks.checkpoint.every_steps=")
    ]
    pl.seed_everything(0, workers=True, verbose=False)
    found = load_digits()
    image, label = (
        torch.from_numpy(found.images).float().flatten(1) / 16,
        torch.from_numpy(found.target),
    )
    train, val = (
        TensorDataset(image[:1259], label[:1259]),
        TensorDataset(image[1259:], label[1259:]),
    )
    folder = place / "checkpoints"
    keep = ModelCheckpoint(
        folder,
        save_last=True,
        every_n_train_steps=int(steps[-1]),
        enable_version_counter=False,
        save_top_k=1,
    )
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=3,
        deterministic=True,
        logger=False,
        callbacks=[keep],
        enable_progress_bar=False,
        default_root_dir=place,
    )
    last = folder / "last.ckpt"
    loaders = DataLoader(train, 64, shuffle=True, drop_last=True), DataLoader(val, 256)
    trainer.fit(Digits(), *loaders, ckpt_path=last if last.is_file() else None)
    trainer.save_checkpoint(last)
    return 0
