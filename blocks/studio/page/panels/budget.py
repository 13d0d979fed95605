"""A param is solved for a budget, as `fit` does, while a slider is moved."""

import math
from typing import Any, Protocol

from nicegui import events, ui

from blocks.graph.describe.table import short
from blocks.studio.page.language.phrases import Phrases

FIELD = "dense outlined options-dense"
FACTOR = 1.5  # of the budget, in powers of ten: how far the slider leads to each side
STEPS = 60


class Owner(Protocol):
    """The page, as this part knows it."""

    say: Phrases

    async def ask(self, ask: str, **arguments: Any) -> dict[str, Any]:
        """Ask about the model."""

    async def edit(self, kind: str, name: str, value: str, node: str = "") -> None:
        """Change a slot or a param in the text."""


class Budget:
    """The fields that solve for a param.

    Args:
        page: whose text is edited.
        params: that can be solved for.
    """

    def __init__(self, page: Owner, params: list[str]):
        self.page, say = page, page.say
        ui.label(say("fit to a budget")).classes("studio-heading")
        with ui.element("div").classes("studio-row"):
            first = "dim" if "dim" in params else params[0]
            self.param = ui.select(params, value=first, label=say("param")).props(FIELD)
            names = {"parameters": say("parameters"), "macs": say("multiply-adds")}
            self.measure = ui.select(names, value="parameters", label=say("budget")).props(FIELD)
            self.count = ui.number(say("value"), value=1e6, format="%.0f").props(FIELD)
            ui.button(say("find"), on_click=self._find)
        self.middle = 6.0
        self.slider = ui.slider(min=-FACTOR, max=FACTOR, step=2 * FACTOR / STEPS, value=0.0)
        self.slider.props(f'label aria-label="{say("budget")}"')
        self.slider.on_value_change(self._move)
        self.slider.on("change", self._find)  # when it is let go
        self.count.on("blur", self._center)

    def _move(self, event: events.ValueChangeEventArguments[float]) -> None:
        """Show the budget that the slider stands for."""
        if event.value is None:
            return
        budget = 10 ** (self.middle + float(event.value))
        self.count.value = float(f"{budget:.3g}")
        self.slider.props(f'label-value="{short(int(budget))}"')

    def _center(self) -> None:
        """Put a budget that was typed in the middle of the slider."""
        if self.count.value and self.count.value > 0:
            self.middle = math.log10(self.count.value)
            self.slider.set_value(0.0)

    async def _find(self) -> None:
        budget, param = self.count.value, str(self.param.value)
        if not budget or not budget > 0:
            return
        measure = self.measure.value
        found = await self.page.ask("fit", param=param, measure=measure, budget=budget)
        if found["errors"]:
            text = self.page.say.in_one_line(found["errors"][0], "fix")
            ui.notify(text, type="warning", position="bottom-left")
            return
        await self.page.edit("param", param, str(found["value"]))
