"""`weights.base`: starts and learning rates of a narrower model carry over."""

import pytest
import torch

from blocks.graph import ConfigError, compose
from tasks.run import run_folder, train

SMALL = ["model=vit", "data=digits", "schedule=constant", "optimizer.lr=0.1"]
SMALL += ["model.params.depth=1", "model.params.dim=32", "model.params.heads=dim // 8"]
SMALL += ["callbacks.progress.style=none", "callbacks.nodes=null", "trainer.threads=1"]
SMALL += ["trainer.max_epochs=1", "trainer.limit_train_batches=1"]
SMALL += ["trainer.limit_val_batches=1", "trainer.limit_test_batches=1"]


def learn(place, *words):
    composed = compose([*SMALL, *words])
    record = run_folder.Record(place, **run_folder.describe_start(composed.config, [], place))
    train.train(composed, place, record)


def test_a_run_takes_starts_and_rates_from_its_base(tmp_path):
    learn(tmp_path, "weights.base={dim: 16}", "+weights.learning_rate={head: 10}")
    saved = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    found = {group["lr"] for group in saved["optimizer_states"][0]["param_groups"]}
    # inputs and vectors, hidden matrices, the head, its bias
    assert found == {0.1, 0.1 * 0.5, 0.1 * 5, 0.1 * 10}


def told(place, *words):
    with pytest.raises(ConfigError) as error:
        learn(place, *words)
    return str(error.value)


def test_other_optimizers_and_unknown_params_are_reported(tmp_path):
    assert (
        told(tmp_path, "weights.base={dim: 16}", "optimizer=sgd")
        == """\
the command line: weights.base={dim: 16}  weights.base
  the rules for widths are those of optimizers like Adam
  got       weights.base, with SGD
  fits      optimizer=adamw, optimizer=lion
  fix       weights.base=null"""
    )
    assert (
        told(tmp_path, "weights.base={width: 16}")
        == """\
the command line: weights.base={width: 16}  weights.base
  the model has no param 'width'
  fits      dim, depth, heads, patch, dropout, drop_path"""
    )
