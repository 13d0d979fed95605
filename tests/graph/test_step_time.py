"""The estimated time of a training step: arithmetic on known ceilings, and what is kept of them."""

import json

import pytest
import torch

from blocks.__main__ import main
from blocks.graph.describe.answers import ceiling
from blocks.graph.describe.answers.ceiling import Ceiling, ceiling_file, find_ceiling
from blocks.graph.describe.answers.step_time import count_steps, estimate_step
from blocks.graph.describe.cost import Cost
from blocks.graph.describe.memory_budget import Setting
from tests.graph.test_answers import must_fit

SLOW = Ceiling(float32=1e9, bfloat16=4e9, memory=1e8)


def setting(computes):
    return Setting(
        batch=5,
        shards=1,
        divided=1,
        computes=computes,
        keeps=torch.float32,
        states=2,
        recomputes=False,
    )


def test_a_step_by_hand():
    cost = Cost(macs=7_000_000, memory=300_000)
    whole = estimate_step(cost, 11_000, setting(torch.float32), SLOW)
    assert whole.products == pytest.approx(6 * 7e6 * 5 / 1e9)
    assert whole.memory == pytest.approx(4 * 3e5 * 5 / 1e8)
    assert whole.optimizer == pytest.approx(8 * 4 * 11_000 / 1e8)
    assert whole.seconds == pytest.approx(0.21 + 0.06 + 0.00352)
    half = estimate_step(cost, 11_000, setting(torch.bfloat16), SLOW)
    assert (half.products, half.memory) == pytest.approx((whole.products / 4, whole.memory / 2))


@pytest.mark.parametrize(
    ("trainer", "steps"),
    [
        ({"max_epochs": 3}, 12),
        ({"max_epochs": 3, "max_steps": 7}, 7),
        ({"max_epochs": -1, "max_steps": 50}, 50),
        ({"max_epochs": -1}, None),
    ],
)
def test_the_steps_of_a_training(trainer, steps):
    assert count_steps(101, 32, trainer) == steps


def test_a_machine_is_measured_once_and_again_if_asked(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    asked = []
    monkeypatch.setattr(ceiling, "measure", lambda: asked.append(None) or SLOW)
    words = ["explain", "model=vit", "data=digits", "--time", "--json", "--samples", "1000"]
    assert main(words) == 0
    answer = json.loads(capsys.readouterr().out)
    must_fit("time", answer)
    assert answer["training"] == pytest.approx(answer["step"] * answer["steps"])
    assert find_ceiling() == SLOW
    assert len(asked) == 1
    assert main([*words, "--measure"]) == 0
    assert len(asked) == 2
    ceiling_file().write_text("{damaged", encoding="utf-8")
    assert find_ceiling() == SLOW
    assert len(asked) == 3


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--time", "--samples", "-3"], "-3 is no number of samples; 1, 2, ..."),
        (["--time", "--samples", "0"], "0 is no number of samples; 1, 2, ..."),
        (["--time", "--cache"], "not allowed with argument"),
        (["--memory", "--time"], "not allowed with argument"),
        (["--samples", "10"], "--samples belongs to --time"),
        (["--measure"], "--measure belongs to --time"),
        (["--memory", "--csv"], "--csv belongs to the table of nodes"),
        (["--cache", "--depth", "0"], "--depth belongs to the table of nodes"),
        (["--why", "head", "--all"], "--all belongs to the table of nodes"),
        (["--csv", "--depth", "1"], "--depth belongs to the table of nodes"),
    ],
)
def test_no_option_is_ignored(words, problem, capsys):
    try:
        status = main(["explain", "model=vit", "--no-server", *words])
    except SystemExit as error:
        status = error.code
    assert status == 2
    assert problem in capsys.readouterr().err


def test_a_slow_product_is_measured_with_small_matrices(monkeypatch):
    """Without kernels for bfloat16 one product of 2048 x 2048 takes minutes."""
    sides = []

    def best(work, seconds):
        sides.append(len(work.args[0]))
        return 2 * sides[-1] ** 3 / speed

    monkeypatch.setattr(ceiling, "best", best)
    for speed, wanted in ((2e9, [256, 512]), (1e11, [256, 512, 1024, 2048])):
        sides.clear()
        assert ceiling.measure_product(torch.bfloat16) == pytest.approx(speed)
        assert sides == wanted
