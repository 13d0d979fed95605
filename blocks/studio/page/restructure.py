"""The edits of the graph: nodes are inserted, replaced, joined and folded; each edits the text."""

import re
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Protocol

from nicegui import events, ui

from blocks.studio.page.assist import Assist
from blocks.studio.page.language.phrases import Phrases
from blocks.studio.text import graph_edits
from blocks.studio.text.edits import EditError

MOST = 60  # options of the palette that are listed
WIDE = ("features", "dim", "hidden")  # arguments that a width fits
JOINS = {
    "Add": "add",
    "Concat": "concatenate the last axis",
    "Concat, axis: 1": "concatenate channels: axis 1 of images",
}


class Owner(Protocol):
    """The page, as this part knows it."""

    say: Phrases
    text: str
    names: dict[str, Any]
    assist: Assist

    async def set_text(self, text: str) -> None:
        """Put another text on the page."""


class Restructure:
    """The row of edits above the graph.

    Args:
        page: whose text is edited.
    """

    def __init__(self, page: Owner):
        self.page, say = page, page.say
        self.picked: list[str] = []
        self.edge: tuple[str, str] | None = None
        self.palette = Palette(page)
        row = ui.element("div").classes("studio-tools")
        with row.props(f'role=toolbar aria-label="{say("edit")}"'):
            self.one = [
                self._add("add_circle_outline", "insert a node behind", self._insert),
                self._add("swap_horiz", "replace the node", self._replace),
                self._add("content_copy", "duplicate the node", self._duplicate),
                self._add("delete_outline", "delete the node", self._delete),
            ]
            several = ui.checkbox(say("choose several")).props("dense size=sm")
            several.on_value_change(self._choose_several)
            self.more = [
                self._add("add_link", "draw a skip connection", self._connect),
                self._add("unfold_less", "fold into a template", self._fold),
            ]
            self._add("format_align_left", "format the text", self._format)
            self.label = ui.label(say("choose a node or an edge")).classes("studio-soft")
        self._show()
        ui.on("studio-pick", self._pick)

    def _add(self, icon: str, name: str, act: Callable[[], Awaitable[None]]) -> ui.button:
        button = ui.button(icon=icon, on_click=act)
        button.props(f'flat round dense size=sm aria-label="{self.page.say(name)}"')
        return button.tooltip(self.page.say(name))

    def _choose_several(self, event: events.ValueChangeEventArguments[bool]) -> None:
        ui.run_javascript(f"studio.pickSeveral({str(bool(event.value)).lower()})")

    def _pick(self, event: events.GenericEventArguments) -> None:
        picked, edge = event.args
        self.picked = [str(path)[:500] for path in picked][:100]
        self.edge = None
        if edge is not None:
            self.edge = str(edge[0])[:500], str(edge[1])[:500]
        self._show()

    def _show(self) -> None:
        """Offer what fits to what is chosen."""
        is_one, is_edge = len(self.picked) == 1, self.edge is not None
        for button in self.one:
            button.set_enabled(is_one)
        self.one[0].set_enabled(is_one or is_edge)
        for button in self.more:
            button.set_enabled(len(self.picked) > 1)
        self.more[1].set_enabled(bool(self.picked))
        text = " + ".join(self.picked)
        if self.edge is not None:
            text = " → ".join(end or "·" for end in self.edge)
        self.label.text = text or self.page.say("choose a node or an edge")

    # Edits ----------------------------------------------------------------------------------------

    async def _edit(self, edit: Callable[..., str], *arguments: Any) -> None:
        """Change the text; say why where that is not possible."""
        try:
            text = edit(self.page.text, *arguments)
        except EditError as error:
            text = self.page.say.message(str(error))
            ui.notify(text, type="warning", position="bottom-left")
            return
        if text != self.page.text:
            await self.page.set_text(text)

    async def _insert(self) -> None:
        name = "insert a node behind" if self.edge is None else "insert a node between"
        found = await self.palette.choose(f"{self.page.say(name)}: {self.label.text}")
        if found is None:
            return
        node, name = found
        ui.run_javascript("studio.chooseNext()")
        if self.edge is not None and self.edge[1]:
            source = self.edge[0].rpartition(".")[2]
            await self._edit(graph_edits.insert_before, self.edge[1], node, name, source)
        else:
            path = self.edge[0] if self.edge is not None else self.picked[0]
            await self._edit(graph_edits.insert_after, path, node, name)

    async def _replace(self) -> None:
        found = await self.palette.choose(f"{self.page.say('replace the node')}: {self.label.text}")
        if found is not None:
            await self._edit(graph_edits.replace, self.picked[0], found[0])

    async def _duplicate(self) -> None:
        await self._edit(graph_edits.duplicate, self.picked[0])

    async def _delete(self) -> None:
        await self._edit(graph_edits.delete, self.picked[0])

    async def _connect(self) -> None:
        say = self.page.say
        joins = {block: f"{block.partition(',')[0]}: {say(text)}" for block, text in JOINS.items()}
        block = await _ask(say, say("joined by"), next(iter(joins)), joins)
        if block:
            await self._edit(graph_edits.connect, self.picked[0], self.picked[-1], block)

    async def _fold(self) -> None:
        name = await _ask(self.page.say, self.page.say("name of the template"), "part", {})
        if name:
            await self._edit(graph_edits.fold, self.picked, name)

    async def _format(self) -> None:
        await self._edit(graph_edits.format_text)


async def _ask(say: Phrases, label: str, value: str, options: dict[str, str]) -> str | None:
    """Ask for a word, one of the options if there are some: each with what is shown for it."""
    with ui.dialog() as dialog, ui.card().classes("studio-palette"):
        field: Any = ui.input(label, value=value)
        if options:
            field.delete()
            field = ui.select(options, value=value, label=label)
        field.props("outlined dense autofocus").classes("full-width")
        ui.button(say("apply"), on_click=lambda: dialog.submit(field.value))
    found = await dialog
    dialog.delete()
    return None if found is None else str(found)


class Palette:
    """The blocks and slots, searched by name and summary.

    Args:
        page: whose slots are offered.
    """

    def __init__(self, page: Owner):
        self.page = page
        with ui.dialog() as self.dialog, ui.card().classes("studio-palette"):
            self.title = ui.label("").classes("studio-heading studio-path")
            self.search = ui.input(page.say("search blocks and slots"), on_change=self._fill)
            self.search.props("outlined dense autofocus clearable").classes("full-width")
            self.search.on("keydown.enter", self._take_first)
            self.found = ui.element("div").classes("studio-found")
            cancel = ui.button(page.say("cancel"), on_click=self.dialog.close)
            cancel.props("flat no-caps")

    async def choose(self, title: str) -> tuple[str, str] | None:
        """Return the text of a node, and a name for it; None where nothing was chosen."""
        self.title.text = title
        await self.page.assist.prepare()
        self.search.value = ""
        self._fill()
        chosen: tuple[str, str] | None = await self.dialog
        return chosen

    def _options(self) -> Iterator[tuple[str, str, str]]:
        """Yield kind, name and summary of what fits the search."""
        search = (self.search.value or "").casefold().split()
        found = [("use", slot, text) for slot, text in self.page.names.get("nodes", {}).items()]
        if Assist.known is not None:
            found += [("block", name, text) for name, text in Assist.known.blocks().items()]
        start = "".join(search)
        ranked = sorted(found, key=lambda each: not each[1].casefold().startswith(start))
        for kind, name, text in ranked:
            if all(word in f"{kind} {name} {text}".casefold() for word in search):
                yield kind, name, text

    def _fill(self) -> None:
        self.found.clear()
        with self.found:
            for kind, name, text in list(self._options())[:MOST]:
                row = ui.element("button").classes("studio-option").props("type=button")
                row.on("click", lambda kind=kind, name=name: self._take(kind, name))
                with row:
                    ui.label(f"{name}" if kind == "block" else f"{kind}: {name}")
                    ui.label(text.partition("\n")[0]).classes("studio-soft")

    def _take_first(self) -> None:
        for kind, name, _ in self._options():
            self._take(kind, name)
            return

    def _take(self, kind: str, name: str) -> None:
        arguments = ""
        if kind == "block" and Assist.known is not None:
            needed = Assist.known.needed(name)
            arguments = "".join(f", {key}: {self._guess(key)}" for key in needed)
        short = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
        self.dialog.submit((f"{{{kind}: {name}{arguments}}}", short))

    def _guess(self, key: str) -> str:
        """Return a first value of an argument that must be given."""
        params = self.page.names.get("model", {}).get("params") or {}
        if key in params:
            return key
        if key in WIDE and "dim" in params:
            return "dim"
        return "???"
