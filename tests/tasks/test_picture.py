"""The picture of a sweep: what is wrong with its section is told; what is drawn is what was
measured.
"""

import html
import re

import pytest

from blocks.graph import ConfigError, compose
from tasks.report import plots
from tasks.run import run_folder
from tasks.run.sections import check_sections
from tasks.sweep import figure, plan
from tasks.sweep.figure import Picture


def told(spec):
    composed = compose(["data=recall", "task=recall", "model=gpt"])
    composed.config["picture"] = spec
    try:
        check_sections(composed)
    except ConfigError as error:
        return str(error)
    return "nothing"


GOOD = {"kind": "lines", "x": "data.lag", "y": "test/accuracy", "series": "model"}
WRONG = {
    "a kind": (GOOD | {"kind": "pie"}, "kind must be one of lines, bars, heat"),
    "a key": (GOOD | {"colour": "red"}, "Picture has no argument colour"),
    "no y": ({"kind": "bars", "x": "model"}, "picture.y is missing"),
    "a setting": (
        GOOD | {"x": "data.lagg"},
        "data.lagg is no setting\n  fix       did you mean data.lag?",
    ),
    "a measure": (GOOD | {"y": "accuracy"}, "accuracy is no measure of a run"),
    "a height that was set": (GOOD | {"y": "data.lag"}, "data.lag is no measure of a run"),
    "a series that was measured": (GOOD | {"series": "macs"}, "macs is no setting"),
    "heat without a value": (
        {"kind": "heat", "x": "model", "y": "seed"},
        "picture.value is missing",
    ),
    "a value without heat": (
        GOOD | {"value": "macs"},
        "value belongs to heat; lines show their measure as y",
    ),
    "an axis": (
        GOOD | {"log": ["z"]},
        "log names axes\n  got       log=['z']\n  fits      [x], [y] or [x, y]",
    ),
    "no mapping": ("lines", "picture must be a mapping"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_picture_is_told_before_the_first_run(case):
    spec, words = WRONG[case]
    assert words in told(spec)


def test_a_good_picture_is_not_complained_of():
    assert told(GOOD) == "nothing"
    assert (
        told(
            {"kind": "heat", "x": "optimizer.lr", "y": ["optimizer", "model"], "value": "test/bleu"}
        )
        == "nothing"
    )
    assert told(GOOD | {"x": "parameters", "log": ["x"], "marks": {"chance": 0.5}}) == "nothing"


@pytest.fixture
def place(tmp_path):
    """A sweep of two models, two lags and two seeds; the second model fails at the longer lag."""
    jobs = [
        {"overrides": [f"model={m}", f"data.lag={lag}", f"seed={s}"], "folder": f"{m}{lag}{s}"}
        for m in ("rnn", "gpt")
        for lag in (5, 20)
        for s in (0, 1)
    ]
    plan.write_plan(tmp_path, jobs)
    for number, job in enumerate(jobs):
        record = run_folder.Record(tmp_path / job["folder"])
        if job["folder"].startswith("gpt20"):
            record.add(status="failed", error="no")
        else:
            test = {"test/accuracy": 0.5 + number / 20}
            record.add(status="finished", seconds=1, macs=1000 * number, test=test)
    return tmp_path


def drawn(place, **spec):
    return figure.draw_picture(Picture(**spec), plan.read_rows(place), place)


def panels(place, monkeypatch, **spec):
    """What is handed over to be drawn."""
    found = []
    monkeypatch.setattr(plots, "draw_panels", lambda panels, *_: found.extend(panels))
    drawn(place, **spec)
    return found


def words_of(shown):
    return [html.unescape(words) for words in re.findall(r"<text[^>]*>(.*?)</text>", shown)]


def test_a_point_is_the_mean_of_its_seeds_and_its_whisker_their_range(place, monkeypatch):
    spec = {"kind": "lines", "x": "data.lag", "y": "test/accuracy", "series": "model"}
    words = words_of(drawn(place, **spec))
    assert {"rnn", "gpt", "5", "20", "lag", "test/accuracy".rpartition("/")[2]} <= set(words)
    (panel,) = panels(place, monkeypatch, **spec)
    point = plots.Point
    assert panel.series == {
        "rnn": [
            point(5, pytest.approx(0.525), 0.5, 0.55),
            point(20, pytest.approx(0.625), 0.6, 0.65),
        ],
        "gpt": [point(5, pytest.approx(0.725), 0.7, 0.75)],
    }


def test_names_are_written_instead(place):
    names = {"rnn": "recurrent <net>", "data.lag": "steps"}
    words = words_of(
        drawn(place, kind="lines", x="data.lag", y="test/accuracy", series="model", names=names)
    )
    assert {"recurrent <net>", "steps"} <= set(words)
    assert "rnn" not in words


def test_a_setting_with_an_empty_name_is_left_out_of_a_label(place, monkeypatch):
    spec = {"kind": "bars", "x": "data.lag", "y": "test/accuracy", "series": ["model", "data.lag"]}
    (panel,) = panels(place, monkeypatch, **spec, names={"5": "", "20": "long"})
    assert list(panel.series) == ["rnn", "rnn, long", "gpt"]


def test_every_measure_has_a_panel_of_bars(place, monkeypatch):
    spec = {"kind": "bars", "x": "model", "y": ["test/accuracy", "macs"], "series": "data.lag"}
    assert words_of(drawn(place, **spec))[-4:] == ["■", "5", "■", "20"]
    found = panels(place, monkeypatch, **spec)
    assert [panel.y for panel in found] == ["accuracy", "macs"]
    assert [len(line) for panel in found for line in panel.series.values()] == [2, 1, 2, 1]
    assert found[0].ticks == {0: "rnn", 1: "gpt"}


def test_a_cell_is_a_mean_and_a_setting_without_a_run_has_failed(place):
    words = words_of(drawn(place, kind="heat", x="data.lag", y="model", value="test/accuracy"))
    assert [word for word in words if word.startswith(".") or word == "failed"] == [
        ".525",
        ".625",
        ".725",
        "failed",
    ]


def test_a_measure_that_no_run_has_is_told_in_the_picture(place):
    shown = drawn(place, kind="bars", x="model", y="test/bleu")
    assert "no run has test/bleu; they have test/accuracy, macs, seconds" in shown


def test_labels_keep_their_distance_and_stay_inside():
    found = plots.spread_labels([100.0, 101.0, 99.0, 200.0], bottom=202)
    assert all(abs(a - b) >= 14 for i, a in enumerate(found) for b in found[:i])
    assert max(found) <= 202
    assert found[2] < found[0] < found[1] < found[3]  # in the order of their lines


@pytest.mark.parametrize(
    ("values", "log", "ticks"),
    [
        ((3.0, 700.0), True, ["5", "10", "20", "50", "100", "200", "500"]),
        ((3.0, 700.0), False, ["0", "100", "200", "300", "400", "500", "600", "700"]),
        (
            (52_040.0, 52_180.0),
            False,
            ["52.04k", "52.06k", "52.08k", "52.1k", "52.12k", "52.14k", "52.16k", "52.18k"],
        ),
        ((1e3, 1e8), True, ["1000", "10k", "100k", "1M", "10M", "100M"]),
    ],
)
def test_an_axis_has_round_numbers_that_are_told_apart(values, log, ticks):
    line = [plots.Point(x, x) for x in values]
    shown = plots.draw_panels([plots.Panel(series={"a": line}, x="x", y="y", log=["y"] * log)])
    assert words_of(shown)[-len(ticks) - 1 : -1] == ticks


def test_equal_figures_give_equal_bytes_whatever_the_settings_of_the_user_are(place):
    import matplotlib

    spec = {
        "kind": "bars",
        "x": "model",
        "y": "macs",
        "series": "data.lag",
        "marks": {"chance": 5.0},
    }
    with matplotlib.rc_context({"font.size": 30, "axes.grid": False, "svg.fonttype": "path"}):
        other = drawn(place, **spec)
    assert drawn(place, **spec) == other
    assert "date" not in other
    assert ' id="axes' not in other  # several pictures stand in one page


def test_every_colour_of_a_chart_has_one_in_dark_mode(place):
    for spec in (
        {"kind": "bars", "y": "macs", "marks": {"chance": 5.0}},
        {"kind": "lines", "y": "test/accuracy"},
    ):
        _, drawing = drawn(place, x="model", series="data.lag", **spec).split("</style>")
        used = set(re.findall(r"(?:fill|stroke): (#\w+)", drawing))
        assert used
        assert used <= {colour.lower() for colour in plots.PAIRS}
    assert len(set(plots.PAIRS.values())) == len(plots.PAIRS)
