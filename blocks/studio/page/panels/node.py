"""What is known of one node."""

from collections.abc import Mapping
from typing import Any, Protocol

from nicegui import ui

from blocks.graph.describe.table import short
from blocks.studio.page.language.phrases import Phrases


class Owner(Protocol):
    """The page, as this part knows it."""

    say: Phrases


class NodePanel:
    """What is known of one node."""

    def __init__(self, page: Owner):
        self.page = page
        self.column = ui.element("div").classes("studio-node")
        self.clear()

    def clear(self) -> None:
        """Describe no node."""
        self.column.clear()
        with self.column:
            ui.label(self.page.say("choose a node, or a line of the file"))

    def fill(self, found: Mapping[str, Any]) -> None:
        """Describe a node."""
        say = self.page.say
        self.column.clear()
        rows = [
            (say("written at"), found["where"]),
            (say("inputs"), "\n".join(found["inputs"])),
            (say("outputs"), "\n".join(found["outputs"])),
            (say("parameters"), self._count(found)),
            (say("multiply-adds"), short(found["macs"]) or "0"),
            (say("memory for training"), short(found["memory"], "B") or "0"),
            (say("receptive field"), found["field"]),
            (say("formula"), found["formula"]),
            (say("source"), found["source"]),
        ]
        with self.column:
            ui.label(found["path"]).classes("studio-heading studio-path")
            ui.label(found["block"]).classes("studio-block")
            if found["summary"]:
                ui.label(found["summary"]).classes("studio-soft")
            with ui.element("div").classes("studio-table"):
                for name, text in rows:
                    if text:
                        ui.label(name).classes("studio-soft")
                        ui.label(text)
            if found["arguments"]:
                ui.label(say("arguments")).classes("studio-heading")
            for argument in found["arguments"]:
                self._show_argument(argument)
            fold = ui.expansion(say("where each value comes from")).classes("studio-why")
            with fold, ui.element("pre").classes("studio-code"):
                ui.label(found["why"])

    def _count(self, found: Mapping[str, Any]) -> str:
        """Return the parameters; a node that is repeated has a box with those of all repeats."""
        count = f"{found['parameters']:,}"
        if any(part.isdecimal() for part in found["path"].split(".")):
            count += f" ({self.page.say('of this repeat; its box counts all of them')})"
        return count

    def _show_argument(self, argument: Mapping[str, str]) -> None:
        with ui.element("div").classes("studio-argument"):
            ui.label(argument["name"]).classes("studio-name")
            value = argument["value"]
            if argument["written"] not in ("", value):
                value = f"{argument['written']} = {value}" if value else argument["written"]
            ui.label(value)
            origin = argument["origin"]
            if origin == "inferred":
                origin = self.page.say(origin)
            ui.label(origin).classes("studio-soft")
