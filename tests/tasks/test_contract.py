"""What a task needs of a model is compared with what the model takes and gives before anything is
trained.
"""

from pathlib import Path

import pytest

from blocks.__main__ import main
from blocks.graph import ConfigError, compose, plan
from tasks.run.contract import check_contract

ALL = sorted(
    path.stem for path in (Path(__file__).parents[2] / "conf" / "experiment").glob("*.yaml")
)
QUICK = ("answer", "masked", "names", "recall", "translate")
TEXT = {"tokens": {"tokens": 127, "dtype": "int", "vocab": 101}, "vocab": 101}
CLASSES = {**TEXT, "padding_mask": {"tokens": 127, "dtype": "bool"}, "classes": 7}
IMAGE = {"image": {"channels": 3, "height": 32, "width": 32}, "classes": 7}
LANGUAGE = ["data=topics", "task=language"]
SOUND = {"sound": {"tokens": 11, "dim": 5}, "classes": 7}


def check(overrides, facts):
    composed = compose(overrides)
    check_contract(composed, plan(composed, facts), facts)


def refusal(overrides, facts):
    with pytest.raises(ConfigError) as error:
        check(overrides, facts)
    return str(error.value).splitlines()


def test_a_spatial_output_on_classes_is_refused_and_the_fix_that_is_named_fits():
    lines = refusal(["model=unet"], IMAGE)
    assert lines[0].startswith("conf/model/unet.yaml:")
    assert lines[0].endswith("  model.outputs.logits")
    assert lines[1:] == [
        "  Classify needs the output logits (batch, classes)",
        "  got       logits (batch, 7, 32, 32) of head (Conv2d)",
        "  from      the command line: model=unet",
        "  fits      (batch, 7)",
        "  fix       '+model.graph.pool={block: GlobalAverage, after: head}' "
        "model.outputs.logits=pool, "
        "or another model or task",
    ]
    fix = ["+model.graph.pool={block: GlobalAverage, after: head}", "model.outputs.logits=pool"]
    check(["model=unet", *fix], IMAGE)


def test_tokens_on_classes_are_refused_and_the_fix_that_is_named_fits():
    lines = refusal(["~model.graph.mean", "model=encoder", "data=labelled"], CLASSES)
    assert lines[1:] == [
        "  Classify needs the output logits (batch, classes)",
        "  got       logits (batch, 127, 7) of head (Linear)",
        "  from      the command line: ~model.graph.mean model=encoder data=labelled",
        "  fits      (batch, 7)",
        "  fix       '+model.graph.pool={block: MeanTokens, after: head}' "
        "model.outputs.logits=pool, "
        "or another model or task",
    ]
    fix = ["+model.graph.pool={block: MeanTokens, after: head}", "model.outputs.logits=pool"]
    check(["~model.graph.mean", "model=encoder", "data=labelled", *fix], CLASSES)


def judge(model, facts=SOUND):
    composed = compose([])
    composed.config["model"] = model
    check_contract(composed, plan(composed, facts), facts)


def test_an_input_that_no_batch_has_is_refused():
    graph = {
        "flat": {"block": "Flatten", "in": "sound"},
        "join": {"block": "Concat", "in": ["flat", "noise"]},
        "head": {"block": "Linear", "features": "data.classes"},
    }
    with pytest.raises(ConfigError) as error:
        judge(
            {
                "inputs": {"sound": "data.sound", "noise": [13]},
                "graph": graph,
                "outputs": {"logits": "head"},
            }
        )
    assert str(error.value).splitlines()[1:] == [
        "  no batch of these data has the input noise of the model",
        "  got       noise (batch, 13)",
        "  fits      sound",
        "  fix       a name that fits, `optional: true` where it may be left out, or another "
        "model or task",
    ]


def test_an_optional_input_under_a_name_that_no_batch_has_is_refused():
    """It would always be absent: a mask that is never handed in."""
    renamed = [
        "model=encoder",
        "data=labelled",
        "~model.inputs.padding_mask",
        "+model.inputs.mask={shape: data.padding_mask, optional: true}",
        "model.graph.layers.in.padding_mask=mask",
        "model.graph.mean.in.padding_mask=mask",
    ]
    assert (
        refusal(renamed, CLASSES)[1] == "  no batch of these data has the input mask of the model"
    )
    check(["model=gpt", *LANGUAGE], TEXT)  # its mask is optional, and these data have none


def test_a_model_without_logits_is_refused():
    lines = refusal(["~model.outputs.logits", "+model.outputs={scores: head, pooled: pool}"], IMAGE)
    assert lines[1:] == [
        "  Classify needs the output logits (batch, classes)",
        "  got       pooled (batch, 64), scores (batch, 7)",
        "  from      the command line: ~model.outputs.logits +model.outputs={scores: head, "
        "pooled: pool}",
        "  fits      logits (batch, 7)",
        "  fix       `outputs: {logits: NODE}`, NODE being e.g. {block: Linear, features: "
        "data.classes}; "
        "or another model or task",
    ]


def test_a_wrong_number_of_classes_is_refused():
    lines = refusal(["model.graph.head.features=12"], IMAGE)
    assert lines[1:] == [
        "  Classify needs the output logits (batch, classes)",
        "  got       logits (batch, 12) of head (Linear)",
        "  from      the command line: model.graph.head.features=12",
        "  fits      (batch, 7)",
        "  fix       a head of data.classes features, or another model or task",
    ]


def test_one_output_without_a_name_is_the_logits_and_several_are_none():
    graph = {"flat": {"block": "Flatten"}, "head": {"block": "Linear", "features": "data.classes"}}
    own = {"inputs": {"sound": "data.sound"}, "graph": graph}
    judge(own)
    judge({**own, "outputs": "head"})
    judge({**own, "outputs": {"logits": "head", "flat": "flat"}})
    with pytest.raises(ConfigError, match=r"got       \[0\] \(batch, 7\), \[1\] \(batch, 55\)"):
        judge({**own, "outputs": ["head", "flat"]})


def test_sizes_of_its_own_are_those_of_the_data_where_it_can_take_them():
    large = {"tokens": {"tokens": 2000, "dtype": "int", "vocab": 101}, "vocab": 101}
    check(["model=gpt2", *LANGUAGE], TEXT)  # it states 1,024 tokens of 50,257
    lines = refusal(["model=gpt2", *LANGUAGE], large)
    assert lines[1:5] == [
        "  the model cannot take what these data give",
        "  got       tokens (batch, 2000) int64",
        "            more tokens than learned positions; got 2000 tokens, 1024 positions; fix: "
        "length=2000 or more "
        "when it is built",
        "            graph.position  conf/model/gpt2.yaml:10:3",
    ]
    many = {"tokens": {"tokens": 127, "dtype": "int", "vocab": 60000}, "vocab": 60000}
    assert refusal(["model=gpt2", *LANGUAGE], many)[1:3] == [
        "  the vocabulary of the data is larger than that of the input tokens",
        "  got       60000 tokens of the data, 50257 of the model",
    ]


def test_a_check_with_a_task_says_the_same(capsys):
    assert main(["check", "model=unet", "task=classify", "data=digits"]) == 2
    assert "Classify needs the output logits (batch, classes)" in capsys.readouterr().out
    assert main(["check", "model=unet", "data=digits"]) == 0


@pytest.mark.parametrize(
    "name", [pytest.param(each, marks=[pytest.mark.slow] * (each not in QUICK)) for each in ALL]
)
def test_every_experiment_fits_its_task(name, capsys):
    assert main(["check", f"experiment={name}"]) == 0, capsys.readouterr().out
