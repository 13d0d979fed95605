"""The arguments of a node as fields; each change is an edit of the text."""

import re
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol

import yaml
from nicegui import ui

from blocks.studio.page.language.phrases import Phrases

FIELD = "dense outlined options-dense"
TYPED = " debounce=400"  # milliseconds without a keystroke, after which a value is taken
GIVEN = re.compile(r"(\w+)[:=]")  # the argument that a mistake names first
Argument = Mapping[str, Any]


class Owner(Protocol):
    """The page, as this part knows it."""

    say: Phrases

    async def edit(self, kind: str, name: str, value: str, node: str = "") -> None:
        """Change a slot, a param or an argument in the text."""


class Arguments:
    """The arguments of one node.

    Args:
        page: whose text is edited.
    """

    def __init__(self, page: Owner):
        self.page = page
        self.node, self.outline = "", list[Any]()
        self.fields: dict[str, Any] = {}
        self.notes: dict[str, ui.label] = {}
        self.mistakes: dict[str, ui.label] = {}
        self.known: dict[str, Argument] = {}
        self.is_filling, self.edits = False, 0
        self.is_late, self.is_wrong = False, False  # filled while a field was edited; has mistakes
        self.column = ui.element("div").classes("studio-arguments")

    def fill(self, found: Mapping[str, Any]) -> None:
        """Show the arguments as they are; the fields of the same node stay, with their focus."""
        arguments: Sequence[Argument] = found["arguments"]
        outline = [found["path"], found["block"], *map(_outline, arguments)]
        self.known = {argument["name"]: argument for argument in arguments}
        self.is_filling = True
        if outline != self.outline:
            self.node, self.outline = found["path"], outline
            self._build(found)
        self.is_late = self.edits > 0
        self._show_all()
        self.blame([])

    def clear(self) -> None:
        """Show no arguments."""
        self.column.clear()
        self.fields, self.notes, self.mistakes, self.outline = {}, {}, {}, []
        self.known = {}

    def blame(self, errors: Sequence[Mapping[str, Any]]) -> None:
        """Say at a field what is wrong with its value."""
        said: dict[str, str] = {}
        self.is_wrong = bool(errors)
        for entry in errors:
            given = GIVEN.match(entry["got"] or "")
            path = (entry["path"] or "").removeprefix("graph.")
            if given is not None and path in (self.node, f"{self.node}.{given[1]}"):
                said.setdefault(given[1], self.page.say.problem(entry))
        for name, label in self.mistakes.items():
            label.text = said.get(name, "")
            label.visible = bool(label.text)

    def _build(self, found: Mapping[str, Any]) -> None:
        say = self.page.say
        self.column.clear()
        self.fields, self.notes, self.mistakes = {}, {}, {}
        if not found["arguments"]:
            return
        with self.column:
            ui.label(say("arguments")).classes("studio-heading")
            if found["target"]:
                with ui.element("div").classes("studio-soft"):
                    ui.label(f"{say('a change is written to')} {found['target']}")
            for argument in found["arguments"]:
                with ui.element("div").classes("studio-argument"):
                    self._add(argument)

    def _add(self, argument: Argument) -> None:
        name = argument["name"]
        if not _is_editable(argument):
            field: Any = ui.input(name).props(f"{FIELD} readonly")
        elif argument["choices"]:
            field = ui.select(_options(argument), label=name).props(f"{FIELD} clearable")
        else:
            field = ui.input(name).props(f"{FIELD} clearable{TYPED}")
        if argument["text"]:
            text = argument["text"]
            field.tooltip(text[:1].upper() + text[1:])
        field.on_value_change(lambda event: self._change(name, event.value))
        field.on("blur", lambda: self._restore(name))
        self.fields[name] = field.classes("full-width").mark(f"argument-{name}")
        self.mistakes[name] = ui.label("").classes("studio-problem").props("role=status")
        self.notes[name] = ui.label("").classes("studio-soft")

    def _show_all(self) -> None:
        """Show the arguments as they are; what is typed while an edit runs stays."""
        self.is_filling = True
        for argument in self.known.values():
            self._show(argument)
        self.is_filling = False

    def _show(self, argument: Argument) -> None:
        field, written = self.fields[argument["name"]], argument["written"]
        if not _is_editable(argument):
            written = written or argument["value"]
        is_new = not _is_same(str(field.value or ""), written)
        if _is_editable(argument) and argument["choices"]:
            options = _options(argument)
            if options != field.options or (is_new and not self.edits):
                field.set_options(options, value=written or None)
        elif is_new and not self.edits:  # what was typed meanwhile stays
            field.value = written
        self.notes[argument["name"]].text = self._describe(argument)

    def _describe(self, argument: Argument) -> str:
        """Return value, kind, default and origin of an argument in one line."""
        say, written, value = self.page.say, argument["written"], argument["value"]
        origin = argument["origin"]
        if origin == "inferred":
            origin = say(origin)
        elif not written and argument["default"] == "inferred":
            origin = ""
        elif not written and argument["default"]:
            origin = f"{say('left out')}: {argument['default']}"
        shown = f"= {value}" if written and not _is_same(value, written) and value else ""
        return " · ".join(filter(None, [shown, say.kind(argument["kind"]), origin]))

    def _change(self, name: str, value: Any) -> Awaitable[None] | None:
        """Return the edit to wait for; None where the field was filled, not changed by hand.

        It is decided here and not in the edit, which runs later.
        """
        known = self.known.get(name)
        if self.is_filling or known is None or not _is_editable(known):
            return None
        written = str(value or "").strip()
        if _is_same(written, known["written"]) or not (written or known["is_here"]):
            return None
        return self._edit(name, written)

    async def _edit(self, name: str, value: str) -> None:
        self.edits += 1
        try:
            await self.page.edit("argument", name, value, node=self.node)
        finally:
            self.edits -= 1
        if self.is_late and not self.edits and not self.is_wrong:
            self.is_late = False  # an undo came before the edit had ended
            self._show_all()

    def _restore(self, name: str) -> None:
        """Show again what another file writes, which cannot be left out here."""
        known = self.known.get(name)
        if known is None or self.fields[name].value or known["is_here"]:
            return
        self.is_filling = True
        self._show(known)
        self.is_filling = False


def _is_editable(argument: Argument) -> bool:
    return not (argument["is_fixed"] or _is_inferred(argument))


def _is_same(one: str, other: str) -> bool:
    """Return whether two texts are the same value: 0.10 and 0.1."""
    if one == other:
        return True
    if not one or not other:
        return False
    with suppress(yaml.YAMLError):
        values = yaml.safe_load(one), yaml.safe_load(other)
        return bool(values[0] == values[1] and type(values[0]) is type(values[1]))
    return False


def _is_inferred(argument: Argument) -> bool:
    """Whether an argument follows from what flows in, and nobody wrote it."""
    return bool(argument["default"] == "inferred" and not argument["written"])


def _options(argument: Argument) -> list[str]:
    """Return what a drop-down offers: what fits, and what is written."""
    choices = list(argument["choices"])
    if argument["written"] and argument["written"] not in choices:
        choices.append(argument["written"])
    return choices


def _outline(argument: Argument) -> tuple[Any, ...]:
    """Return what field an argument has, whatever its value."""
    return argument["name"], argument["choices"], argument["is_fixed"], _is_inferred(argument)
