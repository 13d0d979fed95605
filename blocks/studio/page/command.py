"""The line that trains the model of the page, and where the draft lies that it may name."""

import shlex
from typing import Protocol

from nicegui import ui

from blocks.studio.drafts import DRAFT, Drafts
from blocks.studio.page.language.phrases import Phrases
from blocks.studio.process import Answers
from blocks.support.program import train_command


class Owner(Protocol):
    """The page, as this part knows it."""

    say: Phrases
    model: str
    answers: Answers


class CommandBar:
    """The command below the header."""

    def __init__(self, page: Owner):
        self.page, say = page, page.say
        with ui.element("div").classes("studio-command"):
            code = ui.element("code").props(
                f'aria-label="{say("the command line for this model")}"'
            )
            with code:
                self.text = ui.label("")
            copy = ui.button(say("copy"), icon="content_copy", on_click=self._copy)
            copy.props("flat dense no-caps")
            self.note = ui.label(self._describe_draft()).classes("studio-soft")
            self.note.visible = False

    def show(self, words: list[str]) -> None:
        """Show the line with these words behind `train`."""
        self.text.text = shlex.join([*train_command(), *words])
        self.note.visible = f"model={self.page.model}{DRAFT}" in words

    def _describe_draft(self) -> str:
        project = self.page.answers.project
        file = Drafts(project).path(self.page.model).relative_to(project).as_posix()
        text = self.page.say(
            "{file} holds the text below while it differs from the model; run the line in {folder}"
        )
        return text.format(file=file, folder=project)

    def _copy(self) -> None:
        ui.clipboard.write(self.text.text)
        ui.notify(self.page.say("copied"), position="top-right")
