"""The command `dougong`: finds the command that is meant, and hands it the rest of the line."""

import argparse
import importlib
import os
import sys
import textwrap
from functools import partial

from dougong.packages import use_own_packages

TRAIN = "train, from a line of overrides; -m sweeps"
OWN = {  # a file of dougong/commands each
    "init": "begin a project of your own: a model, an experiment, a block with its test",
    "list": "models, data, experiments and other choices, with a line each",
    "show": "print the YAML file of a choice; --save copies it into the project",
    "result": "how a run ended: its scores, and the last epochs of its metrics",
    "exercise": "a question of the course, and whether an answer to it is right",
    "mcp": "serve an agent: these commands as tools of the Model Context Protocol",
    "completion": "print what makes bash, zsh, fish or PowerShell complete these commands",
}
OK, MISTAKE = 0, 2


def main(words: list[str] | None = None) -> int:
    """Run a command line.

    Returns:
        The exit status: 0; 1 after a crash or where an item failed; 2 after a mistake of the
        user's; 130 after Ctrl-C.
    """
    use_own_packages()
    words = sys.argv[1:] if words is None else words
    if "_ARGCOMPLETE" in os.environ:
        from dougong.complete import complete

        complete(all_commands())
    first = words[0] if words else ""
    if first in ("", "-h", "--help", "help"):
        print(help_text())
        return OK if first else MISTAKE
    if first == "--version":
        print(version_text())
        return OK
    if first == "train":
        return run_train(words[1:])
    if first in OWN:
        return run_own(first, words[1:])
    if first in blocks_commands() or first in tasks_commands():
        return run_question(first, words)
    from blocks.support.answers import COMMAND_LINE, error_entry, print_error
    from dougong.suggest import explain_unknown

    text = explain_unknown(words, [*all_commands()])
    entry = error_entry(text, code="bad-command", where=f"{COMMAND_LINE}: {first}")
    print_error(text, [entry], MISTAKE, words)
    return MISTAKE


# Commands -----------------------------------------------------------------------------------------


def blocks_commands() -> dict[str, str]:
    """Return the commands that ask about an architecture, with a line each."""
    from blocks.__main__ import COMMANDS

    return COMMANDS


def tasks_commands() -> dict[str, str]:
    """Return the commands that use a finished run, with a line each."""
    from tasks.__main__ import COMMANDS

    return COMMANDS


def all_commands() -> dict[str, str]:
    """Return all commands, with a line each."""
    return {"train": TRAIN, **blocks_commands(), **tasks_commands(), **OWN}


def help_text() -> str:
    """Return what `dougong --help` prints."""
    from dougong.suggest import EXAMPLES

    sections = {
        "train": {"train": TRAIN},
        "ask about an architecture": blocks_commands(),
        "use a finished run (RUN is its folder)": {
            name: text for name, text in tasks_commands().items() if name != "schema"
        },
        "work in a folder of your own": OWN,
    }
    lines = ["dougong COMMAND ...", ""]
    for title, commands in sections.items():
        lines.append(f"{title}:")
        for name, text in commands.items():
            first = f"  {name:<10} "
            lines += textwrap.wrap(first + text, 80, subsequent_indent=" " * len(first))
        lines.append("")
    lines += ["examples:", *(f"  {line}" for line in EXAMPLES), ""]
    lines.append("dougong COMMAND --help describes a command.")
    return "\n".join(lines)


def version_text() -> str:
    """Return the version, and where the program is."""
    from importlib.metadata import version

    from dougong.packages import HOME

    return f"dougong {version('dougong')} ({HOME})"


def run_train(words: list[str]) -> int:
    """Train; the session sets the exit status."""
    from tasks.session import main as train

    train(words)
    return OK


def run_question(command: str, words: list[str]) -> int:
    """Run a command of `python -m blocks` or `python -m tasks`; `schema` is one of both."""
    status = OK
    if command in blocks_commands():
        from blocks.__main__ import main as ask
        from blocks.__main__ import start

        if command in tasks_commands():
            status = ask(words, "dougong")
        else:
            status = start(words, "dougong")
    if command in tasks_commands() and status == OK:
        from tasks.__main__ import main as use

        status = use(words, "dougong")
    return status


def run_own(command: str, words: list[str]) -> int:
    """Run a command of `dougong.commands`."""
    from blocks.support.answers import Parser, error_entries, print_error
    from blocks.support.program import run_quietly

    module = importlib.import_module(f"dougong.commands.{command}")
    parser = Parser(
        f"dougong {command}",
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.add_arguments(parser)
    # an answer may stand on both sides of an option: exercise 1.1 --language zh KEY=VALUE
    parse = parser.parse_intermixed_args if command == "exercise" else parser.parse_args
    arguments = parse(words)
    try:
        return run_quietly(partial(module.run, arguments))
    except Exception as error:
        from blocks.graph import ConfigError

        if not isinstance(error, ConfigError):
            raise
        print_error(str(error), error_entries(error), MISTAKE, words)
        return MISTAKE
