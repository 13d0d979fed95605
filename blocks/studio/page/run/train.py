"""The part of the page that starts a training, and shows how it goes."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any, Protocol
from urllib.parse import quote

from nicegui import ui

from blocks.studio.page.phrases import Phrases
from blocks.studio.run.runs import Runs, Started
from blocks.support.program import train_command

SECONDS = 1.0  # between two looks at a training
EPOCHS = 5
LOSSES = ("train/loss", "val/loss")
FIELD = "dense outlined options-dense"


class Owner(Protocol):
    """The page, as this part knows it."""

    say: Phrases
    runs: Runs
    command: list[str]
    errors_now: list[dict[str, Any]]


class TrainPanel:
    """Starts a training, and shows how it goes."""

    def __init__(self, page: Owner):
        self.page = page
        say = page.say
        self.started: Started | None = None
        started = page.runs.list_started()
        if started and page.runs.is_running(started[0]):
            self.started = started[0]
        note = say("it trains in its own process; this page may be closed")
        ui.label(note).classes("studio-soft")
        with ui.element("div").classes("studio-row"):
            self.epochs = ui.number(say("epochs"), value=EPOCHS, min=1, step=1).props(FIELD)
            self.more = ui.input(say("more overrides"), placeholder="optimizer.lr=3e-4")
            self.more.props(FIELD)
            ui.button(say("start"), icon="play_arrow", on_click=self._start).mark("start")
            ui.button(say("stop"), icon="stop", on_click=self._stop).props("outline")
        self.status = ui.label("").classes("studio-status")
        self.chart = ui.echart(_chart([])).classes("studio-chart")
        self.links = ui.element("div")
        fold = ui.expansion(say("output")).classes("studio-why")
        with fold, ui.element("pre").classes("studio-code"):
            self.output = ui.label("")
        self.shown: tuple[Any, ...] = ()
        ui.timer(SECONDS, self._look)

    def _start(self) -> None:
        page = self.page
        if page.errors_now:
            text = page.say("the model has a mistake; mend it before you train")
            ui.notify(text, type="warning", position="bottom-left")
            return
        try:
            more = shlex.split(self.more.value or "")
        except ValueError as error:
            ui.notify(str(error), type="warning", position="bottom-left")
            return
        if self.epochs.value:
            more.insert(0, f"trainer.max_epochs={int(self.epochs.value)}")
        self.begin([*page.command, *more])

    def begin(self, words: Sequence[str]) -> None:
        """Start a training, and show how it goes."""
        self.started = self.page.runs.start(words)
        self._look()

    def resume(self, run: str, options: Sequence[str], is_finished: bool) -> None:
        """Continue a run; one that is finished up to the epochs of the field.

        Args:
            options: that name the folder of its draft.
        """
        words = [*options, f"resume={run}"]
        if is_finished and self.epochs.value:
            words.append(f"trainer.max_epochs={int(self.epochs.value)}")
        self.begin(words)

    def _stop(self) -> None:
        if self.started is not None:
            self.page.runs.stop(self.started)

    def _look(self) -> None:
        """Show what the training has reached since the last look."""
        if self.started is None:
            return
        found = self.page.runs.describe(self.started)
        key = found["status"], len(found["rows"]), len(found["output"]), found["output"][-80:]
        if key == self.shown:
            return
        self.shown = key
        say = self.page.say
        status = say(found["status"])
        command = shlex.join([*train_command(), *found["words"]])
        self.status.text = f"{status} · {command}"
        self.output.text = found["output"]
        self.chart.options.clear()
        self.chart.options.update(_chart(found["rows"]))
        self.chart.update()
        self.links.clear()
        with self.links:
            if found["test"]:
                ui.label(f"{say('test')}: {list_scores(found['test'])}")
            if found["run"] and found["status"] != "running":
                link_report(say, found["run"])


def link_report(say: Phrases, run: str) -> None:
    """Add a link to the report of a run."""
    ui.link(say("report"), f"/report?run={quote(run)}", new_tab=True)


def list_scores(scores: Mapping[str, float]) -> str:
    """Return scores in one line."""
    return "  ".join(f"{name.replace('/', ' ')} {value:.4f}" for name, value in scores.items())


def _chart(rows: list[dict[str, float]]) -> dict[str, Any]:
    """Return the curves of a training: the losses on the left, other scores on the right."""
    names = dict.fromkeys(name for row in rows for name in row if "/" in name)
    shown = [name for name in names if name in LOSSES or name.startswith("val/")]
    series = []
    for name in shown:
        points = [
            [row.get("epoch", index), row[name]] for index, row in enumerate(rows) if name in row
        ]
        side = 0 if name in LOSSES else 1
        series.append(
            {"name": name, "type": "line", "data": points, "yAxisIndex": side, "symbolSize": 4}
        )
    grey = "#8791A1"
    axis = {"axisLabel": {"color": grey}, "splitLine": {"show": False}, "scale": True}
    return {
        "animation": False,
        "legend": {"data": shown, "textStyle": {"color": grey}, "top": 0},
        "grid": {"left": 45, "right": 45, "top": 40, "bottom": 25},
        "tooltip": {"trigger": "axis"},
        "xAxis": {"type": "value", "minInterval": 1, **axis},
        "yAxis": [{"type": "value", **axis}, {"type": "value", **axis}],
        "series": series,
    }
