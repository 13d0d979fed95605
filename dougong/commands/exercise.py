"""Check an answer to an exercise of the course: `dougong exercise 5.1 model.params.window=2`.

Without a number, list the exercises; with a number alone, print the question. An answer is a line
of overrides, or the folder of a run where the exercise asks for a training.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dougong.exercises.check import Finding, check_model, check_run
from dougong.exercises.read import LANGUAGES, Exercise, read_exercises

SOLVED, NOT_YET = 0, 1
WORDS = {
    "en": {
        "start": "start   ",
        "reach": "reach   ",
        "train": "train   ",
        "check": "check   ",
        "value": "KEY=VALUE",
        True: "yes ",
        False: "no  ",
        "found": "; found ",
        "bound": ", the bound is ",
        "solved": "solved",
        "not yet": "not yet; --hint helps",
    },
    "zh": {
        "start": "起点",
        "reach": "条件",
        "train": "训练",
        "check": "检查",
        "value": "键=值",
        True: "对  ",
        False: "不对",
        "found": "；得到 ",
        "bound": "，界限是 ",
        "solved": "完成",
        "not yet": "还不对；--hint 给出提示",
    },
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("number", nargs="?", help="LESSON.EXERCISE, e.g. 5.1; without: list them")
    parser.add_argument(
        "given", nargs="*", metavar="ANSWER", help="overrides, or the folder of a run"
    )
    parser.add_argument("--hint", action="store_true", help="print the hint")
    parser.add_argument("--answer", action="store_true", help="print an answer")
    parser.add_argument("--language", choices=LANGUAGES, default="en", help="of the texts (en)")


def run(arguments: argparse.Namespace) -> int:
    """Print a question, a hint or an answer, or check the reader's.

    Returns:
        0 if the answer is right, or nothing was to be checked; 1 if it is not right yet.

    Raises:
        ConfigError: there is no such exercise, the answer does not compose, or the folder holds no
            finished run.
    """
    known = read_exercises()
    if arguments.number is None:
        for number, each in known.items():
            print(f"{number:<5} {each.question[arguments.language]}")
        return SOLVED
    exercise = known.get(arguments.number)
    if exercise is None:
        raise unknown_exercise(arguments.number, [*known])
    if arguments.hint:
        print(exercise.hint[arguments.language])
    if arguments.answer:
        print(" ".join(["dougong", "exercise", exercise.number, *exercise.answer]))
        print(exercise.reason[arguments.language])
    if arguments.given:
        return print_findings(check_answer(exercise, arguments.given), arguments.language)
    if not arguments.hint and not arguments.answer:
        print_question(exercise, arguments.language)
    return SOLVED


def check_answer(exercise: Exercise, given: Sequence[str]) -> list[Finding]:
    """Return what was found for each condition of an exercise.

    Args:
        exercise: the question and its conditions.
        given: overrides, or the folder of one run.
    """
    if len(given) == 1 and Path(given[0]).is_dir():
        return check_run(exercise, Path(given[0]))
    return check_model(exercise, given)


def print_question(exercise: Exercise, language: str) -> None:
    """Print the question, where an answer starts from, and the conditions."""
    words = WORDS[language]
    print(exercise.question[language])
    print(f"  {words['start']} {' '.join(exercise.start)}")
    for condition in exercise.conditions:
        print(f"  {words['reach']} {condition.describe(language)}")
    line = f"dougong exercise {exercise.number}"
    if exercise.needs_run:
        print(f"  {words['train']} dougong train {' '.join(exercise.start)} ...")
        print(f"  {words['check']} {line} RUN")
    else:
        print(f"  {words['check']} {line} {words['value']} ...")


def print_findings(findings: Sequence[Finding], language: str) -> int:
    """Print a line for each condition and return the exit status."""
    words = WORDS[language]
    for finding in findings:
        line = f"{words[finding.holds]} {finding.condition.describe(language)}"
        line += f"{words['found']}{show_number(finding.found)}"
        if finding.bound is not None:
            line += f"{words['bound']}{finding.bound:,.0f}"
        print(line)
    if all(finding.holds for finding in findings):
        print(words["solved"])
        return SOLVED
    print(words["not yet"])
    return NOT_YET


def show_number(found: Any) -> str:
    """Return a count with separators, and other numbers with four digits."""
    if isinstance(found, int) and not isinstance(found, bool):
        return f"{found:,}"
    if isinstance(found, float):
        return f"{found:.4g}"
    return str(found)


def unknown_exercise(number: str, known: Sequence[str]) -> Exception:
    """Return the error for a number that no exercise has."""
    from blocks.graph import ConfigError, Problem

    return ConfigError(
        Problem(
            "no exercise has this number",
            f"the command line: {number}",
            fits=", ".join(known),
            fix="dougong exercise lists them with their questions",
            code="unknown-option",
        )
    )
