"""Learning rates by layer, and accumulation by tokens."""

import pytest
import torch
from torch import nn

from blocks.graph import ConfigError, assemble, compose
from tasks.errors import ArgumentError
from tasks.optimize.accumulate import choose_batches, count_tokens
from tasks.optimize.layers import layer_rates
from tasks.run import run_folder, train

SMALL = [
    "callbacks.progress.style=none",
    "callbacks.nodes=null",
    "trainer.max_epochs=1",
    "trainer.limit_train_batches=4",
    "trainer.limit_val_batches=1",
    "trainer.limit_test_batches=1",
    "trainer.threads=1",
]
TEXT = ["experiment=recall", "model.params.depth=1", "model.params.dim=16", "data.batch_size=2"]
TEXT += ["data.lag=20", "data.train=8", "data.val=2", "data.test=2"]


def learn(place, *words):
    composed = compose([*SMALL, *words])
    record = run_folder.Record(place, **run_folder.describe_start(composed.config, [], place))
    train.train(composed, place, record)


def test_rates_fall_from_the_head_to_the_patches_as_in_beit():
    network = assemble(compose(["model=vit", "data=digits", "model.params.depth=3"]))
    rates = layer_rates(network, 0.5)
    expected = {"patch": 4, "token": 4, "position": 4, "norm": 0, "head": 0}
    expected |= {f"layers.{number}": 3 - number for number in range(3)}
    for name, rate in rates.items():
        (power,) = {each for path, each in expected.items() if name.startswith(f"{path}.")}
        assert rate == 0.5**power, name
    assert set(rates) == {name for name, _ in network.named_parameters()}


def test_what_lies_between_two_layers_counts_to_the_second():
    network = assemble(compose(["model=swin", "data=digits"]))
    rates = layer_rates(network, 0.5)
    assert rates["stages.0.layers.1.mlp.inner.expand.weight"] == 0.5**3
    assert rates["stages.1.merge.reduce.weight"] == 0.5**2
    assert rates["stages.1.layers.0.mlp.inner.expand.weight"] == 0.5**2


def test_a_node_that_is_inserted_counts_where_it_runs():
    insert = "+model.graph.early={block: Linear, features: 64, after: patch}"
    network = assemble(compose(["model=vit", "data=digits", "model.params.depth=2", insert]))
    assert layer_rates(network, 0.5)["early.weight"] == 0.5**3


def test_the_optimizer_has_the_rates_times_those_of_patterns(tmp_path):
    words = ["model.params.depth=1", "model.params.dim=16", "weights.layer_decay=0.5"]
    words += ["+weights.learning_rate={head: 10}", "optimizer.lr=0.1", "schedule=constant"]
    learn(tmp_path, *words)
    saved = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    found = {group["lr"] for group in saved["optimizer_states"][0]["param_groups"]}
    assert found == {0.1 * 0.25, 0.1 * 0.5, 0.1, 0.1 * 10}


def test_a_network_without_layers_and_a_wrong_decay_are_told(tmp_path):
    with pytest.raises(ArgumentError, match="repeats nothing, so it has no layers"):
        layer_rates(nn.Linear(3, 5), 0.5)
    with pytest.raises(ConfigError) as error:
        learn(tmp_path, "weights.layer_decay=1.5")
    assert "layer_decay must be in (0, 1]\n  got       layer_decay=1.5\n" in str(error.value)
    with pytest.raises(ConfigError) as error:
        learn(tmp_path, "weights.layer_decay=deep")
    assert "layer_decay is a number in (0, 1]" in str(error.value)


# Accumulation -------------------------------------------------------------------------------------


def test_batches_come_nearest_to_the_tokens():
    facts = {"tokens": {"tokens": 128, "dtype": "int"}, "mask": {"tokens": 128, "dtype": "bool"}}
    assert count_tokens(facts) == 128
    assert [choose_batches(asked, facts, 8) for asked in (1, 1024, 2600, 4096)] == [1, 1, 3, 4]


def test_a_step_takes_the_tokens_that_are_asked(tmp_path, capsys):
    learn(tmp_path, *TEXT, "trainer.accumulate_tokens=120")
    saved = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert saved["global_step"] == 2  # of four batches
    said = capsys.readouterr().out
    assert "note: a step takes 2 batches of each process, 112 tokens in all" in said


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["trainer.accumulate_tokens=0"], "accumulate_tokens is a number of tokens\n"),
        (
            ["trainer.accumulate_tokens=100"],
            "  these data have no tokens\n  got       accumulate_tokens=100\n",
        ),
        (
            [*TEXT, "trainer.accumulate_tokens=120", "trainer.accumulate_grad_batches=2"],
            "  got       120 tokens, 2 batches\n",
        ),
    ],
)
def test_a_wrong_number_of_tokens_is_told(tmp_path, words, text):
    with pytest.raises(ConfigError) as error:
        learn(tmp_path, *words)
    assert text in str(error.value)
