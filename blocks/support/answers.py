"""Answers and errors for programs: JSON, with the parts that a person reads as text.

With `--json` an error is one JSON object on standard output, in place of the answer. With the
environment variable `DOUGONG_ERRORS=json` it is one line of JSON on standard error.
"""

import argparse
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

ENVIRONMENT = "DOUGONG_ERRORS"
PLACE = re.compile(r"(.+):(\d+):(\d+)")
COMMAND_LINE = "the command line"
CODES = {  # class of an exception that has no code of its own -> code
    "KeyboardInterrupt": "interrupted",
    "Interrupted": "interrupted",
    "HydraException": "bad-override",
    "FileError": "unreadable-file",
    "FileNotFoundError": "missing-file",
    "PermissionError": "unreadable-file",
    "OSError": "system-error",
}


def error_entry(
    problem: str,
    *,
    code: str,
    where: object = None,
    path: str = "",
    got: str | None = None,
    source: str | None = None,
    fits: str | None = None,
    fix: str | None = None,
) -> dict[str, Any]:
    """Return one problem as JSON states it; `where` is "FILE:LINE:COLUMN" or another text."""
    place = str(where or "")
    found = PLACE.fullmatch(place)
    return {
        "file": found[1] if found else None,
        "line": int(found[2]) if found else None,
        "column": int(found[3]) if found else None,
        "where": place or None,
        "path": path or None,
        "code": code,
        "problem": problem,
        "got": got,
        "from": source,
        "fits": fits,
        "fix": fix,
    }


def problem_entry(problem: Any) -> dict[str, Any]:
    """Return the entry of a `blocks.graph.Problem`."""
    return error_entry(**vars(problem))


def error_entries(error: BaseException, node: str | None = None) -> list[dict[str, Any]]:
    """Return the entries of an exception.

    Args:
        error: a ConfigError with problems, an error of an argument, or any other.
        node: the path and the place of the node at which a model failed.
    """
    problems = getattr(error, "problems", None)
    if problems:
        return [problem_entry(problem) for problem in problems]
    parts: dict[str, Any] = {}
    for part in ("problem", "got", "fits", "fix"):
        parts[part] = getattr(error, part, None)
    if parts["problem"] is None:
        parts["problem"] = describe_exception(error)
    path, _, where = (node or "").partition("  ")
    return [error_entry(**parts, code=code_of(error), path=path, where=where)]


def describe_exception(error: BaseException) -> str:
    """Return the message of an exception, with its type unless its code says more."""
    text = str(error)
    if code_of(error) != "crash" and text:
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def code_of(error: BaseException) -> str:
    """Return the code of an exception: its own, or one for its class."""
    code = getattr(error, "code", None)
    if isinstance(code, str):
        return code
    for base in type(error).__mro__:
        if base.__name__ in CODES:
            return CODES[base.__name__]
    return "crash"


def asks_for_json(words: Iterable[str] = ()) -> bool:
    """Return whether a command line, or the environment, asks for errors as JSON."""
    return "--json" in words or os.environ.get(ENVIRONMENT) == "json"


def print_error(
    text: str,
    entries: Sequence[dict[str, Any]],
    status: int,
    words: Iterable[str] = (),
    hide: Callable[[str], str] = str,
) -> None:
    """Print an error: as text on standard error, or as JSON.

    Args:
        text: what a person reads.
        entries: the same for programs.
        status: the exit status of the program.
        words: the command line, which may ask for JSON.
        hide: removes secrets from a text.
    """
    target = sys.stderr
    if "--json" in words:
        target = sys.stdout
    if asks_for_json(words):
        text = format_errors(entries, status, hide)
    target.write(f"{text}\n")
    target.flush()


def format_errors(
    entries: Sequence[dict[str, Any]], status: int, hide: Callable[[str], str] = str
) -> str:
    """Return the line of JSON that a program reads."""
    shown = []
    for entry in entries:
        shown.append({part: _hide(value, hide) for part, value in entry.items()})
    return json.dumps({"errors": shown, "status": status})


def _hide(value: Any, hide: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return hide(value)
    return value


class Parser(argparse.ArgumentParser):
    """A parser whose errors are JSON where JSON is asked for."""

    words: Sequence[str] = ()  # the command line, which argparse does not hand to `error`

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse a command line, also that of a subcommand."""
        self.words = list(args or ())
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Print the error and exit with status 2."""
        if not asks_for_json(self.words):
            super().error(message)
        usage = " ".join(self.format_usage().split())
        entry = error_entry(message, code="bad-command", where=COMMAND_LINE, fits=usage)
        print_error(message, [entry], 2, self.words)
        self.exit(2)
