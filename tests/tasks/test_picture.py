"""The picture of a sweep: what is wrong with its section is told; what is drawn is what was measured."""

import re

import pytest

from blocks.graph import ConfigError, compose
from tasks import chart, folder, picture, run, sweep
from tasks.picture import Picture


def told(spec):
    composed = compose(["data=recall", "task=recall", "model=gpt"])
    composed.config["picture"] = spec
    try:
        run.check_sections(composed)
    except ConfigError as error:
        return str(error)
    return "nothing"


GOOD = {"kind": "lines", "x": "data.lag", "y": "test/accuracy", "series": "model"}
WRONG = {
    "a kind": (GOOD | {"kind": "pie"}, "kind must be one of lines, bars, heat"),
    "a key": (GOOD | {"colour": "red"}, "Picture has no argument colour"),
    "no y": ({"kind": "bars", "x": "model"}, "picture.y is missing"),
    "a setting": (GOOD | {"x": "data.lagg"}, "data.lagg is no setting\n  fix       did you mean data.lag?"),
    "a measure": (GOOD | {"y": "accuracy"}, "accuracy is no measure of a run"),
    "a height that was set": (GOOD | {"y": "data.lag"}, "data.lag is no measure of a run"),
    "a series that was measured": (GOOD | {"series": "macs"}, "macs is no setting"),
    "heat without a value": ({"kind": "heat", "x": "model", "y": "seed"}, "picture.value is missing"),
    "a value without heat": (GOOD | {"value": "macs"}, "value belongs to heat; lines show their measure as y"),
    "an axis": (GOOD | {"log": ["z"]}, "log names axes\n  got       log=['z']\n  fits      [x], [y] or [x, y]"),
    "no mapping": ("lines", "picture must be a mapping"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_picture_is_told_before_the_first_run(case):
    spec, words = WRONG[case]
    assert words in told(spec)


def test_a_good_picture_is_not_complained_of():
    assert told(GOOD) == "nothing"
    assert told({"kind": "heat", "x": "optimizer.lr", "y": ["optimizer", "model"], "value": "test/bleu"}) == "nothing"
    assert told(GOOD | {"x": "parameters", "log": ["x"], "marks": {"chance": 0.5}}) == "nothing"


@pytest.fixture
def place(tmp_path):
    """A sweep of two models, two lags and two seeds; the second model fails at the longer lag."""
    jobs = [
        {"overrides": [f"model={m}", f"data.lag={lag}", f"seed={s}"], "folder": f"{m}{lag}{s}"}
        for m in ("rnn", "gpt") for lag in (5, 20) for s in (0, 1)
    ]  # fmt: skip
    sweep.write_plan(tmp_path, jobs)
    for number, job in enumerate(jobs):
        record = folder.Record(tmp_path / job["folder"])
        if job["folder"].startswith("gpt20"):
            record.add(status="failed", error="no")
        else:
            test = {"test/accuracy": 0.5 + number / 20}
            record.add(status="finished", seconds=1, macs=1000 * number, test=test)
    return tmp_path


def drawn(place, **spec):
    return picture.draw(Picture(**spec), sweep.read(place), place)


def test_a_point_is_the_mean_of_its_seeds_and_its_whisker_their_range(place):
    shown = drawn(place, kind="lines", x="data.lag", y="test/accuracy", series="model")
    titles = re.findall("<title>(.*?)</title>", shown)
    assert titles == ["5: 0.525 (0.5 to 0.55)", "20: 0.625 (0.6 to 0.65)", "5: 0.725 (0.7 to 0.75)"]
    assert shown.count('class="whisker"') == 3
    assert ">rnn</text>" in shown
    assert ">gpt</text>" in shown


def test_names_are_written_instead(place):
    names = {"rnn": "recurrent <net>", "data.lag": "steps"}
    shown = drawn(place, kind="lines", x="data.lag", y="test/accuracy", series="model", names=names)
    assert ">recurrent &lt;net&gt;</text>" in shown
    assert ">steps</text>" in shown
    assert ">rnn</text>" not in shown


def test_every_measure_has_a_panel_of_bars(place):
    shown = drawn(place, kind="bars", x="model", y=["test/accuracy", "macs"], series="data.lag")
    assert shown.count("<g transform=") == 2
    assert shown.count('class="whisker"') == 2 * 3


def test_a_cell_is_a_mean_and_a_setting_without_a_run_has_failed(place):
    shown = drawn(place, kind="heat", x="data.lag", y="model", value="test/accuracy")
    assert re.findall(r'class="mid"[^>]*>(\.\d+|failed)<', shown) == [".525", ".625", ".725", "failed"]


def test_a_measure_that_no_run_has_is_told_in_the_picture(place):
    shown = drawn(place, kind="bars", x="model", y="test/bleu")
    assert "no run has test/bleu; they have test/accuracy, macs, seconds" in shown


def test_labels_keep_their_distance_and_stay_inside():
    found = chart.apart([100.0, 101.0, 99.0, 200.0], bottom=202)
    assert all(abs(a - b) >= 14 for i, a in enumerate(found) for b in found[:i])
    assert max(found) <= 202
    assert found[2] < found[0] < found[1] < found[3]  # in the order of their lines


@pytest.mark.parametrize("log", [True, False])
def test_an_axis_holds_its_values_and_its_ticks(log):
    made = chart.axis([3.0, 700.0], 50, 350, log=log)
    assert all(50 <= made(value) <= 350 for value in (3.0, 700.0, *(mark for mark, _ in made.marked)))
    assert made(3.0) < made(50.0) < made(700.0)
    if log:
        assert made(30.0) - made(3.0) == pytest.approx(made(300.0) - made(30.0))


def test_values_that_lie_close_together_are_told_apart():
    shown = [words for _, words in chart.axis([52_040, 52_180], 0, 100, log=False).marked]
    assert len(shown) == len(set(shown))
    assert "52100" in shown
