"""The part of the page that starts a training, and shows how it goes."""

import shlex
import time
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any, Protocol
from urllib.parse import quote

from nicegui import ui

from blocks.studio.page.fold import add_fold
from blocks.studio.page.language.phrases import Phrases
from blocks.studio.run.runs import START_TIME, Runs, Started
from blocks.support.program import train_command

SECONDS = 1.0  # between two looks at a training
EPOCHS = 5
EPOCHS_KEY = "trainer.max_epochs="
LOSSES = ("train/loss", "val/loss")
COLORS = ["#3B82D6", "#C8620A", "#2E8B57", "#A855C7", "#8A7A0A", "#C0436A"]  # on light and dark
GREY = "#7C8696"
SYMBOLS = ("circle", "rect", "triangle", "diamond", "emptyCircle", "emptyRect")
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
        self.kept: MutableMapping[str, Any] = {}  # what the page in another language shows again
        self.started: Started | None = next(iter(page.runs.list_started()), None)
        note = say("it trains in its own process; this page may be closed")
        ui.label(note).classes("studio-soft")
        with ui.element("div").classes("studio-row"):
            self.epochs = ui.number(say("epochs"), value=EPOCHS, min=1, step=1).props(FIELD)
            self.more = ui.input(say("more overrides"), placeholder="optimizer.lr=3e-4")
            self.more.props(FIELD)
            self.epochs.on_value_change(lambda event: self._keep("epochs", event.value))
            self.more.on_value_change(lambda event: self._keep("more", event.value))
            self.starts = ui.button(say("start"), icon="play_arrow", on_click=self._start)
            self.starts.mark("start")
            self.stops = ui.button(say("stop"), icon="stop", on_click=self._stop).props("outline")
        self.progress = ui.label("").classes("studio-progress").props("role=status")
        self.bar = ui.linear_progress(0.0, show_value=False)
        self.bar.props(f'aria-label="{say("progress")}"')
        with ui.element("div").classes("studio-row studio-started") as self.line:
            self.status = ui.label("").classes("studio-status")
            copy = ui.button(icon="content_copy", on_click=self._copy)
            name = say("copy the command of this training")
            copy.props(f'flat round dense size=sm aria-label="{name}"').tooltip(name)
        self.chart = ui.echart(_chart([], say)).classes("studio-chart")
        self.links = ui.element("div")
        _, self.output = add_fold(say("output"), "studio-wrapped")
        self.shown: tuple[Any, ...] = ()
        self.line.visible = self.chart.visible = False
        self._show_progress(None)
        ui.timer(SECONDS, self._look)

    def recall(self, kept: MutableMapping[str, Any]) -> None:
        """Show at once what this tab of the browser showed before, with the whole curve.

        Args:
            kept: of the tab; the training that is shown and the fields are noted in it.
        """
        training = kept.get("training")
        found = [each for each in self.page.runs.list_started() if each.name == training]
        if found:
            self.started = found[0]
        self.epochs.value = kept.get("epochs", self.epochs.value)
        self.more.value = kept.get("more", self.more.value)
        self.kept = kept
        if self.started is not None:
            self._keep("training", self.started.name)
        self._look()

    def _keep(self, name: str, value: Any) -> None:
        self.kept[name] = value

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
        self._keep("training", self.started.name)
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

    def _copy(self) -> None:
        if self.started is not None:
            ui.clipboard.write(shlex.join([*train_command(), *self.started.words]))
            ui.notify(self.page.say("copied"), position="top-right")

    def _stop(self) -> None:
        if self.started is not None:
            self.page.runs.stop(self.started)

    def _look(self) -> None:
        """Show what the training has reached since the last look."""
        if self.started is None:
            return
        found = self.page.runs.describe(self.started)
        self._show_progress(found)
        key = found["status"], len(found["rows"]), len(found["output"]), found["output"][-80:]
        if key == self.shown:
            return
        self.shown = key
        say = self.page.say
        status = say(found["status"])
        command = shlex.join([*train_command(), *found["words"]])
        self.status.text = f"{status} · {command}"
        self.line.visible = True
        self.output.text = found["output"]
        self.chart.options.clear()
        self.chart.options.update(_chart(found["rows"], say))
        self.chart.update()
        self.chart.visible = bool(found["rows"])
        self.links.clear()
        with self.links:
            if found["test"]:
                scores = {name.removeprefix("test/"): each for name, each in found["test"].items()}
                ui.label(f"{say('test')}: {list_scores(scores)}")
            if found["run"] and found["status"] != "running":
                link_report(say, found["run"])

    def _show_progress(self, found: Mapping[str, Any] | None) -> None:
        """Show how far a training is, and offer what can be done: start, or stop."""
        is_running = found is not None and found["status"] == "running"
        self.starts.set_enabled(not is_running)
        self.stops.set_enabled(is_running)
        self.bar.visible = self.progress.visible = is_running
        if found is None or not is_running:
            return
        done, epochs = count_epochs(found)
        text = self.page.say("starting")
        if found["run"]:
            text = f"{self.page.say('epoch')} {done} / {epochs or '?'}"
        self.progress.text = f"{text} · {seconds_since(found['name'])} s"
        self.bar.value = done / epochs if epochs else 0.0
        if done:
            self.bar.props(remove="indeterminate")
        else:
            self.bar.props("indeterminate")


def count_epochs(found: Mapping[str, Any]) -> tuple[int, int]:
    """Return how many epochs of a training are done, and how many were asked for; 0: unknown."""
    done = max((int(row.get("epoch", 0)) for row in found["rows"]), default=0)
    asked = [word.partition("=")[2] for word in found["words"] if word.startswith(EPOCHS_KEY)]
    epochs = int(asked[-1]) if asked and asked[-1].isdecimal() else 0
    return done, epochs


def seconds_since(name: str) -> int:
    """Return the seconds since a training was started, which its name begins with."""
    started = time.mktime(time.strptime(name.rpartition("-")[0], START_TIME))
    return max(0, int(time.time() - started))


def link_report(say: Phrases, run: str) -> None:
    """Add a link to the report of a run."""
    ui.link(say("report"), f"/report?run={quote(run)}", new_tab=True)


def list_scores(scores: Mapping[str, float]) -> str:
    """Return scores in one line."""
    return "  ".join(f"{name.replace('/', ' ')} {value:.4f}" for name, value in scores.items())


def _chart(rows: list[dict[str, float]], say: Phrases) -> dict[str, Any]:
    """Return the curves of a training: the losses on the left, other scores on the right."""
    names = dict.fromkeys(name for row in rows for name in row if "/" in name)
    shown = [name for name in names if name in LOSSES or name.startswith("val/")]
    series = []
    for place, name in enumerate(shown):
        points = [
            [row.get("epoch", index), row[name]] for index, row in enumerate(rows) if name in row
        ]
        side = 0 if name in LOSSES else 1
        symbol = SYMBOLS[place % len(SYMBOLS)]
        line = {"name": name, "type": "line", "data": points, "yAxisIndex": side}
        series.append({**line, "symbol": symbol, "symbolSize": 7})
    scores = [name.partition("/")[2] for name in shown if name not in LOSSES]
    axis = draw_axis()
    return {
        "animation": False,
        "color": COLORS,
        "legend": {"data": shown, "textStyle": {"color": GREY}, "top": 0},
        "grid": {"left": 45, "right": 45, "top": 58, "bottom": 42},
        "tooltip": {"trigger": "axis"},
        "xAxis": draw_epochs(say),
        "yAxis": [
            {"type": "value", "name": say("loss"), **axis},
            {"type": "value", "name": ", ".join(scores[:2]), **axis},
        ],
        "series": series,
    }


def draw_axis() -> dict[str, Any]:
    """Return how each axis of a chart looks."""
    text = {"color": GREY}
    return {"axisLabel": text, "nameTextStyle": text, "splitLine": {"show": False}, "scale": True}


def draw_epochs(say: Phrases) -> dict[str, Any]:
    """Return the axis of epochs."""
    place = {"nameLocation": "middle", "nameGap": 25}
    return {"type": "value", "name": say("epoch"), "minInterval": 1, **place, **draw_axis()}
