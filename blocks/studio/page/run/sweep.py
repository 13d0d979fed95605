"""The part of the page that sweeps: values of keys as a form, a queue, its table and its chart."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from nicegui import ui

from blocks.studio.page.language.phrases import Phrases
from blocks.studio.page.run.parallel import draw_parallel, list_axes
from blocks.studio.page.run.train import EPOCHS, link_report
from blocks.studio.run.sweeps import FINISHED, Sweep, SweepError, Sweeps, sweep_words
from blocks.support.conf_folders import option_files
from blocks.support.program import train_command
from tasks.sweep.results import Row, group_by_seed, list_metrics, list_settings, value_of
from tasks.sweep.table import format_mean, format_name

SECONDS = 2.0  # between two looks at a sweep
RATES = ("1e-4", "3e-4", "1e-3", "3e-3", "1e-2")
RATE, SEED = "optimizer.lr", "seed"
OTHERS = {  # keys beside slots, params and groups -> values that are offered
    "optimizer.weight_decay": ["0", "0.01", "0.05", "0.1"],
    "data.batch_size": ["32", "64", "128", "256"],
}
GROUPS = ("optimizer", "schedule")
MOST_SEEDS = 20
FIELD = "dense outlined options-dense"
SHOWN = 4  # measures in the table


class Owner(Protocol):
    """The page, as this part knows it."""

    say: Phrases
    client: Any
    tabs: Any
    sweeps: Sweeps
    command: list[str]
    errors_now: list[dict[str, Any]]
    edit_panel: Any

    async def ask(self, ask: str, **arguments: Any) -> dict[str, Any]:
        """Ask about the model."""


class SweepPanel:
    """Queues trainings with several values of keys, and shows how they go."""

    def __init__(self, page: Owner):
        self.page = page
        self.values: dict[str, ui.select] = {}
        self.sweep: Sweep | None = None
        self.shown: Any = None
        say = page.say
        ui.label(say("several values for each key; a training for each combination")).classes(
            "studio-soft"
        )
        with ui.element("div").classes("studio-row"):
            self.rates = self._add_values(say("learning rates"), RATES)
            self.seeds = ui.number(
                say("seeds"), value=1, min=1, max=MOST_SEEDS, step=1, on_change=self._write
            ).props(FIELD)
            self.epochs = ui.number(
                say("epochs"), value=EPOCHS, min=1, step=1, on_change=self._write
            ).props(FIELD)
        self.rows = ui.element("div").classes("studio-fields")
        with ui.element("div").classes("studio-row"):
            self.key = ui.select(
                [], label=say("add a key"), with_input=True, new_value_mode="add-unique"
            ).props(FIELD)
            self.key.on_value_change(self._add_key)
        self.command = ui.label("").classes("studio-line")
        with ui.element("div").classes("studio-row"):
            ui.button(say("start the queue"), icon="playlist_play", on_click=self._start)
            ui.button(say("copy"), on_click=self._copy).props("outline")
        ui.label(say("sweeps")).classes("studio-heading")
        with ui.element("div").classes("studio-row"):
            self.chosen = ui.select([], label=say("sweep"), on_change=self._choose).props(FIELD)
            self.measure = ui.select([], label=say("measure"), on_change=self._draw).props(FIELD)
            self.stop = ui.button(say("stop"), icon="stop", on_click=self._stop).props("outline")
            self.resume = ui.button(say("resume"), icon="play_arrow", on_click=self._resume)
        self.status = ui.label("").classes("studio-status studio-sweep-status")
        self.chart = ui.echart(draw_parallel([], "")).classes("studio-chart")
        self.table = ui.element("div").classes("studio-outputs").props("tabindex=0")
        self._show_buttons(None)
        ui.timer(SECONDS, self._follow)

    # The form -------------------------------------------------------------------------------------

    def _add_values(self, label: str, options: Sequence[str]) -> ui.select:
        field = ui.select(
            list(options),
            value=[],
            label=label,
            multiple=True,
            with_input=True,
            new_value_mode="add-unique",
            on_change=self._write,
        )
        return field.props(f"{FIELD} use-chips")

    def open(self) -> None:
        """Offer the keys of the model as it is, and list the sweeps."""
        offered = self._offer()
        self.key.set_options([key for key in offered if key not in self.values])
        self._list()
        self._write()
        self._follow()

    def _offer(self) -> dict[str, list[str]]:
        """Return the keys that can be swept, each with values."""
        form = self.page.edit_panel.form
        slots = {f"model/{slot['name']}": list(slot["options"]) for slot in form.get("slots", ())}
        params = {
            f"model.params.{param['name']}": list_values(param["value"], param["kind"])
            for param in form.get("params", ())
        }
        groups = {name: list(option_files(name)) for name in GROUPS}
        return {**slots, **params, **groups, **OTHERS}

    def _add_key(self) -> None:
        key = str(self.key.value or "").strip()
        if not key or key in self.values:
            return
        with self.rows, ui.element("div").classes("studio-key"):
            self.values[key] = self._add_values(key, self._offer().get(key, []))
        self.key.set_options([each for each in self._offer() if each not in self.values])
        self.key.value = None

    def _words(self) -> list[str]:
        """Return the command line behind `train -m`."""
        values: dict[str, list[str]] = {
            RATE: list(self.rates.value),
            **{key: list(field.value) for key, field in self.values.items()},
        }
        if self.epochs.value:
            values["trainer.max_epochs"] = [str(int(self.epochs.value))]
        seeds = min(int(self.seeds.value or 1), MOST_SEEDS)
        if seeds > 1:
            values[SEED] = [str(seed) for seed in range(seeds)]
        return sweep_words(self.page.command, values)

    def _write(self) -> None:
        """Show the command line that trains the same."""
        self.command.text = shlex.join([*train_command(), "-m", *self._words()])

    def _copy(self) -> None:
        ui.clipboard.write(self.command.text)
        ui.notify(self.page.say("copied"), position="bottom-left")

    async def _start(self) -> None:
        page, words = self.page, self._words()
        if page.errors_now:
            text = page.say("the model has a mistake; mend it before you train")
            ui.notify(text, type="warning", position="bottom-left")
            return
        found = await page.ask("sweep", words=words)
        with page.client:
            if found["errors"]:
                text = page.say.in_one_line(found["errors"][0], "got", "fits")
                ui.notify(text, type="warning", position="bottom-left")
                return
            try:
                sweep = page.sweeps.start(words, found["jobs"], found["draft"])
            except SweepError as error:
                ui.notify(page.say.message(str(error)), type="warning", position="bottom-left")
                return
            self._list()
            self.chosen.value = sweep.name

    # How it goes ----------------------------------------------------------------------------------

    def _list(self) -> None:
        names = {
            sweep.name: f"{sweep.name} · {len(sweep.jobs)}" for sweep in self.page.sweeps.list()
        }
        now = self.chosen.value
        if now not in names:
            now = next(iter(names), None)
        self.chosen.set_options(names, value=now)

    def _choose(self) -> None:
        self.sweep, self.shown = None, None
        if self.chosen.value:
            try:
                self.sweep = self.page.sweeps.read(str(self.chosen.value))
            except SweepError as error:
                self.status.text = self.page.say.message(str(error))
        self._follow()

    def _stop(self) -> None:
        if self.sweep is not None:
            self.page.sweeps.stop(self.sweep)

    def _resume(self) -> None:
        if self.sweep is not None:
            self.page.sweeps.resume(self.sweep)

    def _follow(self) -> None:
        """Show what a sweep has reached since the last look."""
        if self.sweep is None or self.page.tabs.value != "sweep":
            return
        rows = self.page.sweeps.describe(self.sweep)
        state = self.page.sweeps.is_running(self.sweep), rows
        if state == self.shown:
            return
        self.shown = state
        self._show_buttons(rows)
        measures = list_axes(rows)
        now = self.measure.value if self.measure.value in measures else next(iter(measures), None)
        self.measure.set_options(measures, value=now)
        self._show_table(rows)
        self._draw()

    def _show_buttons(self, rows: Sequence[Row] | None) -> None:
        is_running = self.sweep is not None and self.page.sweeps.is_running(self.sweep)
        finished = sum(row["status"] == FINISHED for row in rows or ())
        self.stop.visible = is_running
        self.resume.visible = bool(rows) and not is_running and finished < len(rows or ())
        self.status.text = ""
        if rows:
            status = self.page.say("running" if is_running else "not running")
            self.status.text = f"{finished} / {len(rows)} {self.page.say(FINISHED)} · {status}"

    def _draw(self) -> None:
        """Draw each training as a line from the values of its keys to its measure."""
        self.chart.options.clear()
        if self.shown is not None:
            self.chart.options.update(draw_parallel(self.shown[1], str(self.measure.value or "")))
        self.chart.update()

    def _show_table(self, rows: Sequence[Row]) -> None:
        say = self.page.say
        keys = list_settings(rows)
        measures = list_axes(rows)[:SHOWN]
        self.table.clear()
        with self.table:
            with ui.element("table"):
                add_row("th", ["", *keys, say("status"), *map(format_name, measures), ""])
                for row in rows:
                    with ui.element("tr"):
                        cells = [str(row["job"]), *(value_of(row, key) for key in keys)]
                        add_cells("td", [*cells, say(row["status"])])
                        add_cells("td", [format_score(row, name) for name in measures])
                        with ui.element("td"):
                            if row["status"] == FINISHED and row["folder"]:
                                link_report(say, row["folder"])
            if SEED in keys and list_metrics(rows):
                self._show_means(rows, [key for key in keys if key != SEED])

    def _show_means(self, rows: Sequence[Row], keys: Sequence[str]) -> None:
        """List mean and standard deviation over the seeds."""
        say, metrics = self.page.say, list_metrics(rows)[:SHOWN]
        with ui.element("table"):
            add_row("th", [*keys, say("runs"), *(f"{format_name(each)} ±" for each in metrics)])
            for mean in group_by_seed(rows):
                cells = [str(mean[key]) for key in keys]
                cells.append(str(mean["runs"]))
                cells += [
                    format_mean(mean[f"{each} mean"], mean[f"{each} std"]) for each in metrics
                ]
                add_row("td", cells)


def list_values(value: str, kind: str) -> list[str]:
    """Return values to offer for a param: half, the same, and double of a whole number."""
    if kind == "switch":
        return ["true", "false"]
    if kind == "number" and value.isdecimal():
        number = int(value)
        return [str(each) for each in dict.fromkeys((max(1, number // 2), number, 2 * number))]
    return [value]


def format_score(row: Mapping[str, Any], name: str) -> str:
    """Return a measure of a training; empty where it has none."""
    return f"{row[name]:.4f}" if name in row else ""


def add_row(kind: str, cells: Sequence[str]) -> None:
    """Add a row to the table around it."""
    with ui.element("tr"):
        add_cells(kind, cells)


def add_cells(kind: str, cells: Sequence[str]) -> None:
    """Add cells to the row around them."""
    for cell in cells:
        with ui.element(kind):
            ui.label(cell)
