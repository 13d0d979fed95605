"""The parts of the page that show an answer: mistakes, numbers, fields, a node."""

import json
import math
from collections.abc import Awaitable, Mapping
from typing import Any, ClassVar, Protocol

from nicegui import ui

from blocks.graph.describe.table import short
from blocks.studio.page.budget import Budget
from blocks.studio.page.language.phrases import Phrases
from blocks.studio.text.fixes import find_mistake

STEP = "forward and backward of a batch, at the speed of a large product on this CPU"
FIELD = "dense outlined options-dense"


class Owner(Protocol):
    """The page, as its parts know it."""

    say: Phrases
    text: str

    async def ask(self, ask: str, **arguments: Any) -> dict[str, Any]:
        """Ask about the model."""

    async def edit(self, kind: str, name: str, value: str) -> None:
        """Change a slot or a param in the text."""

    async def set_text(self, text: str) -> None:
        """Put another text on the page."""


class Errors:
    """The mistakes below the text, and their marks in it."""

    def __init__(self, page: Owner):
        self.page = page
        self.column = ui.element("div").classes("studio-errors").props("role=status")
        self.rows: list[ui.element] = []
        self.buttons: list[ui.button] = []
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
        for button in self.buttons:
            button.delete()
        self.buttons = []
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
            place = " ".join(filter(None, (entry["where"], entry["path"])))
            where = ui.label(place).classes("studio-soft studio-where")
            if entry["line"]:
                line = int(entry["line"])
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

    def _write(self, entry: Mapping[str, Any], say: Phrases) -> str:
        """Return what is wrong, what fits and what to change, each in a line."""
        parts = [say.message(entry[part]) for part in ("fits", "fix") if entry[part]]
        return "\n".join([say.problem(entry), *parts])

    def _marks(self, errors: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the decorations of the editor: the line of each mistake, and its word."""
        text, marks = self.page.text, []
        for entry in errors:
            place = find_mistake(text, entry)
            is_here = "studio/" in f"{entry['file']} {entry['from']}"
            if place is None or not is_here:
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
        for fix in fixes:
            if fix["error"] >= len(self.rows):
                continue
            with self.rows[fix["error"]]:
                label = f"{self.page.say('apply the fix')}:  {fix['label']}"
                button = ui.button(label, icon="auto_fix_high")
                button.props("dense unelevated no-caps size=sm").classes("studio-fix")
                button.on_click(lambda fix=fix: self.page.set_text(fix["text"]))
                self.buttons.append(button)


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


class Described(ui.select):
    """A choice whose options each have a line of description.

    Args:
        texts: the description of each option, by its name.
    """

    ITEM: ClassVar = """
      <q-item v-bind="props.itemProps">
        <q-item-section>
          <q-item-label>{{ props.opt.label }}</q-item-label>
          <q-item-label caption v-if="props.opt.text">{{ props.opt.text }}</q-item-label>
        </q-item-section>
      </q-item>
    """

    def __init__(self, texts: Mapping[str, str], **arguments: Any):
        self.texts = texts
        super().__init__(list(texts), **arguments)
        self.props("popup-content-class=studio-options")
        self.add_slot("option", self.ITEM)

    def _update_options(self) -> None:
        super()._update_options()
        for option in self._props["options"]:
            option["text"] = self.texts[option["label"]].partition("\n")[0]


class EditPanel:
    """Slots and params of the model as fields; each change is an edit of the text."""

    def __init__(self, page: Owner):
        self.page = page
        self.form: dict[str, Any] = {}
        self.fields: dict[tuple[str, str], Any] = {}
        self.is_filling = False
        self.column = ui.element("div").classes("studio-form")

    def fill(self, form: dict[str, Any]) -> None:
        """Show the slots and params as they are."""
        if form == self.form:
            return
        self.is_filling = True
        if _outline(form) != _outline(self.form):
            self._build(form)
        self.form = form
        for slot in form["slots"]:
            self.fields["slot", slot["name"]].value = slot["option"]
        for param in form["params"]:
            field = self.fields["param", param["name"]]
            value = param["value"]
            if param["kind"] == "number":
                value = float(value)
            elif param["kind"] == "switch":
                value = value == "true"
            if field.value != value:
                field.value = value
        self.is_filling = False

    def _build(self, form: dict[str, Any]) -> None:
        say = self.page.say
        self.column.clear()
        self.fields = {}
        with self.column:
            ui.label(say("slots")).classes("studio-heading")
            with ui.element("div").classes("studio-fields"):
                for slot in form["slots"]:
                    self.fields["slot", slot["name"]] = self._add_slot(slot)
            ui.label(say("params")).classes("studio-heading")
            with ui.element("div").classes("studio-fields"):
                for param in form["params"]:
                    self.fields["param", param["name"]] = self._add_param(param)
            numbers = [each["name"] for each in form["params"] if each["kind"] == "number"]
            if numbers:
                Budget(self.page, numbers)
            ui.label(say("save as a model of the project")).classes("studio-heading")
            with ui.element("div").classes("studio-row"):
                name = ui.input(say("name")).props(FIELD).mark("save-name")
                ui.button(say("save"), on_click=lambda: self._save(name.value or ""))

    def _add_slot(self, slot: Mapping[str, Any]) -> ui.select:
        name = slot["name"]
        field = Described(
            slot["options"],
            value=slot["option"],
            label=name,
            on_change=lambda event: self._change("slot", name, str(event.value)),
        )
        return field.props(FIELD).mark(f"slot-{name}")

    def _add_param(self, param: Mapping[str, Any]) -> Any:
        name, kind = param["name"], param["kind"]
        if kind == "switch":
            field: Any = ui.switch(name, value=param["value"] == "true")
            field.on_value_change(
                lambda event: self._change("param", name, str(event.value).lower())
            )
        elif kind == "number":
            step = 1 if "." not in param["value"] and "e" not in param["value"] else 0.05
            field = ui.number(name, value=float(param["value"]), step=step).props(FIELD)
            field.on_value_change(lambda event: self._change_number(name, event.value))
        else:
            field = ui.input(name, value=param["value"]).props(FIELD + " debounce=300")
            field.on_value_change(lambda event: self._change("param", name, str(event.value)))
        return field.mark(f"param-{name}")

    def _change_number(self, name: str, value: float | None) -> Awaitable[None] | None:
        if value is None or not math.isfinite(value):
            return None
        text = repr(value)
        if value == int(value):
            text = str(int(value))
        return self._change("param", name, text)

    def _change(self, kind: str, name: str, value: str) -> Awaitable[None] | None:
        """Return the edit to wait for; None where the field was filled, not changed by hand.

        It is decided here and not in the edit, which runs later.
        """
        if self.is_filling:
            return None
        return self.page.edit(kind, name, value)

    async def _save(self, name: str) -> None:
        found = await self.page.ask("save", name=name, text=self.page.text)
        text, kind = found.get("file"), "positive"
        if found["errors"]:
            text, kind = self.page.say.problem(found["errors"][0]), "warning"
        ui.notify(text, type=kind, position="bottom-left")


def _outline(form: Mapping[str, Any]) -> list[Any]:
    """Return what fields a form has, whatever their values."""
    slots = [(slot["name"], list(slot["options"])) for slot in form.get("slots", ())]
    return [slots, [(param["name"], param["kind"]) for param in form.get("params", ())]]


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
