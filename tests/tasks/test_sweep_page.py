"""The page of a sweep: who is best, what explains it, what costs what; and that it answers to the hand."""

import math
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest

from tasks import folder, sweep, sweep_page
from tasks.sweep_page import front, parallel, shares
from tasks.sweep_page.view import View, scale, way

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture
def place(tmp_path):
    """Two models, two rates, two seeds; one run fails. By the validation run 6 is best, by the test run 1."""
    jobs = [
        {"overrides": [f"model={model}", f"optimizer.lr={rate}", f"seed={seed}"], "folder": str(4 * m + 2 * r + seed)}
        for m, model in enumerate(("vit", "<mlp>")) for r, rate in enumerate((0.001, 0.1)) for seed in (0, 1)
    ]  # fmt: skip
    sweep.write_plan(tmp_path, jobs)
    for number, job in enumerate(jobs):
        record = folder.Record(tmp_path / job["folder"])
        if number == 3:
            record.add(status="failed", error="the loss is <nan>")
            continue
        model, rate = divmod(number, 4)[0], number % 4 // 2
        reached = 0.5 + 0.2 * model + 0.1 * rate + (0.01 if number == 6 else 0.0)
        lines = [f"{epoch},{reached - 0.1 * (2 - epoch)},{1.0 / epoch}," for epoch in (1, 2)]
        text = "\n".join(["epoch,val/accuracy,val/loss,test/accuracy", *lines, f"2,,,{0.9 - number / 50}"])
        (tmp_path / job["folder"] / "metrics.csv").write_text(text)
        record.add(status="finished", seconds=3.0, parameters=100 if model else 2000, test={"test/accuracy": 0.9})
        record.add(**{"best epoch": 2})
        (tmp_path / job["folder"] / "report.html").write_text("")
    return tmp_path


@pytest.fixture
def view(place):
    return View(sweep.read(place))


def test_the_validation_ranks_the_runs_and_not_the_test(view):
    assert view.main == "val/accuracy"
    assert view.goal == {"val/accuracy": "max"}
    assert [row["job"] for row in view.ranked] == [6, 7, 4, 5, 2, 0, 1]


def test_the_goal_of_a_search_ranks_them_otherwise(place):
    view = View(sweep.read(place), {"parameters": "min", "val/accuracy": "max"})
    assert [row["job"] for row in view.ranked] == [4, 5, 6, 7, 0, 1, 2]


def test_colours_go_by_rank(view):
    tints = [re.search(r"--first\) (\d+)%", view.tint(row))[1] for row in view.ranked]
    assert tints == ["100", "83", "67", "50", "33", "17", "0"]
    assert "--first) 0%" in view.tint(view.rows[3])  # the failed one


def test_shares_are_those_of_an_analysis_of_variance(view):
    # by hand: values .71 .7 .7 .7 (mlp: .7 .7 .81 .8), vit .5 .5 .6; mean of all 4.61/7
    values = {0: 0.5, 1: 0.5, 2: 0.6, 4: 0.7, 5: 0.7, 6: 0.81, 7: 0.8}
    centre = sum(values.values()) / 7
    whole = sum((value - centre) ** 2 for value in values.values())
    vit, mlp = (0.5 + 0.5 + 0.6) / 3, (0.7 + 0.7 + 0.81 + 0.8) / 4
    found = shares.explained(view)
    assert next(iter(found)) == "model"
    assert found["model"] == pytest.approx((3 * (vit - centre) ** 2 + 4 * (mlp - centre) ** 2) / whole)
    assert found["seed"] < 0.05


def test_a_setting_with_a_value_of_its_own_for_each_run_explains_nothing(place):
    rows = sweep.read(place)
    for row in rows:
        row["overrides"] = [f"optimizer.lr={row['job']}"]
    assert shares.explained(View(rows)) == {}


def test_the_front_is_what_no_run_beats():
    points = [(1, 0.5), (2, 0.7), (2, 0.6), (3, 0.7), (4, 0.9), (4, 0.9)]
    assert front.best(points, ("min", "max")) == [0, 1, 4, 5]
    assert front.best(points, ("max", "min")) == [0, 2, 3, 4, 5]
    assert front.best(points, ("min", "min")) == [0]


def test_a_run_without_a_number_is_not_on_the_front(place):
    rows = [row for row in sweep.read(place) if row["status"] == "finished"][:4]
    for number, row in enumerate(rows):
        row.update({"val/accuracy": 0.5 + 0.1 * number, "val/loss": math.nan if number == 1 else 1.0 - 0.1 * number})
    drawn = front.draw(View(rows, {"val/accuracy": "max", "val/loss": "min"}))
    assert drawn.count("<circle") == 3


def test_figures_of_cost_should_be_low_and_others_high():
    assert [way(name) for name in ("val/loss", "parameters", "test/bits_per_character", "cpu seconds")] == ["min"] * 4
    assert [way(name) for name in ("val/accuracy", "test/bleu", "test/exact_match")] == ["max"] * 3


def test_rates_lie_on_a_logarithmic_axis_and_names_beside_each_other():
    axis, at = scale(["0.001", "0.1", "0.01"], 0, 100)
    assert axis.log
    assert axis(at["0.01"]) == pytest.approx(50)
    assert [shown for _, shown in axis.marked] == ["0.001", "0.01", "0.1"]
    axis, at = scale(["full", "linear"], 0, 100)
    assert [shown for _, shown in axis.marked] == ["full", "linear"]
    assert at == {"full": 0.0, "linear": 1.0}


def test_lines_go_through_settings_costs_and_the_goal(view):
    assert parallel.columns(view) == ["model", "optimizer.lr", "seed", "parameters", "val/accuracy"]
    drawn = parallel.draw(view)
    assert drawn.count('class="run-line"') == 7
    assert "&lt;mlp&gt;" in drawn


class Words(HTMLParser):
    """Headings, and how many elements belong to each run."""

    def __init__(self):
        super().__init__()
        self.heads, self.runs, self.inside = [], {}, False

    def handle_starttag(self, tag, attributes):
        self.inside = tag == "h2"
        run = dict(attributes).get("data-run")
        if run is not None:
            self.runs[run] = self.runs.get(run, 0) + 1

    def handle_data(self, data):
        if self.inside:
            self.heads.append(data)
            self.inside = False


def test_the_page_has_every_run_in_every_picture(place):
    text = sweep_page.write(place, sweep.read(place)).read_text()
    words = Words()
    words.feed(text)
    assert words.heads == ["Runs", "Settings and what they reach", "What val accuracy depends on", "Learning curves",
                           "What val accuracy costs", "Failed"]  # fmt: skip
    assert words.runs == {str(job): 5 for job in (0, 1, 2, 4, 5, 6, 7)} | {"3": 1}  # table, lines, two curves, dots
    assert '<a href="6/report.html">' in text
    assert "the loss is &lt;nan&gt;" in text
    assert "http" not in re.sub(r'"http://www.w3.org/2000/svg"', "", text)


def test_a_sweep_in_which_nothing_finished_has_a_page_too(tmp_path):
    sweep.write_plan(tmp_path, [{"overrides": ["model=x"], "error": "no option x"}])
    text = sweep_page.write(tmp_path, sweep.read(tmp_path)).read_text()
    assert "0 of 1 runs" in text
    assert "no option x" in text


TRIED = """<script>
const tell = [], lines = () => all("table.runs tbody tr").map(row => row.dataset.run).join("");
tell.push(lines());
all("th button")[0].click(); tell.push(lines());
all("th button")[0].click(); tell.push(lines());
const row = document.querySelector('tr[data-run="6"]');
row.dispatchEvent(new FocusEvent("focus")); tell.push(all("svg .lit").length, all("svg .dim").length);
row.dispatchEvent(new FocusEvent("blur")); tell.push(all(".lit, .dim").length);
const axis = all(".brush")[0], box = axis.getBoundingClientRect();
axis.setPointerCapture = () => {};
const at = (kind, part) => axis.dispatchEvent(new PointerEvent(kind, {clientY: box.top + part * box.height}));
at("pointerdown", 0); at("pointermove", 0.5); at("pointerup", 0.5);
tell.push(all("tr:not(.out)").length - 1, document.getElementById("left").textContent);
document.dispatchEvent(new KeyboardEvent("keydown", {key: "Escape"})); tell.push(all(".out").length);
document.body.dataset.told = tell.join("|");
</script></body>"""


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here")
def test_the_page_answers_in_a_browser(place, tmp_path):
    page = sweep_page.write(place, sweep.read(place))
    page.write_text(page.read_text().replace("</body>", TRIED))
    offline = ["quic", "gpu", "background-networking", "component-update", "sync"]
    options = ["--headless", "--no-sandbox", "--no-first-run", *(f"--disable-{what}" for what in offline),
               f"--user-data-dir={tmp_path / 'profile'}", "--enable-logging=stderr", "--dump-dom"]  # fmt: skip
    done = subprocess.run(
        [str(CHROMIUM), *options, page.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    assert re.search(r'data-told="([^"]*)"', done.stdout)[1] == (
        "67452013|01234567|76543210|4|24|0|5|5 of 8 runs; a click on an axis shows all again|0"
    )
    assert "CONSOLE" not in done.stderr
