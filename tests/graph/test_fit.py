"""A param solved for a budget: no legal value is nearer."""

import pytest

from blocks.__main__ import main
from blocks.graph import ConfigError, compose, plan
from blocks.graph.describe.fit import Search, fit
from blocks.graph.record.record import count_parameters


def parameters(overrides, key, value):
    try:
        return count_parameters(plan(compose([*overrides, f"{key}={value}"])).model)
    except ConfigError:
        return None


@pytest.mark.parametrize(
    ("key", "budget"), [("model.params.dim", 1.5e5), ("model.params.depth", 5e5)]
)
def test_no_legal_value_is_nearer(key, budget):
    found = fit(["model=vit"], key, budget)
    around = {
        value: parameters(["model=vit"], key, value)
        for value in range(max(1, found.value - 6), found.value + 7)
    }
    nearest = min(
        (value for value in around if around[value] is not None),
        key=lambda v: abs(around[v] - budget),
    )
    assert found.value == nearest
    assert found.parameters == around[nearest]
    assert found.off == around[nearest] / budget - 1


@pytest.mark.parametrize("step", [1, 3, 32])
@pytest.mark.parametrize("budget", [1, 50, 7_001, 123_456])
@pytest.mark.parametrize("rising", [True, False])
def test_the_search_finds_what_trying_all_finds(step, budget, rising):
    def size(value: int) -> int:
        if value % step:
            raise ConfigError([])
        return value**2 if rising else 20_000 // value

    legal = range(step, 41_000, step)
    nearest = min(abs(size(value) - budget) for value in legal)
    assert abs(size(Search(size).nearest(budget, 2 * step)) - budget) == nearest


def test_multiply_adds_are_a_budget_too():
    found = fit(["model=swin"], "model.params.dim", 1e7, "macs")
    assert abs(found.off) < 0.05
    assert found.off == found.macs / 1e7 - 1


def test_several_models_meet_one_budget(capsys):
    assert main(["fit", "model=vit,cnn", "model.params.dim=?", "parameters=1e5"]) == 2
    assert "there is no such param" in capsys.readouterr().err  # cnn calls it width
    assert main(["fit", "model=vit,swin", "params.dim=?", "parameters=1e5"]) == 0
    assert (
        capsys.readouterr().out
        == """\
parameters    MACs    off  use
---------------------------------------------------------
    96,766  1.68 M  -3.2%  model=vit model.params.dim=44
   104,142  2.68 M  +4.1%  model=swin model.params.dim=28
"""
    )
    assert (
        main(
            [
                "fit",
                "model=vit,swin",
                "params.dim=?",
                "parameters=1e5",
                "data.val=0.2",
                "--commands",
            ]
        )
        == 0
    )
    assert capsys.readouterr().out.splitlines() == [
        "python train.py model=vit data.val=0.2 model.params.dim=44",
        "python train.py model=swin data.val=0.2 model.params.dim=28",
    ]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["parameters=1e6"], "nothing to solve for"),
        (["params.dim=?", "params.depth=?", "parameters=1e6"], "one unknown at a time"),
        (["params.dim=?"], "no budget"),
        (["params.dim=?", "parameters=many"], "a budget is a number above 0"),
        (["model=swin", "params.depths=?", "parameters=1e6"], "this is no whole number"),
        (["params.dmi=?", "parameters=1e6"], "there is no such param"),
        (["model/mlp=?", "parameters=1e6"], "only a number has a nearest value"),
    ],
)
def test_a_question_that_cannot_be_answered_is_told(words, told, capsys):
    assert main(["fit", *words]) == 2
    assert f"  {told}\n" in capsys.readouterr().err


def test_an_unknown_param_is_told_with_those_there_are(capsys):
    assert main(["fit", "model=swin", "params.depths=?", "parameters=1e6"]) == 2
    assert capsys.readouterr().err.splitlines()[1:] == [
        "  this is no whole number",
        "  got       model.params.depths=?",
        "  fits      dim=?, patch=?, window=?",
    ]
