"""Figures of routers over training: the file holds what blocks left, and the report shows it."""

import warnings
from xml.dom.minidom import parseString

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from blocks.mixture import MixtureOfExperts
from tasks.callbacks.router_stats import RouterStats, read_routers
from tasks.report.over_training import routers

QUIET = dict.fromkeys(
    ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False
)


class Model(pl.LightningModule):
    def __init__(self, **options):
        super().__init__()
        torch.manual_seed(0)
        self.network = nn.Sequential(
            MixtureOfExperts(5, experts=3, hidden=2, **options),
            MixtureOfExperts(5, experts=4, top=1, hidden=2),
        )
        self.seen = []

    def training_step(self, batch: Tensor, number: int) -> Tensor:
        loss = self.network(batch).square().mean()
        self.seen.append([mixture.router_figures.clone() for mixture in self.network])
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1.0)


def train(model, place, samples=50):
    callback = RouterStats(str(place), samples=samples)
    data = torch.randn(6, 7, 5, generator=torch.Generator().manual_seed(0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Lightning: few workers, a deprecated class
        trainer = pl.Trainer(accelerator="cpu", max_epochs=2, callbacks=[callback], **QUIET)
        trainer.fit(model, torch.utils.data.DataLoader(data, batch_size=2))
    return callback, read_routers(place / "routers.csv")


def test_the_file_holds_what_the_routers_left(tmp_path):
    model = Model(capacity=0.5)
    _, rows = train(model, tmp_path)
    steps = [(int(row["step"]), int(row["epoch"]), row["node"]) for row in rows]
    assert steps == [(s + 1, s // 3 + 1, node) for s in range(6) for node in "01"]
    for row in rows:
        figures = model.seen[int(row["step"]) - 1][int(row["node"])].tolist()
        load = list(map(float, row["load"].split()))
        assert load == pytest.approx(figures[:-2], abs=1e-3)
        assert float(row["balance"]) == pytest.approx(max(figures[:-2]) * len(load), abs=1e-3)
        assert float(row["entropy"]) == pytest.approx(figures[-2], abs=1e-3)
        assert float(row["dropped"]) == pytest.approx(figures[-1], abs=1e-3)
    assert float(rows[0]["dropped"]) > 0


def test_some_steps_are_measured_and_kept_for_a_resumed_run(tmp_path):
    callback, rows = train(Model(routing="expert"), tmp_path, samples=3)
    assert [row["step"] for row in rows[::2]] == ["1", "3", "5", "6"]
    other = RouterStats(str(tmp_path / "other"))
    other.load_state_dict(callback.state_dict())
    (tmp_path / "other").mkdir()
    other.save()
    assert read_routers(tmp_path / "other" / "routers.csv") == rows


def test_the_report_shows_them_and_a_run_without_mixtures_has_no_such_section(tmp_path):
    assert routers.sections(tmp_path) == []
    _, rows = train(Model(), tmp_path)
    ((title, content),) = routers.sections(tmp_path)
    assert title == "Routers"
    parseString((tmp_path / "routers.svg").read_text(encoding="utf-8"))
    assert "0 [2]" in content
    for row in rows[-2:]:
        assert f"<td>{row['balance']}</td>" in content.replace(' class="number"', "")
