"""The part of the page that looks into a run: one input, its prediction, attention, nodes, maps."""

import json
import math
from typing import Any, Protocol

from nicegui import events, ui

from blocks.studio.page.language.phrases import Phrases
from blocks.studio.process import Answers
from blocks.studio.run.runs import Runs

FIELD = "dense outlined options-dense"
SECONDS = 2.0  # between two looks at the checkpoints
LARGEST = 64  # pixels of a side of what is drawn
HEATS = ("nothing", "gradients", "activations")

WORDS = {
    "query": "the token that looks",
    "point": "point at a place: each head shows where it looks",
    "extra": "a token without a place in the input, e.g. the class token",
    "head": "head",
    "most": "largest weight",
}


class Owner(Protocol):
    """The page, as this part knows it."""

    say: Phrases
    runs: Runs
    looks: Answers
    client: Any
    tabs: Any


class LookPanel:
    """Looks into a run, again after each epoch."""

    def __init__(self, page: Owner):
        self.page = page
        self.what: dict[str, Any] = {"index": 0}
        self.saved, self.is_busy, self.layer = 0.0, False, ""
        self.found: dict[str, Any] = {}
        say = page.say
        note = say("what the network of a run makes of one input; renewed after each epoch")
        ui.label(note).classes("studio-soft")
        with ui.element("div").classes("studio-row"):
            self.run = ui.select([], label=say("run"), on_change=self._choose_run).props(FIELD)
            self.heat = ui.select(
                {name: say(name) for name in HEATS},
                value=HEATS[0],
                label=say("on the nodes"),
                on_change=self._show_heat,
            ).props(FIELD)
        with ui.element("div").classes("studio-row"):
            self.index = ui.number(
                say("test sample"), value=0, min=0, step=1, on_change=self._choose_sample
            ).props(FIELD)
            self.sentence = ui.input(say("a sentence of your own")).props(FIELD)
            self.sentence.on("keydown.enter", self._read_sentence)
        self.drawing = ui.element("div").classes("studio-drawing")
        with self.drawing:
            ui.label(say("or draw")).classes("studio-soft")
            sheet = ui.element("canvas").classes("studio-draw").props("role=img")
            sheet.props(f'aria-label="{say("a field to draw in")}"')
            ui.button(say("clear"), on_click=self._clear).props("flat dense no-caps")
        self.problem = ui.label("").classes("studio-problem")
        self.waiting = ui.label(say("computing…")).classes("studio-soft").props("role=status")
        self.layers = ui.select(
            [], label=say("layer of attention"), on_change=self._choose_layer
        ).props(FIELD)
        with ui.element("div") as stage:
            stage.classes("studio-look")
        self.maps = ui.html("", sanitize=False).classes("studio-maps")
        self.table = ui.element("div").classes("studio-outputs").props("tabindex=0")
        for part in (self.sentence, self.drawing, self.layers, self.waiting):
            part.visible = False
        ui.on("studio-drawn", self._draw)
        ui.timer(SECONDS, self._follow)

    async def open(self) -> None:
        """List the runs that can be looked into, and look into the one that is chosen."""
        runs = [run["run"] for run in self.page.runs.list_runs() if run["saved"]]
        self.run.set_options(runs, value=self.run.value if self.run.value in runs else None)
        if self.run.value is None and runs:
            self.run.value = runs[0]  # which looks
        elif self.found:
            await self._show_attention()
        ui.run_javascript("studioLook.draw()")

    async def _choose_run(self) -> None:
        self.saved, self.what = 0.0, {"index": 0}
        self.index.value = 0
        await self._look()

    async def _choose_sample(self) -> None:
        if self.index.value is not None:
            self.what = {"index": int(self.index.value)}
            await self._look()

    async def _read_sentence(self) -> None:
        if self.sentence.value:
            self.what = {"sentence": self.sentence.value}
            self.index.value = None
            await self._look()

    async def _draw(self, event: events.GenericEventArguments) -> None:
        rows = event.args
        fits = isinstance(rows, list) and 0 < len(rows) <= LARGEST
        if fits and all(isinstance(row, list) and len(row) <= LARGEST for row in rows):
            self.what = {"pixels": rows}
            self.index.value = None
            await self._look()

    def _clear(self) -> None:
        ui.run_javascript("studioLook.clear()")

    def choose_node(self, path: str) -> bool:
        """Choose the layer of attention that a node is; return whether it is one."""
        is_layer = path in self.found.get("layers", ())
        if is_layer:
            self.layers.value = path  # which shows it
        return is_layer

    async def _choose_layer(self) -> None:
        if self.layers.value and self.layers.value != self.layer:
            self.layer = self.layers.value
            await self._show_attention()

    async def _follow(self) -> None:
        """Look again where the run has saved a newer checkpoint."""
        run = self.run.value
        if run and self.page.tabs.value == "look" and not self.is_busy:
            saved = self.page.runs.saved_at(run)
            if self.saved and saved > self.saved:
                await self._look()

    async def _look(self) -> None:
        """Look at what is chosen; what is chosen meanwhile is looked at next."""
        if self.is_busy:
            return
        found, looked = dict[str, Any](), ("", dict[str, Any]())
        self.is_busy = self.waiting.visible = True
        try:
            while self.run.value and looked != (self.run.value, self.what):
                looked = self.run.value, self.what
                found = await self.page.looks.ask("look", run=looked[0], what=looked[1])
        finally:
            self.is_busy = self.waiting.visible = False
        if not found:
            return
        if not self.page.client.has_socket_connection:  # the page was left meanwhile
            return
        with self.page.client:
            self.problem.text = " · ".join(
                filter(None, map(self.page.say.problem, found["errors"]))
            )
            if found["errors"]:
                return
            self.found, self.saved = found, found["saved"]
            self.sentence.visible = found["kind"] == "text"
            self.drawing.visible = found["kind"] == "image"
            self.layers.visible = bool(found["layers"])
            if self.layer not in found["layers"]:
                self.layer = found["layers"][-1] if found["layers"] else ""
            self.layers.set_options(found["layers"], value=self.layer or None)
            self.maps.content = found["maps"]
            self._show_outputs()
            self._show_heat()
            await self._show_attention()

    async def _show_attention(self) -> None:
        attention = None
        if self.layer:
            run = self.run.value
            attention = await self.page.looks.ask("attention", run=run, layer=self.layer)
            if attention["errors"]:
                self.problem.text = self.page.say.problem(attention["errors"][0])
                attention = None
        say = self.page.say
        words = {name: say(text) for name, text in WORDS.items()}
        shown = {key: self.found.get(key) for key in ("image", "tokens", "truth", "prediction")}
        shown |= {"attention": attention, "words": words}
        self.page.client.run_javascript(f"studioLook.show({json.dumps(shown)})")

    def _show_outputs(self) -> None:
        """List the nodes with the shapes and the spread of their outputs."""
        self.table.clear()
        with self.table, ui.element("table"):
            with ui.element("tr"):
                for name in ("node", "outputs", "mean", "spread"):
                    with ui.element("th"):
                        ui.label(self.page.say(name))
            for node in self.found["nodes"]:
                with ui.element("tr"):
                    shape = " × ".join(map(str, node["shape"]))
                    cells = (node["path"], shape, node.get("mean", ""), node.get("std", ""))
                    for cell in cells:
                        with ui.element("td"):
                            ui.label(str(cell))

    def _show_heat(self) -> None:
        """Put the gradients of the last measured step, or the outputs, on the nodes."""
        values: dict[str, float] = {}
        if self.heat.value == "gradients" and self.run.value:
            values = self.page.runs.read_gradients(self.run.value)
        elif self.heat.value == "activations":
            values = {node["path"]: node.get("std", 0.0) for node in self.found.get("nodes", ())}
        self.page.client.run_javascript(f"studioLook.setHeat({json.dumps(scale(values))})")


def scale(values: dict[str, float]) -> list[tuple[str, float, str]]:
    """Return path, share and label of each number; a factor of 1000 below the largest is 0."""
    known = {path: value for path, value in values.items() if math.isfinite(value) and value > 0}
    most = max(known.values(), default=1.0)
    return [
        (path, max(0.0, 1 + math.log10(value / most) / 3), f"{value:.2g}")
        for path, value in known.items()
    ]
