"""What the editor asks for while one types: completion, and the meaning of a word."""

import json
from typing import Any, Protocol

from nicegui import events, ui

from blocks.studio.text.complete import complete, explain
from blocks.studio.text.vocabulary import Vocabulary

LONGEST = 100_000  # characters of a text
QUESTIONS = {"complete": complete, "explain": explain}


class Owner(Protocol):
    """The page, as this part knows it."""

    client: Any
    names: dict[str, Any]

    async def ask(self, ask: str, **arguments: Any) -> dict[str, Any]:
        """Ask the process that answers."""


class Assist:
    """Answers the editor in this process: the one that builds models may be busy.

    Args:
        page: whose last model has the names.
    """

    known: Vocabulary | None = None  # of all pages of this server

    def __init__(self, page: Owner):
        self.page = page
        ui.on("studio-ask", self._answer)

    async def prepare(self) -> None:
        """Read what can be written, before it is asked for."""
        if Assist.known is None:
            found = await self.page.ask("vocabulary")
            if not found["errors"]:
                Assist.known = Vocabulary(found["schema"])

    async def _answer(self, event: events.GenericEventArguments) -> None:
        number, kind, text, offset = event.args
        await self.prepare()
        question = QUESTIONS.get(str(kind))
        found: dict[str, Any] = {}
        if question and Assist.known and len(str(text)) <= LONGEST:
            place = min(max(int(offset), 0), len(text))
            found = question(str(text), place, Assist.known, self.page.names)
        self.page.client.run_javascript(f"studio.answer({int(number)}, {json.dumps(found)})")
