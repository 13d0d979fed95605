"""What can be taken from the page: the figure, the file, the command, the code, a link."""

import base64
import json
import shlex
from typing import Any, Protocol
from urllib.parse import urlencode

from nicegui import ui

from blocks.studio.drafts import DRAFT, FOLDER
from blocks.studio.page.language.phrases import Phrases
from blocks.studio.share.link import MOST, read_link, write_link
from blocks.support.program import train_command

FIGURES = {  # ending -> label
    ".svg": "SVG",
    ".png": "PNG",
    ".pdf": "PDF",
    ".tex": "TikZ (LaTeX)",
    ".mmd": "Mermaid",
    ".dot": "DOT (Graphviz)",
    ".html": "HTML",
}
CODE = {".yaml": "YAML", ".py": "PyTorch", ".sh": "command"}
TAKE_LINK = "return studio.takeLink()"
SECONDS = 10.0  # within which the browser gives its address


class Owner(Protocol):
    """The page, as this part knows it."""

    say: Phrases
    model: str
    data: str
    depth: int
    text: str
    command: list[str]

    async def ask(self, ask: str, **arguments: Any) -> dict[str, Any]:
        """Ask about the model."""

    async def set_text(self, text: str) -> None:
        """Put another text on the page."""


class Share:
    """A dialog with all that can be taken."""

    def __init__(self, page: Owner):
        self.page = page
        say = page.say
        self.dialog = ui.dialog().props(f'aria-label="{say("share")}"')
        with self.dialog, ui.card().classes("studio-share"):
            ui.label(say("share")).classes("studio-heading")
            ui.label(say("the figure, with the levels that are unfolded")).classes("studio-soft")
            with ui.element("div").classes("studio-row"):
                for ending, label in FIGURES.items():
                    self._add(label, lambda ending=ending: self._take_figure(ending))
            ui.label(say("the model")).classes("studio-soft")
            with ui.element("div").classes("studio-row"):
                for ending, label in CODE.items():
                    self._add(say(label), lambda ending=ending: self._take_code(ending))
            ui.label(say("an address with the text of the model")).classes("studio-soft")
            with ui.element("div").classes("studio-row"):
                self._add(say("copy the link"), self._copy_link)
            ui.button(say("close"), on_click=self.dialog.close).props("flat no-caps")

    def _add(self, label: str, action: Any) -> None:
        ui.button(label, on_click=action).props("outline no-caps")

    async def _take_figure(self, ending: str) -> None:
        page = self.page
        depth = None if page.depth < 0 else page.depth
        found = await page.ask("figure", ending=ending, depth=depth)
        if found["errors"]:
            warn(page.say, found["errors"][0])
            return
        content = base64.b64decode(found["content"])
        if ending == ".png":
            arguments = json.dumps(content.decode()), json.dumps(f"{page.model}.png")
            ui.run_javascript(f"studio.savePng({', '.join(arguments)})")
        else:
            ui.download.content(content, f"{page.model}{ending}")
        self._note(ending)

    async def _take_code(self, ending: str) -> None:
        page = self.page
        content = page.text
        if ending == ".sh":
            content = write_script(page.command, page.model, page.text)
        elif ending == ".py":
            found = await page.ask("emit")
            if found["errors"]:
                warn(page.say, found["errors"][0])
                return
            content = found["text"]
        ui.download.content(content.encode(), f"{page.model}{ending}")
        self._note(ending)

    def _note(self, ending: str) -> None:
        page = self.page
        ui.notify(f"{page.say('downloaded')}: {page.model}{ending}", position="top-right")

    def _copy_link(self) -> None:
        page = self.page
        packed = write_link(page.text)
        if len(packed) > MOST:
            ui.notify(page.say("the text is too long for a link"), type="warning")
            return
        query = urlencode({"model": page.model, **({"data": page.data} if page.data else {})})
        ui.run_javascript(f"studio.copyLink({json.dumps(f'/?{query}#text={packed}')})")
        ui.notify(page.say("copied"), position="top-right")


def write_script(command: list[str], model: str, text: str) -> str:
    """Return a shell script that trains; where the command names a draft, it writes it first."""
    line = shlex.join([*train_command(), *command]) + "\n"
    if f"model={model}{DRAFT}" not in command:
        return line
    end = "END"
    while end in text:
        end += "_"
    folder = f"{FOLDER}/model"
    start = f"mkdir -p {folder}\ncat > {folder}/{model}{DRAFT}.yaml <<'{end}'\n"
    return f"{start}{text.rstrip()}\n{end}\n{line}"


def warn(say: Phrases, problem: dict[str, Any]) -> None:
    """Show a mistake at the edge of the page."""
    text = say.in_one_line(problem, "fix")
    ui.notify(text, type="warning", position="bottom-left")


async def open_link(page: Owner, client: Any) -> None:
    """Show the text that the address of the browser has, if any; undo shows the one before."""
    try:
        packed = await client.run_javascript(TAKE_LINK, timeout=SECONDS)
    except TimeoutError:
        return
    text = read_link(str(packed)) if packed else None
    if text is not None and text != page.text:
        with client:
            await page.set_text(text)
            ui.notify(page.say("the text of the link; undo shows yours"), position="bottom-left")
