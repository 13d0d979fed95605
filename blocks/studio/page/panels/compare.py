"""The part of the page that compares: with another model, and with variants of this one."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from nicegui import ui

from blocks.graph.describe.diff_text import MARKS
from blocks.graph.describe.table import short
from blocks.studio.compare.variants import Variant, Variants
from blocks.studio.page.language.phrases import Phrases

STILL = 1.5  # seconds without a change, after which a text is a variant
KINDS = ("added", "removed", "replaced", "moved", "changed")  # of a node, each with a colour
MOST = 150  # nodes of a difference that are listed
FIELD = "dense outlined options-dense"


class Owner(Protocol):
    """The page, as this part knows it."""

    say: Phrases
    model: str
    depth: int
    text: str
    command: list[str]
    client: Any
    errors_now: list[dict[str, Any]]

    async def ask(self, ask: str, **arguments: Any) -> dict[str, Any]:
        """Ask about the model."""

    async def set_text(self, text: str) -> None:
        """Put another text on the page."""


class ComparePanel:
    """What differs from another model, side by side, and the variants of this one.

    Args:
        models: that can be compared with.
    """

    def __init__(self, page: Owner, project: Path, models: list[str]):
        self.page, self.variants = page, Variants(project, page.model)
        self.waiting: asyncio.Task[None] | None = None
        self.variant: Variant | None = None  # that is compared with
        self.shown: list[Any] = []  # in the difference
        say = page.say
        with ui.element("div").classes("studio-row"):
            names = {"": say("the model of the file")}
            names |= {name: name for name in models if name != page.model}
            self.other = ui.select(
                names, value="", label=say("compare with"), with_input=True, on_change=self._choose
            ).props(FIELD)
            self.beside = ui.switch(say("side by side"), on_change=self.fill)
        self.difference = ui.element("div").classes("studio-code studio-difference")
        with ui.element("div").classes("studio-kinds"):
            for kind in KINDS:
                ui.label(say(kind)).classes(f"studio-kind-{kind}")
        ui.label(say("variants")).classes("studio-heading")
        self.tree = ui.element("ul").classes("studio-variants")
        self._show_variants()

    async def _choose(self) -> None:
        self.variant = None
        await self.fill()

    async def fill(self) -> None:
        """Show what differs now."""
        page, say = self.page, self.page.say
        arguments: dict[str, Any] = {"other": self.other.value or ""}
        if self.variant is not None:
            arguments["text"] = self.variant.text
        if page.depth >= 0:
            arguments["depth"] = page.depth
        found = await page.ask("diff", **arguments)
        with page.client:
            if found["errors"]:
                self.difference.clear()
                self.shown = []
                with self.difference:
                    ui.label(say.problem(found["errors"][0]))
                return
            self._show_difference(found)
            svg = found["svg"] if self.beside.value else ""
            shown = json.dumps(svg), json.dumps(found["old"]), json.dumps(found["new"])
            page.client.run_javascript(f"studio.compare({', '.join(shown)})")

    def _show_difference(self, found: Mapping[str, Any]) -> None:
        """Show both models as a whole, and a line for each node that differs."""
        say = self.page.say
        shown = [found["heading"], found["lines"], self.other.value, self.variant]
        if shown == self.shown:
            return
        self.shown = shown
        self.difference.clear()
        with self.difference:
            models, *rows = found["heading"] or [("", "", "", "")]
            ui.label(f"{models[1]} → {models[2]}").classes("studio-name")
            with ui.element("div").classes("studio-table"):
                for name, old, new, change in rows:
                    ui.label(say(name)).classes("studio-soft")
                    ui.label(old if old == new else f"{old} → {new}  {change}")
            if not found["lines"]:
                is_own = not self.other.value and self.variant is None
                same = "nothing differs from the model of the file"
                ui.label(say(same if is_own else "the graphs are the same"))
            for line in found["lines"][:MOST]:
                self._show_line(line)
            if len(found["lines"]) > MOST:
                ui.label(f"… +{len(found['lines']) - MOST}")

    def _show_line(self, line: Mapping[str, Any]) -> None:
        """Show a node that differs; one that only follows from another is soft."""
        block, *details = (each.replace(" -> ", " → ") for each in line["details"])
        row = ui.element("div").classes(f"studio-differs studio-kind-{line['kind']}")
        with row.style(f"margin-left: {12 * line['depth']}px"):
            if line["kind"] in KINDS:
                row.props(f'title="{self.page.say(line["kind"])}"')
            ui.label(f"{MARKS[line['kind']]} {line['name']}").classes("studio-name")
            ui.label(block)
            ui.label("; ".join(details)).classes("studio-soft")

    def leave(self) -> None:
        """Show one graph again, without lights."""
        self.page.client.run_javascript("studio.compare('', {}, {})")

    # Variants -------------------------------------------------------------------------------------

    def note(self, numbers: dict[str, int]) -> None:
        """Keep the text as a variant, if it stays as it is for a while."""
        if self.waiting is not None:
            self.waiting.cancel()
        self.waiting = asyncio.create_task(self._keep(self.page.text, numbers))

    async def _keep(self, text: str, numbers: dict[str, int]) -> None:
        await asyncio.sleep(STILL)
        page = self.page
        if page.text == text and not page.errors_now:
            with page.client:
                if self.variants.add(text, page.command, numbers):
                    self._show_variants()

    def _show_variants(self) -> None:
        self.tree.clear()
        with self.tree:
            for depth, variant in self.variants.ordered():
                self._show_variant(depth, variant)

    def _show_variant(self, depth: int, variant: Variant) -> None:
        say = self.page.say
        is_now = variant.number == self.variants.now
        with ui.element("li").style(f"margin-left: {min(depth, 8) * 14}px") as row:
            if is_now:
                row.classes("studio-now").props("aria-current=true")
            number = short(variant.numbers.get("parameters", 0)) or "0"
            ui.label(f"{variant.number}  {self._name(variant)}").classes("studio-name")
            ui.label(f"{say('parameters')} {number}").classes("studio-soft")
            with ui.element("div").classes("studio-actions"):
                go = ui.button(say("go back"), on_click=lambda: self.page.set_text(variant.text))
                go.props(f'flat dense no-caps aria-label="{say("go back")} {variant.number}"')
                compare = ui.button(say("compare"), on_click=lambda: self._compare(variant))
                compare.props(f'flat dense no-caps aria-label="{say("compare")} {variant.number}"')

    async def _compare(self, variant: Variant) -> None:
        self.variant = variant
        self.beside.value = True
        await self.fill()

    def _name(self, variant: Variant) -> str:
        """Return what a variant changes: its overrides, or its first line of another text."""
        changes = [word for word in variant.command if word.startswith("model")]
        parent = self.variants.all.get(variant.parent)
        if "--config-dir" in variant.command and parent is not None:
            known = set(parent.text.splitlines())
            changes += [line.strip() for line in variant.text.splitlines() if line not in known][:1]
        return " ".join(changes)
