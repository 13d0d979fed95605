"""The process that answers the questions of `dougong mcp`: a line of JSON for each.

A question is an object with `words`, the command line behind `dougong`, and `overrides`, those
among them. The answer has `status`, `out` and `err`, as the command prints them.
"""

import json
import os
from typing import Any

from blocks.graph import ConfigError
from blocks.graph.compose.confined import check_confined_overrides
from blocks.support.answers import error_entries, error_entry, format_errors
from blocks.watch.engine import Engine, Printed
from dougong.main import main
from tasks.process.parent import die_with_parent

CRASH, MISTAKE = 1, 2
LONGEST = 200_000  # characters of an answer
SHORTER = {
    "explain": "a smaller depth",
    "check": "fewer combinations",
    "list": "one kind",
    "catalog": "fewer names",
    "result": "fewer rows",
}


def serve() -> None:
    """Answer the questions on standard input until it ends; the first line says that it begins."""
    questions = os.fdopen(os.dup(0), encoding="utf-8")
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)  # what else is printed is no answer
    die_with_parent()
    engine = Engine()
    answers.write("{}\n")
    answers.flush()
    for line in questions:
        printed = answer(engine, json.loads(line))
        answers.write(json.dumps(vars(printed)) + "\n")
        answers.flush()


def answer(engine: Engine, question: dict[str, Any]) -> Printed:
    """Run a command; its errors are JSON, whatever they are."""
    words: list[str] = question["words"]
    try:
        check_confined_overrides(question["overrides"])
        printed = engine.run(main, words)
    except ConfigError as error:
        return Printed(MISTAKE, format_errors(error_entries(error), MISTAKE), "")
    except Exception as error:
        return Printed(CRASH, format_errors(error_entries(error), CRASH), "")
    if len(printed.out) > LONGEST:
        entry = error_entry(
            "the answer is too long",
            code="too-large",
            where=words[0],
            got=f"{len(printed.out):,} characters",
            fits=f"{LONGEST:,} at most",
            fix=SHORTER.get(words[0]),
        )
        return Printed(MISTAKE, format_errors([entry], MISTAKE), "")
    return printed
