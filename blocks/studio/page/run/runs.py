"""The part of the page that lists the runs of the project: compares, resumes, opens reports."""

from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any, Protocol

from nicegui import ui

from blocks.studio.page.language.phrases import Phrases
from blocks.studio.page.run.train import (
    COLORS,
    GREY,
    TrainPanel,
    draw_axis,
    draw_epochs,
    link_report,
    list_scores,
)
from blocks.studio.run.runs import Runs

MEASURES = ("train/loss", "val/loss", "val/accuracy")
MOST = 6  # runs that are compared
RESUMED = ("interrupted", "failed", "killed", "finished", "running")


class Owner(Protocol):
    """The page, as this part knows it."""

    say: Phrases
    runs: Runs
    tabs: Any
    train_panel: TrainPanel


class RunsPanel:
    """The runs of the project."""

    def __init__(self, page: Owner):
        self.page = page
        self.chosen: list[str] = []
        self.kept: MutableMapping[str, Any] = {}  # what the page in another language shows again
        self.listed: list[dict[str, Any]] | None = None
        say = page.say
        ui.label(say("choose two runs or more to compare them")).classes("studio-soft")
        self.compared = ui.element("div").classes("studio-compared")
        with self.compared:
            self.measure = ui.select(list(MEASURES), value=MEASURES[1], label=say("measure"))
            self.measure.props("dense outlined options-dense")
            self.measure.on_value_change(self._choose_measure)
            self.chart = ui.echart(draw_runs({}, MEASURES[1], say)).classes("studio-chart")
            self.table = ui.element("div").classes("studio-outputs").props("tabindex=0")
        self.compared.visible = False
        self.column = ui.element("div").classes("studio-runs")

    def recall(self, kept: MutableMapping[str, Any]) -> None:
        """Choose the runs again that this tab of the browser compared before.

        Args:
            kept: of the tab; the choice is noted in it.
        """
        self.chosen = list(kept.get("runs", self.chosen))
        self.measure.value = kept.get("measure", self.measure.value)
        self.kept = kept

    def fill(self) -> None:
        """List the runs as they are now."""
        say = self.page.say
        runs = self.page.runs.list_runs()
        if runs == self.listed:  # a list made anew would swallow a click
            self._compare()
            return
        self.listed = runs
        self.column.clear()
        with self.column:
            self.chosen = [run["run"] for run in runs if run["run"] in self.chosen]
            if not runs:
                ui.label(say("no runs yet"))
            for run in runs:
                self._list(run)
        self._compare()

    def _list(self, run: Mapping[str, Any]) -> None:
        say, name = self.page.say, str(run["run"])
        status = say(run["status"]) if run["status"] in RESUMED else str(run["status"])
        with ui.element("div").classes("studio-run"):
            ui.checkbox(
                f"{name} · {status}",
                value=name in self.chosen,
                on_change=lambda event: self._choose(name, bool(event.value)),
            ).classes("studio-name")
            ui.label(run["command"]).classes("studio-soft")
            if run["test"]:
                ui.label(list_scores(run["test"]))
            with ui.element("div").classes("studio-actions"):
                if run["report"]:
                    link_report(say, name)
                if run["saved"] and run["status"] in RESUMED:
                    button = ui.button(say("resume"), on_click=lambda: self._resume(run))
                    button.props(f'flat dense no-caps aria-label="{say("resume")} {name}"')

    def _resume(self, run: Mapping[str, Any]) -> None:
        is_finished = run["status"] == "finished"
        self.page.train_panel.resume(run["run"], run["options"], is_finished)
        self.page.tabs.value = "train"

    def _choose(self, name: str, is_chosen: bool) -> None:
        self.chosen = [each for each in self.chosen if each != name]
        if is_chosen:
            self.chosen = [*self.chosen, name][-MOST:]
        self.kept["runs"] = self.chosen
        self._compare()

    def _choose_measure(self) -> None:
        self.kept["measure"] = self.measure.value
        self._compare()

    def _compare(self) -> None:
        """Show the curves and scores of the chosen runs in one chart and one table."""
        self.compared.visible = len(self.chosen) > 1
        if not self.compared.visible:
            return
        found = self.page.runs.read_runs(self.chosen)
        rows = {name: run["rows"] for name, run in found.items()}
        self.chart.options.clear()
        self.chart.options.update(draw_runs(rows, str(self.measure.value), self.page.say))
        self.chart.update()
        self.table.clear()
        names = list(dict.fromkeys(name for run in found.values() for name in run["test"]))
        with self.table, ui.element("table"):
            self._add_row("th", ["", *names])
            for name, run in found.items():
                scores = [
                    f"{run['test'][each]:.4f}" if each in run["test"] else "" for each in names
                ]
                self._add_row("td", [name, *scores])
            differing = list_differing({name: run["overrides"] for name, run in found.items()})
            for name, words in differing.items():
                self._add_row("td", [name, " ".join(words)])

    def _add_row(self, kind: str, cells: Sequence[str]) -> None:
        with ui.element("tr"):
            for cell in cells:
                with ui.element(kind):
                    ui.label(cell)


def list_differing(overrides: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Return the overrides of each run that not all of them have."""
    shared = set.intersection(*map(set, overrides.values())) if overrides else set()
    return {
        name: [word for word in words if word not in shared] for name, words in overrides.items()
    }


def draw_runs(
    rows: Mapping[str, Sequence[Mapping[str, float]]], measure: str, say: Phrases
) -> dict[str, Any]:
    """Return one curve for each run."""
    series = []
    for name, each in rows.items():
        points = [
            [row.get("epoch", at), row[measure]] for at, row in enumerate(each) if measure in row
        ]
        series.append({"name": name, "type": "line", "data": points, "symbolSize": 5})
    return {
        "animation": False,
        "color": COLORS,
        "legend": {"data": list(rows), "textStyle": {"color": GREY}, "top": 0},
        "grid": {"left": 50, "right": 20, "top": 38 + 22 * len(rows), "bottom": 42},
        "tooltip": {"trigger": "axis"},
        "xAxis": draw_epochs(say),
        "yAxis": {"type": "value", "name": measure, **draw_axis()},
        "series": series,
    }
