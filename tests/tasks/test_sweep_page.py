"""The page of a sweep: which run is best, what explains it, what costs what; and that its table
sorts.
"""

import math
import re
import shutil
import subprocess

import pytest

from tasks.run import run_folder
from tasks.sweep import page, plan
from tasks.sweep.page import View, find_direction

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)


@pytest.fixture
def place(tmp_path):
    """Two models, two rates, two seeds; one run fails.

    By the validation run 6 is best, by the test run 1.
    """
    jobs = [
        {
            "overrides": [f"model={model}", f"optimizer.lr={rate}", f"seed={seed}"],
            "folder": str(4 * m + 2 * r + seed),
        }
        for m, model in enumerate(("vit", "<mlp>"))
        for r, rate in enumerate((0.001, 0.1))
        for seed in (0, 1)
    ]
    plan.write_plan(tmp_path, jobs)
    for number, job in enumerate(jobs):
        record = run_folder.Record(tmp_path / job["folder"])
        if number == 3:
            record.add(status="failed", error="the loss is <nan>")
            continue
        model, rate = divmod(number, 4)[0], number % 4 // 2
        reached = 0.5 + 0.2 * model + 0.1 * rate + (0.01 if number == 6 else 0.0)
        lines = [f"{epoch},{reached - 0.1 * (2 - epoch)},{1.0 / epoch}," for epoch in (1, 2)]
        text = "\n".join(
            ["epoch,val/accuracy,val/loss,test/accuracy", *lines, f"2,,,{0.9 - number / 50}"]
        )
        (tmp_path / job["folder"] / "metrics.csv").write_text(text, encoding="utf-8")
        record.add(
            status="finished",
            seconds=3.0,
            parameters=100 if model else 2000,
            test={"test/accuracy": 0.9},
        )
        record.add(**{"best epoch": 2})
        (tmp_path / job["folder"] / "report.html").write_text("", encoding="utf-8")
    return tmp_path


@pytest.fixture
def view(place):
    return View(plan.read_rows(place))


def test_the_validation_ranks_the_runs_and_not_the_test(view):
    assert view.main == "val/accuracy"
    assert view.goal == {"val/accuracy": "max"}
    assert [row["job"] for row in view.ranked] == [6, 7, 4, 5, 2, 0, 1]


def test_the_goal_of_a_search_ranks_them_otherwise(place):
    view = View(plan.read_rows(place), {"parameters": "min", "val/accuracy": "max"})
    assert [row["job"] for row in view.ranked] == [4, 5, 6, 7, 0, 1, 2]


def test_colours_go_by_rank(view):
    opacities = [view.colour(row)[3] for row in view.ranked]
    assert opacities == pytest.approx([1 - 0.8 * place / 6 for place in range(7)])
    assert view.colour(view.rows[3])[3] < min(opacities)  # the failed one


def test_shares_are_those_of_an_analysis_of_variance(view):
    # by hand: values .71 .7 .7 .7 (mlp: .7 .7 .81 .8), vit .5 .5 .6; mean of all 4.61/7
    values = {0: 0.5, 1: 0.5, 2: 0.6, 4: 0.7, 5: 0.7, 6: 0.81, 7: 0.8}
    centre = sum(values.values()) / 7
    whole = sum((value - centre) ** 2 for value in values.values())
    vit, mlp = (0.5 + 0.5 + 0.6) / 3, (0.7 + 0.7 + 0.81 + 0.8) / 4
    found = page.explained(view)
    assert max(found, key=found.__getitem__) == "model"
    assert found["model"] == pytest.approx(
        (3 * (vit - centre) ** 2 + 4 * (mlp - centre) ** 2) / whole
    )
    assert found["seed"] < 0.05


def test_a_setting_with_a_value_of_its_own_for_each_run_explains_nothing(place):
    rows = plan.read_rows(place)
    for row in rows:
        row["overrides"] = [f"optimizer.lr={row['job']}"]
    assert page.explained(View(rows)) == {}


def test_the_front_is_what_no_run_beats():
    points = [(1, 0.5), (2, 0.7), (2, 0.6), (3, 0.7), (4, 0.9), (4, 0.9)]
    assert page.front(points, ("min", "max")) == [0, 1, 4, 5]
    assert page.front(points, ("max", "min")) == [0, 2, 3, 4, 5]
    assert page.front(points, ("min", "min")) == [0]


def test_a_run_without_a_number_is_not_on_the_front(place):
    rows = [row for row in plan.read_rows(place) if row["status"] == "finished"][:4]
    for number, row in enumerate(rows):
        row.update(
            {
                "val/accuracy": 0.5 + 0.1 * number,
                "val/loss": math.nan if number == 1 else 1.0 - 0.1 * number,
            }
        )
    (panel,) = page.front_panels(View(rows, {"val/accuracy": "max", "val/loss": "min"}))
    assert len(panel.series[""]) == 3
    assert (panel.x, panel.y) == ("val loss", "val accuracy")


def test_what_is_on_the_front_bears_its_number(view):
    (panel,) = page.front_panels(view)
    assert (panel.x, panel.y) == ("parameters", "val accuracy")
    assert sorted(filter(None, panel.ends)) == ["6"]


def test_figures_of_cost_should_be_low_and_others_high():
    assert [
        page.find_direction(name)
        for name in ("val/loss", "parameters", "test/bits_per_character", "cpu seconds")
    ] == ["min"] * 4
    assert [find_direction(name) for name in ("val/accuracy", "test/bleu", "test/exact_match")] == [
        "max"
    ] * 3


def dots(view, values):
    rows = view.ranked[: len(values)]
    return page.dots(view, rows, (values, "x"), ([row[view.main] for row in rows], "y"))


def test_rates_lie_on_a_logarithmic_axis_and_names_beside_each_other(view):
    panel = dots(view, ["0.001", "0.1", "0.01"])
    assert panel.log == ["x"]
    assert [point.x for point in panel.series[""]] == [0.001, 0.1, 0.01]
    assert panel.ticks == {0.001: "0.001", 0.1: "0.1", 0.01: "0.01"}
    panel = dots(view, ["full", "linear", "full"])
    assert panel.log == []
    assert [point.x for point in panel.series[""]] == [0.0, 1.0, 0.0]
    assert panel.ticks == {0: "full", 1: "linear"}


def test_every_setting_has_a_panel_and_what_explains_most_comes_first(view):
    panels = page.settings_panels(view, page.explained(view))
    assert [panel.x.partition(":")[0] for panel in panels] == ["model", "optimizer.lr", "seed"]
    assert re.fullmatch(r"model: explains \d\d%", panels[0].x)
    assert {panel.y for panel in panels} == {"val accuracy"}
    assert all(len(panel.series[""]) == 7 for panel in panels)


def test_the_best_run_lies_on_top(view, place):
    panels = page.curve_panels(view, place)
    assert [panel.y for panel in panels] == ["val accuracy", "val loss"]
    assert list(panels[0].series) == ["1", "0", "2", "5", "4", "7", "6"]
    assert [(point.x, round(point.mean, 4)) for point in panels[0].series["6"]] == [
        (1, 0.71),
        (2, 0.81),
    ]
    assert panels[0].colours[-1][3] == 1.0


def test_the_page_has_its_sections_and_every_run_in_its_table(place):
    text = page.write_page(place, plan.read_rows(place)).read_text(encoding="utf-8")
    assert re.findall("<h2>(.*?)</h2>", text) == [
        "Runs",
        "What val accuracy depends on",
        "Learning curves",
        "What val accuracy costs",
        "Failed",
    ]
    assert re.findall(r'<tr><td data-value="(\d)">', text) == [
        "6",
        "7",
        "4",
        "5",
        "2",
        "0",
        "1",
        "3",
    ]
    assert text.count("<svg") == 3
    assert '<a href="6/report.html">' in text
    assert "the loss is &lt;nan&gt;" in text
    assert "&lt;mlp&gt;" in text
    assert "<mlp>" not in text
    assert "http" not in re.sub(r'"http://www.w3.org/(2000/svg|1999/xlink)"', "", text)


def test_runs_whose_figures_are_equal_or_alone_have_no_chart(place):
    rows = [row for row in plan.read_rows(place) if row["status"] == "finished"][:1]
    view = View(rows)
    assert page.settings_panels(view, {}) == page.front_panels(view) == []


def test_a_sweep_in_which_nothing_finished_has_a_page_too(tmp_path):
    plan.write_plan(tmp_path, [{"overrides": ["model=x"], "error": "no option x"}])
    text = page.write_page(tmp_path, plan.read_rows(tmp_path)).read_text(encoding="utf-8")
    assert "0 of 1 runs" in text
    assert "no option x" in text


TRIED = """<script>
const all = choice => [...document.querySelectorAll(choice)], tell = [];
const cells = () => all("table.runs tbody td:first-child");
const lines = () => tell.push(cells().map(cell => cell.textContent).join(""));
lines();
all("th button")[0].click(); lines();
all("th button")[0].click(); lines();
const costs = all("th button").findIndex(button => button.textContent === "parameters");
all("th button")[costs].click(); lines();
tell.push(all("th[aria-sort]").length);
document.body.dataset.told = tell.join("|");
</script></body>"""


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here")
def test_the_table_sorts_in_a_browser(place, tmp_path):
    written = page.write_page(place, plan.read_rows(place))
    written.write_text(
        written.read_text(encoding="utf-8").replace("</body>", TRIED), encoding="utf-8"
    )
    offline = ["quic", "gpu", "background-networking", "component-update", "sync"]
    options = [
        "--headless",
        "--no-sandbox",
        "--no-first-run",
        *(f"--disable-{what}" for what in offline),
        f"--user-data-dir={tmp_path / 'profile'}",
        "--enable-logging=stderr",
        "--dump-dom",
    ]
    done = subprocess.run(
        [str(CHROMIUM), *options, written.as_uri()],
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=True,
    )
    assert re.search(r'data-told="([^"]*)"', done.stdout)[1] == (
        "67452013|01234567|76543210|76542103|1"
    )
    assert "CONSOLE" not in done.stderr
