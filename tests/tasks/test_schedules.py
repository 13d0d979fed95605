"""Schedules: parity with torch and with the formulas of the papers, warm-up in steps, time."""

import math
from pathlib import Path

import pytest
import torch

from blocks.graph import ConfigError, compose
from tasks.config.duration import parse_duration
from tasks.errors import ArgumentError
from tasks.optimize.schedule import (
    Constant,
    Cosine,
    InverseSquareRoot,
    OneCycle,
    StepDecay,
    WarmupStableDecay,
)
from tasks.run import run_folder, train

STEPS = 97


def follow(scheduler, steps):
    """Return the rate and the momentum of each step."""
    group = scheduler.optimizer.param_groups[0]
    seen = []
    for _ in range(steps):
        momentum = group["betas"][0] if "betas" in group else group["momentum"]
        seen.append((group["lr"], momentum))
        scheduler.optimizer.step()
        scheduler.step()
    return seen


def adamw(rate=0.3):
    return torch.optim.AdamW([torch.zeros(1, requires_grad=True)], lr=rate)


@pytest.mark.parametrize("warmup", [0.3, 0.21, 0.5])
@pytest.mark.parametrize(("shape", "torch_shape"), [("cosine", "cos"), ("linear", "linear")])
def test_one_cycle_is_that_of_torch(warmup, shape, torch_shape):
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        adamw(), 0.3, total_steps=STEPS, pct_start=warmup, anneal_strategy=torch_shape
    )
    ours = OneCycle(warmup=warmup, shape=shape, momentum=[0.85, 0.95])(adamw(), STEPS)
    expected = follow(theirs, STEPS - 1)  # torch refuses a step after the last
    assert follow(ours, STEPS - 1) == [pytest.approx(pair, rel=1e-9) for pair in expected]


def test_one_cycle_in_steps_reaches_its_peak_there_and_may_leave_the_momentum():
    seen = follow(OneCycle(warmup=11)(adamw(), STEPS), STEPS)
    rates = [rate for rate, _ in seen]
    assert rates.index(max(rates)) == 10
    assert rates[0] == pytest.approx(0.3 / 25)
    assert rates[-1] == pytest.approx(0.3 * 4e-6)
    assert {momentum for _, momentum in seen} == {0.9}


@pytest.mark.parametrize("milestones", [[0.5, 0.75], [13, 61]])
def test_step_decay_is_that_of_torch(milestones):
    made = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.3)
    again = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.3)
    steps = [round(each * STEPS) if each < 1 else each for each in milestones]
    theirs = torch.optim.lr_scheduler.MultiStepLR(made, steps, gamma=0.2)
    ours = StepDecay(milestones=milestones, gamma=0.2)(again, STEPS)
    assert follow(ours, STEPS) == [pytest.approx(pair) for pair in follow(theirs, STEPS)]


def test_wsd_follows_the_formula_of_its_paper():
    """Hagele et al. 2024, section 3: f = 1 - sqrt((n - (N - N_decay)) / N_decay)."""
    total, rise, fall = 200, 20, 40
    schedule = WarmupStableDecay(warmup=rise, decay=fall, final=0.0)
    for step in range(total):
        expected = 1.0
        if step < rise:
            expected = (step + 1) / rise
        elif step > total - fall:
            expected = 1 - math.sqrt((step - (total - fall)) / fall)
        assert schedule.factor(step, total) == pytest.approx(expected)
    shares = WarmupStableDecay(warmup=0.1, decay=0.2)
    factors = [shares.factor(step, total) for step in range(total)]
    assert factors == [schedule.factor(step, total) for step in range(total)]


@pytest.mark.parametrize(("shape", "half"), [("linear", 0.55), ("cosine", 0.55), ("sqrt", None)])
def test_wsd_falls_in_the_shape_that_is_asked(shape, half):
    schedule = WarmupStableDecay(warmup=0, decay=50, shape=shape, final=0.1)
    if half is None:
        half = 0.1 + 0.9 * (1 - math.sqrt(0.5))
    assert schedule.factor(75, 100) == pytest.approx(half)
    assert schedule.factor(50, 100) == 1.0


@pytest.mark.parametrize(
    "kind", [Cosine, Constant, InverseSquareRoot, WarmupStableDecay, StepDecay]
)
def test_a_warm_up_in_steps_is_one_in_shares(kind):
    steps, share = kind(warmup=25), kind(warmup=0.25)
    assert [steps.factor(step, 100) for step in range(100)] == [
        share.factor(step, 100) for step in range(100)
    ]
    assert steps.factor(0, 1000) == steps.factor(0, 100) == 1 / 25


@pytest.mark.parametrize(
    "schedule", [Constant(warmup=5), InverseSquareRoot(warmup=5), StepDecay(milestones=[7])]
)
def test_what_is_in_steps_needs_no_end_and_follows_no_clock(schedule):
    assert schedule.endless
    expected = [schedule.factor(step, 20) for step in range(20)]
    for clock in (None, lambda: 0.9):
        rates = [rate for rate, _ in follow(schedule(adamw(1.0), math.inf, clock), 20)]
        assert rates == pytest.approx(expected)


def test_a_warm_up_in_steps_is_followed_by_the_rest_of_the_time():
    passed = [0.0]
    scheduler = Cosine(warmup=4, final=0.1)(adamw(1.0), math.inf, lambda: passed[0])
    rates = []
    for passed[0] in (0.05, 0.1, 0.15, 0.2, 0.6, 1.0):
        rates.append(scheduler.get_last_lr()[0])
        scheduler.optimizer.step()
        scheduler.step()
    rates.append(scheduler.get_last_lr()[0])
    # the last step of the warm-up began at 0.15 of the time, from where the cosine begins
    half_way = 0.1 + 0.9 * (1 + math.cos(math.pi * (0.6 - 0.15) / 0.85)) / 2
    expected = [0.25, 0.5, 0.75, 1.0]
    assert rates[:4] == pytest.approx(expected)
    assert rates[5] == pytest.approx(half_way, abs=1e-3)
    assert rates[6] == pytest.approx(0.1, abs=1e-3)


def test_a_resumed_schedule_continues_to_the_bit():
    for schedule in (OneCycle(momentum=[0.85, 0.95]), WarmupStableDecay(), StepDecay(warmup=3)):
        whole = follow(schedule(adamw(), STEPS), STEPS)
        first, second = schedule(adamw(), STEPS), schedule(adamw(), STEPS)
        seen = follow(first, 60)
        second.optimizer.load_state_dict(first.optimizer.state_dict())
        second.load_state_dict(first.state_dict())
        assert seen + follow(second, STEPS - 60) == whole
        assert second.note is None


def test_a_schedule_that_does_not_fit_says_so():
    assert Cosine(warmup=500)(adamw(), 8).note == (
        "schedule  the warm-up has 500 steps and the training 8: the learning rate only rises"
    )
    assert WarmupStableDecay(warmup=50, decay=60)(adamw(), 100).note == (
        "schedule  warm-up and decay have 110 steps and the training 100: the decay begins after "
        "the warm-up and is shorter"
    )
    assert Cosine(warmup=7)(adamw(), 8).note is None


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (
            lambda: Cosine(warmup=5e2),
            "warmup must be a share in [0, 1) or a whole number of steps; got warmup=500.0; "
            "fits: e.g. 0.1 of all steps, or 500 steps",
        ),
        (
            lambda: WarmupStableDecay(decay=-1),
            "decay must be a share in [0, 1) or a whole number of steps; got decay=-1; "
            "fits: e.g. 0.1 of all steps, or 500 steps",
        ),
        (
            lambda: StepDecay(gamma=1.5),
            "gamma must be in (0, 1]; got gamma=1.5; fits: e.g. 0.1",
        ),
        (
            lambda: OneCycle(momentum=[0.95, 0.85]),
            "momentum must be the lowest and the highest one, in [0, 1); got momentum=[0.95, 0.85];"
            " fits: [0.85, 0.95]; null leaves that of the optimizer",
        ),
        (
            lambda: WarmupStableDecay(shape="square"),
            "shape is none of its choices; got shape=square; fits: sqrt, linear, cosine",
        ),
    ],
)
def test_impossible_values_are_told(make, text):
    with pytest.raises(ArgumentError) as error:
        make()
    assert str(error.value) == text


# Time ---------------------------------------------------------------------------------------------


def test_durations_are_written_as_people_write_them():
    seconds = {"10m": 600, "1h30m": 5400, "90s": 90, "2d": 172800, "0.5h": 1800}
    for text, expected in seconds.items():
        assert parse_duration(text).total_seconds() == expected


def learn(place: Path, *words: str) -> str:
    """Train; return the message of a mistake."""
    small = ["model.params.depth=1", "model.params.dim=16", "callbacks.progress.style=none"]
    composed = compose([*small, "callbacks.nodes=null", *words])
    record = run_folder.Record(place, **run_folder.describe_start(composed.config, [], place))
    try:
        train.train(composed, place, record)
    except ConfigError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["trainer.time=600"], "trainer.time\n  time is no duration\n  got       time=600\n"),
        (["trainer.time=0s"], "  fits      10m, 1h30m, 90s, 2d; null: no limit"),
        (
            ["trainer.time=10m", "+trainer.max_time=00:01:00:00"],
            "  time and max_time both limit the training\n"
            "  got       time=10m, max_time=00:01:00:00\n"
            "  fix       one of them",
        ),
        (
            ["trainer.time=10m", "schedule=wsd", "schedule.decay=50"],
            "  decay is in steps, and how many steps fit into the time is unknown\n"
            "  got       decay=50\n",
        ),
        (["schedule.warmup=1.5"], "warmup must be a share in [0, 1) or a whole number of steps"),
    ],
)
def test_a_wrong_budget_is_told_before_anything_is_trained(tmp_path, words, text):
    assert text in learn(tmp_path, *words)


def test_time_ends_a_training_and_its_schedule(tmp_path):
    words = ["trainer.time=1.5s", "trainer.max_epochs=-1", "schedule=wsd", "optimizer.lr=0.001"]
    # short epochs: on a slow processor as well some of them end before the decay
    words += [f"trainer.limit_{part}_batches=2" for part in ("train", "val", "test")]
    assert not learn(tmp_path, *words)
    lines = (tmp_path / "metrics.csv").read_text(encoding="utf-8").splitlines()
    column = lines[0].split(",").index("train/learning rate")
    rates = [float(line.split(",")[column]) for line in lines[1:]]
    assert max(rates) == 0.001
    assert rates[-1] < 0.0005
