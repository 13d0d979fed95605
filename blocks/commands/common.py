"""Questions about an architecture: one file a command, with `arguments(parser)` and `run(chosen) ->
exit status`.
"""

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from blocks.graph import Built, BuiltObjective, ConfigError, Problem, plan
from blocks.graph.compose.compose import Composed
from blocks.graph.compose.facts import explain_unread, look_up_facts
from blocks.graph.read.loader import open_loader
from blocks.graph.run.entry import plan_entry
from blocks.support.stand_ins import restore_the_compiler


def say_aside(note: str) -> None:
    """Print a line beside the answer."""
    print(note, file=sys.stderr)


class Planner:
    """Builds models on the meta device for the questions of one command.

    Where no data are chosen, a model has the example facts of its file; where data are small, they
    are read. Either is said in one line of standard error, once.
    """

    def __init__(self, say: Callable[[str], None] = say_aside) -> None:
        self.said: dict[str, None] = {}
        self.print_note = say
        self.read: dict[str, dict[str, Any] | None] = {}

    def __call__(self, composed: Composed, example: Mapping[str, Any] | None = None) -> Built:
        facts, note = look_up_facts(composed, self.facts_of, example)
        try:
            planned = plan(composed, facts)
        except ConfigError as error:
            explained = explain_unread(error, composed)
            if explained is error or self.facts_of(composed) is not None:
                raise
            raise explained from error
        self.say(note)
        return planned

    def say(self, note: str | None) -> None:
        """Print a line beside the answer, once."""
        if note is not None and note not in self.said:
            self.said[note] = None
            self.print_note(note)

    def facts_of(self, composed: Composed) -> dict[str, Any] | None:
        """The facts of data that are read within a second, each data set once; None for others."""
        key = repr(composed.config.get("data"))
        if key not in self.read:
            section = composed.config.get("data")
            if not (isinstance(section, Mapping) and is_ours(section.get("_target_"))):
                restore_the_compiler()  # a class of the user's own may import Lightning
            from tasks.run.data_facts import read_facts

            if isinstance(section, Mapping) and isinstance(section.get("path"), str):
                open_loader().note(Path(section["path"]))
            self.read[key] = read_facts(composed)
        return self.read[key]


def is_ours(target: Any) -> bool:
    """Return whether a data module is one of `tasks/data`, which import no Lightning."""
    return isinstance(target, str) and target.startswith("tasks.data.")


def plan_composed_loss(composed: Composed, planned: Built) -> BuiltObjective | None:
    """The objective of a task that composes its loss in YAML; None for any other task.

    Raises:
        ConfigError: a term, a metric or the teacher is wrong.
    """
    task = composed.config.get("task")
    if not (isinstance(task, Mapping) and isinstance(task.get("loss"), Mapping)):
        return None
    restore_the_compiler()
    from tasks.run.objective import plan_objective

    found = plan_objective(composed, planned)
    return None if found is None else found.built


def add_entry(parser: argparse.ArgumentParser) -> None:
    """Add the option that chooses an entry of the model."""
    parser.add_argument(
        "--entry", metavar="NAME", help="a part of the model: a key of its section `entries`"
    )


def choose_part(planned: Built, entry: str | None) -> Built:
    """Return the chosen entry of a model, or the model.

    Raises:
        ConfigError: the model has no such entry.
    """
    return planned if entry is None else plan_entry(planned, entry)


def add_no_server(parser: argparse.ArgumentParser) -> None:
    """Add the option that keeps a question from the process of `watch`."""
    parser.add_argument(
        "--no-server",
        action="store_true",
        help="do not ask the process of `watch`; DOUGONG_NO_SERVER=1 does the same",
    )


def levels(text: str) -> int:
    """How many levels of nested nodes are shown: a word of the command line as a whole number."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text} is no number of levels; 0, 1, 2, ...")
    return int(text)


def write(file: Path, content: str | bytes, option: str) -> None:
    """Write a file that the command line names.

    Raises:
        ConfigError: it cannot be written.
    """
    try:
        if isinstance(content, str):
            content = content.encode(errors="backslashreplace")
        file.write_bytes(content)
    except OSError as error:
        problem = Problem(
            "the file cannot be written",
            "the command line",
            got=f"{option} {file} ({error.strerror})",
            fits="a file in a folder that exists",
            code="unwritable-file",
        )
        raise ConfigError(problem) from error
