"""Read the exercises: their questions in two languages, their conditions and their answers."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).resolve().parent
LANGUAGES = ("en", "zh")
RELATIONS = {
    "at_least": "at least",
    "at_most": "at most",
    "equals": "exactly",
    "at_least_times": "at least, times the start,",
    "at_most_times": "at most, times the start,",
}
SCORES = ("test/", "val/", "train/")  # how the metrics of a run begin


@dataclass(frozen=True)
class Condition:
    """One thing that an answer has to reach.

    Args:
        measure: "parameters", "macs", "field", "shape", "argument", "blocks", "setting", or a
            metric of a run, e.g. "test/accuracy".
        of: the node whose field or shape is meant, "NODE.NAME" of an argument, the block that is
            counted, or the setting's path; of the whole model when empty.
        relation: one of `RELATIONS`; "times" compares with the same measure of the start.
        value: the bound.
    """

    measure: str
    of: str
    relation: str
    value: Any

    def __str__(self) -> str:
        subject = f"{self.measure} of {self.of}" if self.of else self.measure
        value = f"{self.value:,}" if isinstance(self.value, int) else str(self.value)
        return f"{subject}: {RELATIONS[self.relation]} {value}"

    @property
    def is_score(self) -> bool:
        """Whether only a run has the measure."""
        return self.measure.startswith(SCORES)


@dataclass(frozen=True)
class Exercise:
    """A question of the course.

    Args:
        number: "LESSON.EXERCISE".
        question: the text by language; so are `hint` and `reason`, which explains the answer.
        start: the overrides that the reader's follow.
        conditions: all have to hold.
        answer: overrides that solve it.
        wrong: overrides that do not.
    """

    number: str
    question: Mapping[str, str]
    hint: Mapping[str, str]
    reason: Mapping[str, str]
    start: tuple[str, ...]
    conditions: tuple[Condition, ...]
    answer: tuple[str, ...]
    wrong: tuple[str, ...]

    @property
    def needs_run(self) -> bool:
        """Whether the answer has to be trained."""
        return any(condition.is_score for condition in self.conditions)


def read_exercises() -> dict[str, Exercise]:
    """Return all exercises by number."""
    found = {}
    for file in sorted(FOLDER.glob("*.yaml")):
        lesson = yaml.safe_load(file.read_text(encoding="utf-8"))
        for place, entry in enumerate(lesson["exercises"], 1):
            number = f"{lesson['lesson']}.{place}"
            found[number] = read_exercise(number, entry)
    return found


def read_exercise(number: str, entry: Mapping[str, Any]) -> Exercise:
    """Return one exercise of a file."""
    conditions = tuple(read_condition(condition) for condition in entry["conditions"])
    return Exercise(
        number,
        question=entry["question"],
        hint=entry["hint"],
        reason=entry["reason"],
        start=tuple(entry["start"]),
        conditions=conditions,
        answer=tuple(entry["answer"]),
        wrong=tuple(entry["wrong"]),
    )


def read_condition(entry: Mapping[str, Any]) -> Condition:
    """Return one condition, `{measure: field, of: stages, at_least: 20}`."""
    (relation,) = set(entry) & set(RELATIONS)
    return Condition(entry["measure"], entry.get("of", ""), relation, entry[relation])
