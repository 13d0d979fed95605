"""The numbers of the model, each with its difference to the model of the file."""

from collections.abc import Mapping
from typing import Any, ClassVar

from nicegui import ui

from blocks.graph.describe.table import short
from blocks.studio.page.language.phrases import Phrases

STEP = "forward and backward of a batch, at the speed of a large product on this CPU"


class Numbers:
    """The numbers of the model, each with its difference to the model of the file."""

    NAMES: ClassVar = {
        "parameters": "parameters",
        "macs": "multiply-adds",
        "memory": "memory for training",
        "step": "least time a step",
        "nodes": "nodes",
        "field": "receptive field",
    }

    def __init__(self, say: Phrases):
        self.say = say
        self.values, self.changes = {}, {}
        with ui.element("div").classes("studio-numbers"):
            for key, name in self.NAMES.items():
                with ui.element("div").classes("studio-number") as self.field:
                    self.field_name = ui.label(say(name)).classes("studio-soft")
                    with ui.element("div").classes("studio-value"):
                        self.values[key] = ui.label("–")
                        self.changes[key] = ui.label("")
                        if key == "step":
                            ui.tooltip(say(STEP))
            self.badge = ui.label("").classes("studio-badge")

    def show_parameters(self, count: int) -> None:
        """Show the number that is known with the graph; the others are those of the text before."""
        label = self.values["parameters"]
        if label.text not in ("–", f"{count:,}"):
            for change in self.changes.values():
                change.text = "…"
        label.text = f"{count:,}"

    def show(self, found: Mapping[str, Any], node: str) -> None:
        """Show all numbers.

        Args:
            node: whose receptive field is given; "" for that of the model.
        """
        now, base = found.get("now"), found.get("base") or {}
        if now is None:
            return
        for key in self.NAMES:
            value = now.get(key)
            if value is not None:
                before = base.get(key)
                self.values[key].text = self._write(key, value)
                self._show_change(key, value, value if before is None else before)
        self.field.visible = now["field"] is not None
        self.field_name.text = " · ".join(filter(None, (self.say(self.NAMES["field"]), node)))
        claim = found.get("claim")
        self.badge.text = ""
        self.badge.classes(remove="studio-good studio-off")
        if claim == now["parameters"]:
            self.badge.text = f"✓ {self.say('as published')}"
            self.badge.classes(add="studio-good")
        elif claim:
            self.badge.text = f"{self.say('published')} {claim:,}"
            self.badge.classes(add="studio-off")

    def _write(self, key: str, value: float) -> str:
        if key == "step":
            return f"{1000 * value:,.3g} ms" if value < 1 else f"{value:,.1f} s"
        if key in ("macs", "memory"):
            return short(int(value), "B" if key == "memory" else "") or "0"
        if key == "field":
            return f"{value:g}"
        return f"{value:,}"

    def _show_change(self, key: str, now: float, base: float) -> None:
        label = self.changes[key]
        label.classes(remove="studio-more studio-less")
        if now == base:
            label.text = "±0"
            return
        label.text = f"{now - base:+,}"
        if base:
            label.text = f"{100 * (now - base) / base:+.1f} %"
        label.classes(add="studio-more" if now > base else "studio-less")
