"""Slots and params of the model as fields."""

import math
from collections.abc import Awaitable, Mapping
from typing import Any, ClassVar, Protocol

from nicegui import ui

from blocks.studio.page.language.phrases import Phrases
from blocks.studio.page.panels.budget import Budget

FIELD = "dense outlined options-dense"


class Owner(Protocol):
    """The page, as this part knows it."""

    say: Phrases
    text: str

    async def ask(self, ask: str, **arguments: Any) -> dict[str, Any]:
        """Ask about the model."""

    async def edit(self, kind: str, name: str, value: str, node: str = "") -> None:
        """Change a slot or a param in the text."""


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
