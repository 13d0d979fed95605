"""A local page in which a model is seen, changed, checked, compared and trained."""

import argparse
import importlib.util
import webbrowser
from pathlib import Path
from typing import Any

from blocks.graph import ConfigError, Problem
from blocks.support.stand_ins import restore_the_compiler


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words of the command line."""
    parser.add_argument(
        "overrides", nargs="*", help="what the page begins with: model=vit data=digits"
    )
    parser.add_argument(
        "--port", type=int, default=0, metavar="N", help="of 127.0.0.1; a free one when left out"
    )
    parser.add_argument(
        "--no-browser", action="store_true", help="print the address, and open no browser"
    )
    # the processes that answer and that work off a sweep, which the page starts
    parser.add_argument("--answers", choices=("models", "runs"), help=argparse.SUPPRESS)
    parser.add_argument("--queue", metavar="SWEEP", help=argparse.SUPPRESS)


def run(chosen: argparse.Namespace) -> int:
    """Serve the page until Ctrl-C; the exit status.

    Raises:
        ConfigError: the extra is not installed.
    """
    if chosen.queue:
        from blocks.studio.run.queue import work

        return work(Path.cwd(), chosen.queue)
    if chosen.answers:
        from blocks.studio import answers

        make: Any = answers.Pages
        if chosen.answers == "runs":
            restore_the_compiler()
            from blocks.studio.look.looks import Looks

            make = Looks
        answers.serve(make)
        return 0
    if importlib.util.find_spec("nicegui") is None:
        raise ConfigError(
            Problem(
                "the page needs a package that is not installed",
                "the command line: studio",
                got="no package nicegui",
                fits="the extra `studio`, which works offline once it is installed",
                fix="pip install 'dougong[studio]'",
                code="not-installed",
            )
        )
    from blocks.studio import server

    def announce(address: str) -> None:
        print(f"{address}\nCtrl-C ends the page; trainings continue", flush=True)
        if not chosen.no_browser:
            webbrowser.open(address)

    server.serve(Path.cwd(), chosen.overrides, chosen.port, announce)
    return 0
