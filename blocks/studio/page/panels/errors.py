"""The mistakes below the text, and their marks in it."""

import json
from collections.abc import Mapping
from typing import Any, Protocol

from nicegui import ui

from blocks.studio.drafts import FOLDER
from blocks.studio.page.language.phrases import Phrases
from blocks.studio.text.fixes import find_mistake, move_here
from blocks.studio.text.numbers import find_number
from blocks.support.conf_folders import without_program

DRAFTS = f"{FOLDER}/"  # where the text of the page lies


class Owner(Protocol):
    """The page, as this part knows it."""

    say: Phrases
    text: str

    async def set_text(self, text: str) -> None:
        """Put another text on the page."""


class Errors:
    """The mistakes below the text, and their marks in it."""

    def __init__(self, page: Owner):
        self.page = page
        self.column = ui.element("div").classes("studio-errors").props("role=status")
        self.rows: list[ui.element] = []
        self.fixes: list[ui.element] = []
        self.shown: list[dict[str, Any]] | None = None
        self.state: ui.label | None = None  # that there is no mistake
        self.show([])

    def wait(self) -> None:
        """Say that a text is read; until then nobody knows that it has no mistake."""
        if self.state is not None:
            self.state.text = self.page.say("checking…")
            self.state.classes(remove="studio-good", add="studio-soft")

    def show(self, errors: list[dict[str, Any]]) -> None:
        """List mistakes, and mark their places in the text; fixes of an earlier text go."""
        for row in self.fixes:
            row.delete()
        self.fixes = []
        if self.state is not None:
            self.state.text = f"✓ {self.page.say('no mistakes')}"
            self.state.classes(remove="studio-soft", add="studio-good")
        if errors == self.shown:
            return
        self.state = None
        self.shown, say = errors, self.page.say
        self.column.clear()
        self.rows = []
        ui.run_javascript(f"studio.mark({json.dumps(self._marks(errors))})")
        with self.column:
            if not errors:
                self.state = ui.label(f"✓ {say('no mistakes')}").classes("studio-good")
                return
            for entry in errors[:10]:
                with ui.element("div").classes("studio-error") as row:
                    self._describe(entry)
                self.rows.append(row)
            ui.label(say("the last graph without a mistake")).classes("studio-soft")

    def _describe(self, entry: Mapping[str, Any]) -> None:
        say = self.page.say
        ui.label(say.problem(entry)).classes("studio-problem")
        if entry["where"]:
            place = " ".join(filter(None, (without_program(entry["where"]), entry["path"])))
            where = ui.label(place).classes("studio-soft")
            found = self._find(entry)
            if found is not None:
                line = self.page.text.count("\n", 0, found[0]) + 1
                where.classes("studio-where")
                where.on("click", js_handler=f"() => studio.select({line})")
        for part, name in (("got", "given"), ("fits", "fits"), ("fix", "fix")):
            if entry[part]:
                with ui.element("div").classes("studio-part"):
                    ui.label(say(name)).classes("studio-soft")
                    ui.label(say.message(entry[part]) if part != "got" else entry[part])
        if say.problem(entry) != entry["problem"]:
            with ui.element("details").classes("studio-soft"):
                with ui.element("summary"):
                    ui.label(say("in English"))
                ui.label(self._write(entry, Phrases("en"))).classes("studio-original")

    def _find(self, entry: Mapping[str, Any]) -> tuple[int, int] | None:
        """Return where the text has a mistake; None for one in another file."""
        here = move_here(dict(entry), lambda file: file.startswith(DRAFTS))
        if here is None:
            return None
        return find_number(self.page.text, here) or find_mistake(self.page.text, here)

    def _write(self, entry: Mapping[str, Any], say: Phrases) -> str:
        """Return what is wrong, what fits and what to change, each in a line."""
        parts = [say.message(entry[part]) for part in ("fits", "fix") if entry[part]]
        return "\n".join([say.problem(entry), *parts])

    def _marks(self, errors: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the decorations of the editor: the line of each mistake, and its word."""
        text, marks = self.page.text, []
        for entry in errors:
            place = self._find(entry)
            if place is None:
                continue
            start, end = place
            line = text.count("\n", 0, start) + 1
            marks.append({"kind": "line", "line": line, "class": "studio-wrong"})
            if end > start:
                said = self._write(entry, self.page.say)
                mark = {"kind": "mark", "from": start, "to": end, "class": "studio-underlined"}
                marks.append({**mark, "attributes": {"data-problem": said}})
        return marks

    def offer(self, fixes: list[dict[str, Any]]) -> None:
        """Add a button to each mistake that a text without it was found for."""
        for index, row in enumerate(self.rows):
            own = [fix for fix in fixes if fix["error"] == index]
            if not own:
                continue
            with row, ui.element("div").classes("studio-fixes") as buttons:
                for fix in own:
                    self._add_fix(fix)
            self.fixes.append(buttons)

    def _add_fix(self, fix: Mapping[str, Any]) -> None:
        label = f"{self.page.say('apply the fix')}:  {fix['label']}"
        button = ui.button(label, icon="auto_fix_high")
        button.props("dense unelevated size=sm").classes("studio-fix")
        button.on_click(lambda: self.page.set_text(fix["text"]))
