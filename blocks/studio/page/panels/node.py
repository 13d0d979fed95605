"""What is known of one node."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from nicegui import ui

from blocks.graph.describe.table import short
from blocks.studio.page.fold import add_fold
from blocks.studio.page.language.phrases import Phrases
from blocks.studio.page.panels.arguments import Arguments


class Owner(Protocol):
    """The page, as this part knows it."""

    say: Phrases

    async def edit(self, kind: str, name: str, value: str, node: str = "") -> None:
        """Change a slot, a param or an argument in the text."""


class NodePanel:
    """What is known of one node, and its arguments as fields."""

    def __init__(self, page: Owner):
        self.page = page
        self.head = ui.element("div").classes("studio-node")
        self.arguments = Arguments(page)
        self.tail = ui.element("div")
        self.fold, self.why = add_fold(page.say("where each value comes from"), "studio-wrapped")
        self.clear()

    def clear(self) -> None:
        """Describe no node."""
        self.head.clear()
        self.arguments.clear()
        self.tail.clear()
        self.fold.visible = False
        with self.head:
            ui.label(self.page.say("choose a node, or a line of the file"))

    def fill(self, found: Mapping[str, Any]) -> None:
        """Describe a node."""
        say = self.page.say
        self.head.clear()
        rows = [
            (say("written at"), found["where"]),
            (say("inputs"), "\n".join(found["inputs"])),
            (say("outputs"), "\n".join(found["outputs"])),
            (say("parameters"), self._count(found)),
            (say("multiply-adds"), short(found["macs"]) or "0"),
            (say("memory for training"), short(found["memory"], "B") or "0"),
            (say("receptive field"), found["field"]),
        ]
        with self.head:
            ui.label(found["path"]).classes("studio-heading studio-path")
            ui.label(found["block"]).classes("studio-block")
            if found["summary"]:
                ui.label(found["summary"]).classes("studio-soft")
            self._list(rows)
        self.arguments.fill(found)
        self.tail.clear()
        with self.tail:
            self._list([(say(name), found[name]) for name in ("formula", "source")])
        self.why.text = found["why"]
        self.fold.visible = True

    def blame(self, errors: Sequence[Mapping[str, Any]]) -> None:
        """Say at a field what is wrong with its value."""
        self.arguments.blame(errors)

    def _list(self, rows: Sequence[tuple[str, str]]) -> None:
        """Show texts with their names; those that are empty are left out."""
        with ui.element("div").classes("studio-table"):
            for name, text in rows:
                if text:
                    ui.label(name).classes("studio-soft")
                    ui.label(text)

    def _count(self, found: Mapping[str, Any]) -> str:
        """Return the parameters; a node that is repeated has a box with those of all repeats."""
        count = f"{found['parameters']:,}"
        if any(part.isdecimal() for part in found["path"].split(".")):
            count += f" ({self.page.say('of this repeat; its box counts all of them')})"
        return count
