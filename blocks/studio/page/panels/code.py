"""The PyTorch that `emit` writes, in step with the graph: a line lights its node, and back."""

import json
from typing import Any, Protocol

from nicegui import ui

from blocks.studio.page.language.phrases import Phrases


class Owner(Protocol):
    """The page, as this part knows it."""

    say: Phrases
    client: Any
    theme: str

    async def ask(self, ask: str, **arguments: Any) -> dict[str, Any]:
        """Ask about the model."""


class CodePanel:
    """The code in a second editor that is only read."""

    def __init__(self, page: Owner):
        self.page = page
        ui.label(page.say("a line lights its node, a node its line")).classes("studio-soft")
        theme = "githubDark" if page.theme == "dark" else "vscodeLight"
        self.code = ui.codemirror("", language="Python", theme=theme).classes("studio-emit")
        self.code.disable()
        self.code.props('data-name="PyTorch"')

    async def fill(self) -> None:
        """Show the code of the last model without a mistake."""
        page = self.page
        found = await page.ask("emit")
        with page.client:
            self.code.value = found.get("text") or page.say.problem(found["errors"][0])
            page.client.run_javascript(f"studio.code({json.dumps(found.get('lines', []))})")
