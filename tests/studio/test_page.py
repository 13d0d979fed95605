"""The parts of the page without a browser: what they ask for when values come and go."""

import asyncio
from typing import Any

import pytest

pytest.importorskip("nicegui")
from nicegui import Client, core, ui

from blocks.studio.page.panels import EditPanel
from blocks.studio.page.phrases import Phrases


def form(norm: str, depth: str) -> dict[str, Any]:
    options = {"layernorm": "", "rmsnorm": ""}
    return {
        "slots": [{"name": "norm", "option": norm, "options": options}],
        "params": [
            {"name": "depth", "value": depth, "kind": "number"},
            {"name": "pool", "value": depth, "kind": "text"},
            {"name": "bias", "value": str(depth == "4").lower(), "kind": "switch"},
        ],
    }


class Asked:
    """A page that notes what it is asked for."""

    def __init__(self) -> None:
        self.say, self.edits = Phrases("en"), list[tuple[str, str, str]]()

    async def edit(self, kind: str, name: str, value: str) -> None:
        self.edits.append((kind, name, value))


def run(steps: Any) -> None:
    """Run with an event loop that NiceGUI knows."""

    async def main() -> None:
        core.loop = asyncio.get_running_loop()
        with Client(ui.page("/")):
            await steps()

    asyncio.run(main())


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def test_a_field_that_is_filled_asks_for_no_edit():
    """It would come late, and undo what was chosen meanwhile."""

    async def steps() -> None:
        page = Asked()
        panel = EditPanel(page)
        panel.fill(form("layernorm", "4"))
        panel.fill(form("rmsnorm", "2"))
        await settle()
        assert page.edits == []
        panel.fields["slot", "norm"].value = "layernorm"
        await settle()
        assert page.edits == [("slot", "norm", "layernorm")]

    run(steps)
