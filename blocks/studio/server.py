"""Serves the page on 127.0.0.1."""

import os
import re
import secrets
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Response
from nicegui import app as pages
from nicegui import ui

from blocks.graph import ConfigError, Problem
from blocks.graph.describe.draw import write_page_style
from blocks.studio.compare.variants import Variants
from blocks.studio.drafts import DRAFT, DraftError, Drafts
from blocks.studio.guard import LARGEST, Guard
from blocks.studio.page.begin import Begin
from blocks.studio.page.history import Histories
from blocks.studio.page.page import Page
from blocks.studio.process import Answers
from blocks.studio.run.runs import Runs
from blocks.studio.text.edits import EditError, write_overrides
from blocks.support.files import CONFINED
from blocks.support.palette import variables

HOST = "127.0.0.1"
SCRIPTS = ("studio.js", "assist.js", "graph.js", "look.js")
MODEL = "vit"  # where the command line names none
SANDBOX = {"content-security-policy": "sandbox allow-scripts", "x-content-type-options": "nosniff"}


@dataclass(frozen=True)
class Service:
    """What the server needs, beside the socket.

    Args:
        project: the folder in which all is read and written.
        begin: what a page shows first.
        token: that the address has.
    """

    project: Path
    begin: "Begin"
    token: str = field(default_factory=lambda: secrets.token_urlsafe(32))


def serve(
    project: Path, overrides: Sequence[str], port: int, announce: Callable[[str], None]
) -> None:
    """Serve until Ctrl-C.

    Args:
        project: the folder in which all is read and written.
        overrides: with which a page begins.
        port: 0 for a free one.
        announce: called with the address, as soon as it answers.

    Raises:
        ConfigError: the port is taken.
    """
    os.environ[CONFINED] = str(project)  # also for the processes that are started
    service = Service(project, write_draft(project, read_begin(overrides)))
    listener = open_socket(port)
    port = listener.getsockname()[1]
    address = f"http://{HOST}:{port}/?token={service.token}"
    config = uvicorn.Config(
        make_app(service, port),
        log_level="warning",
        ws_max_size=LARGEST,
        timeout_graceful_shutdown=2,
    )
    announce(address)
    uvicorn.Server(config).run(sockets=[listener])


def open_socket(port: int) -> socket.socket:
    """Listen on this machine alone; raises ConfigError where the port is taken."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        listener.listen(128)  # who comes early waits
    except (OSError, OverflowError) as error:
        listener.close()
        raise ConfigError(
            Problem(
                "the page cannot be served on this port",
                f"the command line: --port {port}",
                got=str(error),
                fits="a port from 1024 to 65535 that no other program has",
                fix="leave --port out: a free one is taken",
                code="bad-command",
            )
        ) from error
    return listener


def read_begin(overrides: Sequence[str]) -> Begin:
    """Return what a page shows first: model, data, and the rest of the command line."""
    model, data, rest = MODEL, "", []
    for word in overrides:
        name, _, value = word.partition("=")
        if name == "model":
            model = value
        elif name == "data":
            data = value
        else:
            rest.append(word)
    return Begin(model, data, tuple(rest))


def write_draft(project: Path, begin: Begin) -> Begin:
    """Write slots and params of the command line into the draft, where the page can edit them.

    A draft of other text becomes a variant.

    Returns:
        What a page shows first, with the other overrides.

    Raises:
        ConfigError: the text of the model does not take them.
    """
    drafts = Drafts(project)
    try:
        present, original = drafts.read(begin.model)
        text, rest = write_overrides(original, begin.words)
        if text not in (original, present):
            if present != original:
                Variants(project, begin.model).add(present, [f"model={begin.model}{DRAFT}"], {})
            drafts.write(begin.model, text)
    except (DraftError, EditError) as error:
        raise ConfigError(
            Problem(
                str(error),
                "the command line: studio",
                got=" ".join([f"model={begin.model}", *begin.words]),
                fits="a model of `dougong list model`, options of its slots, values of its params",
                code="bad-command",
            )
        ) from error
    return replace(begin, words=tuple(rest))


def make_app(service: Service, port: int) -> Guard:
    """Return the application: the page and the reports, behind the guard."""
    answers, runs = Answers(service.project), Runs(service.project)
    looks, histories = Answers(service.project, "runs"), Histories()
    app = FastAPI(openapi_url=None)

    @app.get("/report")
    def show_report(run: str = "") -> Response:
        content = runs.read_report(run)
        if content is None:
            return Response("no such report", status_code=404, media_type="text/plain")
        return Response(content, media_type="text/html", headers=SANDBOX)

    @ui.page("/")
    def show_page(
        model: str = "",
        data: str = "",
        lang: str = "",
        theme: str = "",
        levels: int = -1,
        tab: str = "",
    ) -> None:
        scripts = "".join(f"<script>{_read(name)}</script>" for name in SCRIPTS)
        ui.add_head_html(f"<style>{page_style()}</style>{scripts}")
        begin = service.begin.with_query(model, data, levels, tab)
        language = lang or service.begin.language
        Page(answers, looks, runs, begin, histories, language, theme).show()

    async def draw_first() -> None:
        """Draw what a page shows first before one asks, so that it need only be drawn again."""
        begin = service.begin
        with suppress(DraftError):
            text, _ = Drafts(service.project).read(begin.model)
            await answers.ask("graph", model=begin.model, text=text, words=begin.all_words)

    pages.on_startup(draw_first)
    pages.on_shutdown(answers.stop)
    pages.on_shutdown(looks.stop)
    ui.run_with(
        app,
        title="Dougong Studio",
        dark=None,
        favicon="🏯",
        binding_refresh_interval=None,
        gzip_middleware_factory=None,
        tailwind=False,
        show_welcome_message=False,
    )
    return Guard(app, service.token, port)


@cache
def page_style() -> str:
    """Return the style of the page and of the graph, in light and dark."""
    themes = f":root{{{variables('light')}}}\n.body--dark{{{variables('dark')}}}"
    style = re.sub(r"\n\s*", "\n", _read("studio.css") + _read("graph.css"))
    return f"{themes}\n{write_page_style('.body--dark')}\n{style}"


def _read(name: str) -> str:
    return (Path(__file__).parent / "page" / name).read_text(encoding="utf-8")
