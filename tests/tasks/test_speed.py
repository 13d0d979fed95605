"""Samples and tokens a second, the time of waiting for data, and the share of a GPU's peak."""

import time
from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
import torch
from torch import nn

from tasks.callbacks.step_time import StepTime
from tasks.process.peaks import peak_operations
from tasks.run import fit


class Slow:
    """Batches of three texts of five tokens, 20 ms after each other."""

    def __iter__(self):
        for _ in range(6):
            time.sleep(0.02)
            yield {"tokens": torch.ones(3, 5, dtype=torch.long), "label": torch.zeros(3)}

    def __len__(self):
        return 6


class Task(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(5, 1)

    def training_step(self, batch, index):
        time.sleep(0.01)
        return self.layer(batch["tokens"].float()).mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.mark.filterwarnings("ignore:.*LeafSpec", "ignore:The 'train_dataloader' does not have many")
def test_speeds_count_what_was_trained_on_and_waiting_what_was_waited_for(tmp_path):
    clock = StepTime()
    trainer = pl.Trainer(
        max_epochs=2,
        accelerator="cpu",
        callbacks=[clock],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    trainer.fit(Task(), Slow())
    found = clock.measures()
    assert len(clock.seconds) == 12
    assert (clock.samples, clock.tokens) == (33, 165)  # without the first step
    assert clock.waited >= 11 * 0.02
    seconds = sum(clock.seconds[1:]) + clock.waited
    assert found["train/samples per second"] == pytest.approx(33 / seconds)
    assert found["train/tokens per second"] == pytest.approx(165 / seconds)
    assert found["train/waiting"] == pytest.approx(clock.waited / seconds)
    speed = f"{found['train/tokens per second']:,.0f} tokens/s"
    assert clock.text() == f"{speed}  waiting {found['train/waiting']:.0%}"


def test_one_step_gives_no_speed():
    clock = StepTime()
    clock.seconds = [1.0]
    assert clock.measures() == {}
    assert clock.text() == ""


@pytest.mark.parametrize(
    ("device", "precision", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", "bf16-mixed", 989.4e12),
        ("NVIDIA H100 PCIe", "16-mixed", 756e12),
        ("NVIDIA H200", "bf16-true", 989.4e12),
        ("NVIDIA A100-SXM4-80GB", "bf16-mixed", 312e12),
        ("NVIDIA A10", "bf16-mixed", 125e12),
        ("NVIDIA GeForce RTX 4090", "bf16-mixed", 165.2e12),
        ("NVIDIA H200 NVL", "bf16-mixed", 835.5e12),
        ("Tesla T4", "16-mixed", 65e12),
        ("Tesla V100-PCIE-32GB", "16-mixed", 112e12),
        ("NVIDIA H100 80GB HBM3", "32-true", None),
        ("NVIDIA RTX A1000", "bf16-mixed", None),
    ],
)
def test_the_peak_is_that_of_the_whole_name_and_the_precision(device, precision, peak):
    assert peak_operations(device, precision) == peak


def test_the_utilization_counts_three_passes_of_all_devices(monkeypatch):
    """PaLM, appendix B: 6 operations a multiply-add of the forward pass."""
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA A100-SXM4-80GB")
    trainer = SimpleNamespace(
        strategy=SimpleNamespace(root_device=torch.device("cuda")),
        precision="bf16-mixed",
        world_size=2,
    )
    speed = {"train/samples per second": 1000.0}
    share = fit.measure_utilization(trainer, 10**11, speed)
    assert share == pytest.approx(6 * 1e11 * 1000 / (2 * 312e12))
    assert fit.measure_utilization(trainer, None, speed) is None
    trainer.precision = "32-true"
    assert fit.measure_utilization(trainer, 10**11, speed) is None
