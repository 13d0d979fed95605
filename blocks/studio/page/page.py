"""The page: the text of a model, its graph beside it, and what can be done with both."""

import asyncio
import json
import uuid
from collections.abc import Awaitable
from contextlib import suppress
from typing import Any

from nicegui import app, events, ui

from blocks.studio.drafts import NAME, DraftError, Drafts
from blocks.studio.page.assist import Assist
from blocks.studio.page.begin import LEVELS, TABS, Begin
from blocks.studio.page.command import CommandBar
from blocks.studio.page.history import Histories, History
from blocks.studio.page.language.phrases import LANGUAGES, Phrases
from blocks.studio.page.panels.code import CodePanel
from blocks.studio.page.panels.compare import ComparePanel
from blocks.studio.page.panels.edit import EditPanel
from blocks.studio.page.panels.errors import Errors
from blocks.studio.page.panels.node import NodePanel
from blocks.studio.page.panels.numbers import Numbers
from blocks.studio.page.restructure import Restructure
from blocks.studio.page.run.look import LookPanel
from blocks.studio.page.run.runs import RunsPanel
from blocks.studio.page.run.sweep import SweepPanel
from blocks.studio.page.run.train import TrainPanel
from blocks.studio.page.share import Share, open_link
from blocks.studio.process import Answers
from blocks.studio.run.runs import Runs
from blocks.studio.run.sweeps import Sweeps
from blocks.support.conf_folders import option_files

PATIENCE = 0.3  # seconds without an answer, after which the page says that it checks
QUIET = 0.2  # seconds without a keystroke, after which numbers and fixes are asked for
PAINT = 0.1  # seconds within which a browser paints a graph
THEMES = {"": "as the system", "light": "light", "dark": "dark"}
DARK = {"": None, "light": False, "dark": True}
ZOOMS = (
    ("zoom_out", "zoom out", "studio.zoom(0.8)"),
    ("zoom_in", "zoom in", "studio.zoom(1.25)"),
    ("fit_screen", "fit the width", "studio.fit()"),
)


class Page:
    """One page in one browser.

    Args:
        answers: the process that answers about the model.
        looks: the one that looks into runs.
        runs: the runs of the project.
        begin: what is shown first.
        histories: of the models, for undo.
        language: "en" or "zh".
        theme: "light", "dark" or "" for that of the system.
    """

    def __init__(
        self,
        answers: Answers,
        looks: Answers,
        runs: Runs,
        begin: Begin,
        histories: Histories,
        language: str,
        theme: str,
    ):
        self.answers, self.looks, self.runs, self.begin = answers, looks, runs, begin
        self.sweeps, self.drafts = Sweeps(answers.project), Drafts(answers.project)
        self.say = Phrases(language)
        self.theme = theme if theme in THEMES else ""
        self.key = uuid.uuid4().hex
        self.model, self.data, self.depth = begin.model, begin.data, begin.depth
        self.text, self.shown_text = "", ""
        self.command: list[str] = []
        self.chosen = ""  # node
        self.late: asyncio.TimerHandle | None = None  # says that an answer is awaited
        self.histories = histories
        self.history, self.steps = History(""), dict[int, ui.button]()
        self.is_busy, self.is_setting = False, False
        self.newer = asyncio.Event()  # something is wanted that is not shown
        self.painted = asyncio.Event()  # the browser has painted the last graph
        self.errors_now: list[dict[str, Any]] = []
        self.names: dict[str, Any] = {}  # that completion offers

    @property
    def words(self) -> list[str]:
        """The overrides beside the model."""
        if self.data == self.begin.data:
            return self.begin.all_words
        # the others were meant for the data of the command line
        return [f"data={self.data}"] if self.data else []

    async def ask(self, ask: str, **arguments: Any) -> dict[str, Any]:
        """Ask about the model of this page."""
        return await self.answers.ask(ask, page=self.key, **arguments)

    def show(self) -> None:
        """Build the page."""
        drafts = self.drafts
        try:
            self.text, _ = drafts.read(self.model)
        except DraftError as error:
            ui.label(self.say.message(str(error))).classes("studio-problem")
            ui.link("→", "/?model=vit")
            return
        self.history = self.histories.open(self.model, self.text)
        self.client = ui.context.client
        ui.dark_mode(DARK[self.theme])
        ui.colors(primary="#0B63CE")
        self.models = drafts.names()
        self._show_header(self.models)
        with ui.element("div").classes("studio-main"):
            self._show_text()
            self._show_graph()
            self._show_panels()
        ui.on("studio-node", self._choose_node)
        ui.on("studio-painted", self.painted.set)
        ui.run_javascript(f"document.documentElement.lang = {json.dumps(self.say.language)}")
        self.client.on_connect(self._begin)

    async def _begin(self) -> None:
        """Show the first answer in the theme of the browser."""
        self.client.run_javascript("studio.extend(); studio.follow(); studio.keepTheme()")
        with self.client:
            self.train_panel.recall(app.storage.tab)
            self.runs_panel.recall(app.storage.tab)
        await self._refresh()
        await open_link(self, self.client)
        await self.assist.prepare()
        if not self.theme:
            dark = "if (matchMedia('(prefers-color-scheme: dark)').matches)"
            self.client.run_javascript(f"{dark} studio.paint('githubDark')")

    # Parts ----------------------------------------------------------------------------------------

    def _show_header(self, models: list[str]) -> None:
        say = self.say
        with ui.element("header").classes("studio-header"):
            brand = ui.label("斗拱 Dougong Studio").classes("studio-brand")
            brand.props("role=heading aria-level=1")
            ui.select(
                models,
                value=self.model,
                label=say("model"),
                with_input=True,
                on_change=lambda event: self._go(model=event.value),
            ).props("dense outlined options-dense").classes("studio-choice").mark("model")
            data = {"": say("example of the model")}
            data |= {name: name for name in option_files("data")}
            ui.select(
                data,
                value=self.data if self.data in data else "",
                label=say("data"),
                on_change=lambda event: self._choose_data(event.value),
            ).props("dense outlined options-dense").classes("studio-choice").mark("data")
            for icon, name, by in (("undo", "undo", -1), ("redo", "redo", 1)):
                button = ui.button(icon=icon, on_click=lambda by=by: self._step(by))
                button.props(f'flat round dense aria-label="{say(name)}"').tooltip(say(name))
                button.set_enabled(False)
                self.steps[by] = button
            ui.element("div").classes("studio-space")
            share = Share(self)
            button = ui.button(say("share"), icon="ios_share", on_click=share.dialog.open)
            button.props("flat dense no-caps")
            ui.select(
                LANGUAGES,
                value=say.language,
                label=say("language"),
                on_change=lambda event: self._go(lang=event.value),
            ).props("dense outlined options-dense").classes("studio-small")
            ui.select(
                {name: say(text) for name, text in THEMES.items()},
                value=self.theme,
                label=say("theme"),
                on_change=lambda event: self._go(theme=event.value),
            ).props("dense outlined options-dense").classes("studio-small")
        self.command_bar = CommandBar(self)

    def _show_text(self) -> None:
        with ui.element("section").classes("studio-left"):
            with ui.element("div").classes("studio-title"):
                ui.label(self.say("model file"))
                ui.label(f"{self.model}.yaml").classes("studio-soft")
            theme = "githubDark" if self.theme == "dark" else "githubLight"
            self.editor = ui.codemirror(
                self.text,
                language="YAML",
                theme=theme,
                indent="  ",
                line_wrapping=True,
                on_change=self._type,
                keymap={"Mod-s": lambda: None},
            ).classes("studio-editor")
            self.editor.props(f'data-name="{self.say("model file; Esc, then Tab leaves it")}"')
            self.errors = Errors(self)
            self.assist = Assist(self)

    def _show_graph(self) -> None:
        say = self.say
        with ui.element("section").classes("studio-middle"):
            with ui.element("div").classes("studio-title"):
                ui.label(say("graph"))
                self.note = ui.label("").classes("studio-soft studio-note")
                ui.element("div").classes("studio-space")
                ui.select(
                    {
                        depth: say(text) if text.isalpha() else text
                        for depth, text in LEVELS.items()
                    },
                    value=self.depth,
                    label=say("levels"),
                    on_change=lambda event: self._choose_depth(event.value),
                ).props("dense outlined options-dense").classes("studio-small")
                for icon, name, code in ZOOMS:
                    button = ui.button(icon=icon).tooltip(say(name))
                    button.props(f'flat round dense aria-label="{say(name)}"')
                    button.on("click", js_handler=f"() => {code}")
            self.restructure = Restructure(self)
            self.numbers = Numbers(say)
            with ui.element("div").classes("studio-graphs"):
                self.stage = ui.element("div").props("tabindex=0 role=group")
                self.stage.props(f'aria-label="{say("graph")}"').classes("studio-graph")
                other = ui.element("div").props("tabindex=0 role=group")
                other.props(f'aria-label="{say("the other graph")}"').classes("studio-other")

    def _show_panels(self) -> None:
        say = self.say
        with ui.element("section").classes("studio-right"):
            with ui.tabs().props("dense no-caps inline-label") as tabs:
                made = {name: ui.tab(name, label=say(name)) for name in TABS}
            self.tabs = tabs
            panels = ui.tab_panels(tabs, value=self.begin.tab, animated=False)
            with panels.classes("studio-panels"):
                with ui.tab_panel(made["edit"]):
                    self.edit_panel = EditPanel(self)
                with ui.tab_panel(made["node"]):
                    self.node_panel = NodePanel(self)
                with ui.tab_panel(made["difference"]):
                    project = self.answers.project
                    self.compare_panel = ComparePanel(self, project, self.models)
                with ui.tab_panel(made["PyTorch"]):
                    self.code = CodePanel(self)
                with ui.tab_panel(made["train"]):
                    self.train_panel = TrainPanel(self)
                with ui.tab_panel(made["sweep"]):
                    self.sweep_panel = SweepPanel(self)
                with ui.tab_panel(made["look"]):
                    self.look_panel = LookPanel(self)
                with ui.tab_panel(made["runs"]):
                    self.runs_panel = RunsPanel(self)
            tabs.on_value_change(lambda event: self._open_tab(str(event.value)))

    # What happens ---------------------------------------------------------------------------------

    def _go(self, **changes: str) -> None:
        """Open the page with another model, language or theme; the draft is kept."""
        state = {
            "model": self.model,
            "data": self.data,
            "lang": self.say.language,
            "theme": self.theme,
            "tab": str(self.tabs.value),
            **{name: str(value) for name, value in changes.items()},
        }
        if not NAME.fullmatch(state["model"]):
            return
        if "model" in changes:
            state["data"] = ""
        elif self.depth >= 0:
            state["levels"] = str(self.depth)
        with suppress(DraftError):  # the process that answers may be busy with an earlier text
            self.drafts.write(self.model, self.text)
        query = "&".join(f"{name}={value}" for name, value in state.items() if value)
        ui.navigate.to(f"/?{query}")

    def _keep_address(self) -> None:
        """Write into the address what is shown, so that it can be kept and opened again."""
        state = {"model": self.model, "data": self.data, "tab": str(self.tabs.value)}
        if self.depth >= 0:
            state["levels"] = str(self.depth)
        self.client.run_javascript(f"studio.keep({json.dumps(state)})")

    async def _choose_data(self, name: str) -> None:
        self.data = name
        self._keep_address()
        await self._refresh()

    async def _choose_depth(self, depth: int) -> None:
        self.depth = depth
        self._keep_address()
        await self._refresh()

    async def _step(self, by: int) -> None:
        await self.set_text(self.history.step(by), remember=False)

    def _type(self, event: events.ValueChangeEventArguments[str]) -> Awaitable[None] | None:
        """Take over what was typed."""
        if self.is_setting:
            return None
        self.text = event.value
        self.history.add(self.text)
        return self._refresh()

    async def set_text(self, text: str, remember: bool = True) -> None:
        """Put another text on the page."""
        self.is_setting = True
        self.editor.value = text
        self.is_setting = False
        self.text = text
        if remember:
            self.history.changed = 0.0
            self.history.add(text)
        await self._refresh()

    async def edit(self, kind: str, name: str, value: str, node: str = "") -> None:
        """Change a slot, a param or an argument of a node in the text."""
        before, found = "", dict[str, Any]()
        while before != self.text:  # what was typed meanwhile is edited too
            before = self.text
            change = {"kind": kind, "name": name, "value": value, "node": node}
            found = await self.ask("edit", text=before, **change)
        if found["errors"]:
            text = self.say.problem(found["errors"][0])
            ui.notify(text, type="warning", position="bottom-left")
        elif found["text"] != self.text:
            await self.set_text(found["text"])

    async def _refresh(self) -> None:
        """Show the graph of the text as it is now; what was typed meanwhile is shown next."""
        self.newer.set()
        for by, button in self.steps.items():
            button.set_enabled(self.history.has(by))
        if self.late is None:
            self.late = asyncio.get_running_loop().call_later(PATIENCE, self.errors.wait)
        if self.is_busy:
            return
        self.is_busy = True
        try:
            shown: tuple[Any, ...] = ()
            while shown != self._wanted():
                shown = self._wanted()
                self.newer.clear()
                await self._show_answer()
                with suppress(TimeoutError, asyncio.TimeoutError):
                    await asyncio.wait_for(self.newer.wait(), QUIET)
                if shown == self._wanted():
                    await self._show_slower()
        finally:
            self.is_busy = False

    def _wanted(self) -> tuple[Any, ...]:
        return self.text, self.data, self.depth

    async def _show_answer(self) -> None:
        depth = None if self.depth < 0 else self.depth
        text = self.text
        found = await self.ask("graph", depth=depth, model=self.model, text=text, words=self.words)
        self.errors_now = found["errors"]
        if self.late is not None:
            self.late.cancel()
        self.late = None
        if "svg" in found:
            # first and alone: any other update makes the browser compute all of the page again
            await self._draw(found)
        with self.client:
            self.command = found.get("command", self.command)
            self.command_bar.show(self.command)
            self.errors.show(found["errors"])
            self.node_panel.blame(found["errors"])
            if text != self.text:
                self.errors.wait()
            if found["errors"]:
                self.stage.classes(add="studio-stale")
            else:
                self.stage.classes(remove="studio-stale")
            if "svg" in found:
                self._show_model(found)
            elif "form" in found:
                self.edit_panel.fill(found["form"])
            if found["errors"]:
                places = json.dumps(found.get("wrong", [])), json.dumps(found.get("behind", []))
                self.client.run_javascript(f"studio.blame({places[0]}, {places[1]})")

    async def _draw(self, found: dict[str, Any]) -> None:
        """Show the graph of a model, and wait until it is painted or something newer is wanted."""
        self.names = found["names"]
        self.painted.clear()
        shown = json.dumps(found["svg"]), json.dumps(found["lines"])
        self.client.run_javascript(f"studio.show({shown[0]}, {shown[1]})")
        events = [asyncio.ensure_future(each.wait()) for each in (self.painted, self.newer)]
        await asyncio.wait(events, timeout=PAINT, return_when=asyncio.FIRST_COMPLETED)
        for event in events:
            event.cancel()

    def _show_model(self, found: dict[str, Any]) -> None:
        """Show what is known with the graph of a model."""
        self.note.text = " · ".join(found["notes"])
        self.edit_panel.fill(found["form"])
        self.numbers.show_parameters(found["parameters"])

    async def _show_slower(self) -> None:
        """Show what takes longer: the numbers, or the fixes."""
        if self.errors_now:
            arguments = {"model": self.model, "text": self.text, "words": self.words}
            found = await self.ask("fixes", **arguments)
            with self.client:
                self.errors.offer(found.get("fixes", []))
            return
        found = await self._show_numbers()
        with self.client:
            self.compare_panel.note(found.get("now", {}))
        await self._open_tab(str(self.tabs.value))

    async def _show_numbers(self) -> dict[str, Any]:
        """Show the numbers of the model, and the receptive field of the node that was chosen."""
        node = self.chosen
        found = await self.ask("numbers", node=node)
        with self.client:
            if node == self.chosen:  # else those of the other are on their way
                self.numbers.show(found, node)
        return found

    async def _open_tab(self, name: str) -> None:
        """Fill a tab that is not kept in step while it is closed."""
        self._keep_address()
        if name != "difference":
            self.compare_panel.leave()
        if name == "difference":
            await self.compare_panel.fill()
        elif name == "PyTorch":
            await self.code.fill()
        elif name == "node":
            await self._describe_chosen()
        elif name == "sweep":
            with self.client:
                self.sweep_panel.open()
        elif name == "look":
            with self.client:
                await self.look_panel.open()
        elif name == "runs":
            with self.client:
                self.runs_panel.fill()

    async def _describe_chosen(self) -> None:
        """Describe the node that was chosen as it is now; none where it is gone."""
        if not self.chosen:
            return
        node = self.chosen
        found = await self.ask("node", path=node)
        if node != self.chosen:  # another was chosen meanwhile, and is described by that choice
            return
        with self.client:
            if found.get("path") == node:
                self.node_panel.fill(found)
            elif not self.errors_now:
                self.chosen = ""
                self.node_panel.clear()

    async def _choose_node(self, event: events.GenericEventArguments) -> None:
        """Describe the node that was chosen in the graph, or by the cursor."""
        path, by_cursor = event.args
        found = await self.ask("node", path=str(path)[:500])
        if found["errors"] or "path" not in found:
            return
        self.chosen = str(found["path"])
        await self._show_numbers()
        with self.client:
            self.node_panel.fill(found)
            is_looking = self.tabs.value == "look"
            if not by_cursor and not (is_looking and self.look_panel.choose_node(self.chosen)):
                self.tabs.value = "node"
