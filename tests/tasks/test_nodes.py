"""Gradient norms and update ratios: the numbers by hand, with accumulation, frozen and tied
parameters.
"""

import math
import warnings

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from tasks.callbacks import gradient_stats
from tasks.callbacks.gradient_stats import GradientStats
from tasks.errors import ArgumentError

RATE = 0.1
QUIET = dict.fromkeys(
    ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False
)


class Model(pl.LightningModule):
    """A loss whose gradients are known: the mean of the batch times the sum of the weights."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def training_step(self, batch: Tensor, number: int) -> Tensor:
        return batch.mean() * sum(p.sum() for p in self.network.parameters() if p.requires_grad)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD([p for p in self.parameters() if p.requires_grad], lr=RATE)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.ModuleDict(
        {"first": nn.Linear(2, 3), "still": nn.Linear(3, 5), "last": nn.Linear(5, 7)}
    )


def train(model: Model, place, batches: int, epochs: int = 1, **options) -> list[dict[str, str]]:
    samples = options.pop("samples", 50)
    data = torch.arange(1.0, batches + 1)[:, None]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Lightning: few workers, a deprecated class
        callback = GradientStats(str(place), samples=samples)
        trainer = pl.Trainer(
            accelerator="cpu", max_epochs=epochs, callbacks=[callback], **QUIET, **options
        )
        trainer.fit(model, torch.utils.data.DataLoader(data, batch_size=1))
    return gradient_stats.read_nodes(place / "nodes.csv")


def size(module: nn.Module) -> float:
    return math.sqrt(sum(float(p.detach().square().sum()) for p in module.parameters()))


def test_the_numbers_are_those_by_hand(tmp_path):
    model = Model(network())
    model.network["still"].requires_grad_(False)
    before = {name: size(child) for name, child in model.network.named_children()}
    rows = train(model, tmp_path, batches=2)
    assert [(row["step"], row["epoch"], row["node"]) for row in rows] == [
        ("1", "1", "first"),
        ("1", "1", "last"),
        ("2", "1", "first"),
        ("2", "1", "last"),
    ]
    for row, count in zip(rows[:2], (9, 42), strict=True):
        assert float(row["gradient"]) == pytest.approx(math.sqrt(count), rel=1e-3)
        assert float(row["update"]) == pytest.approx(
            RATE * math.sqrt(count) / before[row["node"]], rel=1e-3
        )
    assert float(rows[2]["gradient"]) == pytest.approx(2 * 3, rel=1e-3)


def test_accumulated_batches_are_one_step(tmp_path):
    model = Model(network())
    before = size(model.network["first"])
    rows = [
        row
        for row in train(model, tmp_path, batches=4, accumulate_grad_batches=2)
        if row["node"] == "first"
    ]
    assert [row["step"] for row in rows] == ["1", "2"]
    assert float(rows[0]["gradient"]) == pytest.approx(
        1.5 * 3, rel=1e-3
    )  # the mean of batches 1 and 2
    assert float(rows[0]["update"]) == pytest.approx(RATE * 1.5 * 3 / before, rel=1e-3)


def test_the_gradient_is_that_before_clipping(tmp_path):
    model = Model(network())
    before = size(model.network["first"])
    row = train(model, tmp_path, batches=1, gradient_clip_val=1.0)[0]
    total = math.sqrt(9 + 20 + 42)
    assert float(row["gradient"]) == pytest.approx(3, rel=1e-3)
    assert float(row["update"]) == pytest.approx(RATE * 3 / total / before, rel=1e-3)


def test_a_tied_parameter_counts_where_it_stands_first(tmp_path):
    model = Model(nn.ModuleDict({"first": nn.Linear(3, 3), "last": nn.Linear(3, 3, bias=False)}))
    model.network["last"].weight = model.network["first"].weight
    assert {row["node"] for row in train(model, tmp_path, batches=1)} == {"first"}


def test_weights_that_are_zero_have_no_ratio(tmp_path):
    model = Model(nn.ModuleDict({"zero": nn.Linear(3, 3)}))
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    assert [(row["gradient"], row["update"]) for row in train(model, tmp_path, batches=1)] == [
        ("3.464", "")
    ]


def test_a_node_without_gradient_has_none(tmp_path):
    class Half(Model):
        def training_step(self, batch: Tensor, number: int) -> Tensor:
            return self.network["first"].weight.sum()

    rows = train(Half(network()), tmp_path, batches=1)
    assert [(row["node"], row["gradient"]) for row in rows if not row["gradient"]] == [
        ("still", ""),
        ("last", ""),
    ]
    assert [row["update"] for row in rows if row["node"] == "last"] == ["0"]


def test_about_so_many_steps_are_measured_and_the_last(tmp_path):
    rows = train(Model(network()), tmp_path, batches=23, epochs=2, samples=5)
    assert sorted({int(row["step"]) for row in rows}) == [1, 11, 21, 31, 41, 46]


def test_a_training_without_a_known_end_is_thinned(tmp_path):
    class Stops(pl.Callback):
        def on_train_batch_end(self, trainer, *rest):
            trainer.should_stop = trainer.global_step >= 29

    data = torch.ones(29, 1)
    callback = GradientStats(str(tmp_path), samples=4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = pl.Trainer(
            accelerator="cpu", max_epochs=-1, callbacks=[callback, Stops()], **QUIET
        )
        trainer.fit(Model(network()), torch.utils.data.DataLoader(data, batch_size=1))
    steps = sorted({int(row["step"]) for row in gradient_stats.read_nodes(tmp_path / "nodes.csv")})
    assert steps == [1, 9, 17, 25]


def test_samples_must_be_positive():
    with pytest.raises(ArgumentError, match="samples must be positive"):
        GradientStats(samples=0)
