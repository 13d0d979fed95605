"""However the targets of a step are divided among batches and processes, it is a step of one mean
over all of them.
"""

import warnings

import pytest
import torch

from blocks.graph import compose
from tasks.resume import adopt
from tasks.run import run_folder, train

QUIET = ["callbacks.progress.style=none", "callbacks.nodes=null", "trainer.limit_val_batches=1"]
TRANSLATE = [
    *(
        "experiment=translate",
        "model.params.depth=1",
        "model.params.dim=16",
        "model.params.dropout=0.0",
    ),
    *(
        "data.train=1000",
        "data.test=8",
        "trainer.limit_test_batches=1",
        "trainer.gradient_clip_val=null",
        *QUIET,
    ),
    *(
        "optimizer=sgd",
        "optimizer.lr=0.05",
        "optimizer.weight_decay=0.0",
    ),  # Adam would blow up what rounding leaves
]


def weights(place, *words):
    """The weights after a training."""
    words = [*TRANSLATE, *words]
    composed = compose(words)
    known = run_folder.describe_start(composed.config, adopt.run_overrides(words), place)
    train.train(composed, place, run_folder.Record(place, **known))
    return read(place)


def read(place):
    found = torch.load(place / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    return torch.cat(
        [value.flatten() for name, value in found.items() if name.startswith("network.")]
    )


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    return weights(
        tmp_path_factory.mktemp("start"),
        "data.batch_size=32",
        "trainer.max_steps=1",
        "optimizer.lr=1e-30",
    )


@pytest.mark.parametrize(
    ("large", "small"),
    [
        (
            ["data.batch_size=32", "trainer.max_steps=20"],
            ["data.batch_size=8", "trainer.max_steps=20"],
        ),
        # an epoch that ends before the step has its four batches
        (
            ["data.batch_size=24", "trainer.max_steps=1"],
            ["data.batch_size=8", "trainer.limit_train_batches=3"],
        ),
    ],
)
def test_small_batches_together_are_a_large_one(tmp_path, start, large, small):
    wanted = weights(tmp_path / "large", "trainer.max_epochs=1", *large)
    found = weights(
        tmp_path / "small", "trainer.max_epochs=1", "trainer.accumulate_grad_batches=4", *small
    )
    assert float((found - wanted).norm() / (wanted - start).norm()) < 2e-6


@pytest.mark.slow
def test_two_processes_are_a_large_batch(tmp_path, start):
    from tests.trust import forked

    def change():
        warnings.simplefilter(
            "default"
        )  # Lightning wonders about metrics that are sums over the processes already

    together = [
        "trainer=ddp",
        "trainer.accelerator=cpu",
        "trainer.devices=2",
        "trainer.precision=32-true",
    ]
    split = [
        "data.batch_size=8",
        "trainer.accumulate_grad_batches=2",
        "trainer.max_steps=20",
        "trainer.max_epochs=1",
    ]
    wanted = weights(
        tmp_path / "large", "data.batch_size=32", "trainer.max_steps=20", "trainer.max_epochs=1"
    )
    process = forked.begin(
        tmp_path / "split", [*TRANSLATE, *together, *split], processes=2, change=change
    )
    assert forked.wait(process, 300) == 0, (tmp_path / "split" / "output.txt").read_text(
        encoding="utf-8"
    )
    found = read(tmp_path / "split")
    assert float((found - wanted).norm() / (wanted - start).norm()) < 2e-6
