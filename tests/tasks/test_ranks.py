"""Several processes that share one run: what they measure together, where one has more samples than
another.
"""

from types import SimpleNamespace

import pytest
import torch

from blocks.graph import ConfigError
from tasks.data.images.in_memory import Batches
from tasks.data.sampler import Order
from tasks.resume import checkpoint
from tasks.resume.checkpoint import Checkpoint
from tasks.run.check_training import check_processes


@pytest.mark.parametrize("world", [1, 2, 3, 5])
@pytest.mark.parametrize("samples", [1, 2, 3, 7, 11])
def test_every_process_takes_part_and_each_sample_is_seen_once(samples, world):
    tensors = {"image": torch.zeros(samples, 1, 2, 2), "label": torch.arange(samples)}
    seen = []
    for rank in range(world):
        loader = Batches(
            tensors,
            2,
            Order(samples, rank=rank, world=world),
            mean=torch.zeros(1),
            std=torch.ones(1),
        )
        assert (
            len(loader) >= 1
        )  # Lightning leaves out the validation of a process that reports none
        seen += [label for batch in loader for label in batch["label"].tolist()]
    assert sorted(seen) == list(range(samples))


@pytest.mark.parametrize(
    ("batches", "least", "asked"), [(1, 1, 0), (2, 1, 0), (2, 2, 1), (3, 2, 1), (7, 5, 4)]
)
def test_processes_ask_each_other_equally_often_within_a_validation(
    monkeypatch, batches, least, asked
):
    found = Checkpoint()
    trainer = SimpleNamespace(num_val_batches=[batches], world_size=2)
    monkeypatch.setattr("tasks.lightning.is_training", lambda trainer: True)
    monkeypatch.setattr(checkpoint, "collect_states", lambda module: {})
    monkeypatch.setattr(Checkpoint, "_reduce", lambda self, numbers, how: [min(least, *numbers)])
    calls = []
    monkeypatch.setattr(
        Checkpoint, "_requests", lambda *_, **options: calls.append(options) or (0, False)
    )
    found.on_validation_start(trainer, None)
    for _ in range(batches):
        found.on_validation_batch_end(trainer, None)
    assert len(calls) == asked


@pytest.mark.parametrize(
    ("settings", "samples", "told"),
    [
        (
            {},
            2,
            "trainer.devices\n  each process needs a sample of the training part\n"
            "  got       3 processes, 2 samples\n  fix       trainer.devices=2, or more data",
        ),
        (
            {"tune": True},
            64,
            "tune\n  the batch size is tuned on one device\n"
            "  got       tune=true with 3 processes\n  fix       tune=true trainer.devices=1",
        ),
    ],
)
def test_what_several_processes_cannot_do_is_refused(settings, samples, told):
    composed = SimpleNamespace(config=settings, origin=lambda path: "")
    with pytest.raises(ConfigError) as raised:
        check_processes(composed, SimpleNamespace(world_size=3, strategy=None), samples)
    assert str(raised.value).strip() == told
