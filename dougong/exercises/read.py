"""Read the exercises: their questions in two languages, their conditions and their answers."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).resolve().parent
LANGUAGES = ("en", "zh")
RELATIONS = {
    "at_least": {"en": "at least {}", "zh": "至少 {}"},
    "at_most": {"en": "at most {}", "zh": "至多 {}"},
    "equals": {"en": "exactly {}", "zh": "等于 {}"},
    "at_least_times": {"en": "at least, times the start, {}", "zh": "至少是起点的 {} 倍"},
    "at_most_times": {"en": "at most, times the start, {}", "zh": "至多是起点的 {} 倍"},
}
MEASURES = {  # in Chinese; a metric keeps its name
    "parameters": "参数量",
    "macs": "乘加次数",
    "field": "感受野",
    "shape": "形状",
    "argument": "取值",
    "blocks": "个数",
    "setting": "设置",
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

    def describe(self, language: str) -> str:
        """Return the condition in a language."""
        value = f"{self.value:,}" if isinstance(self.value, int) else str(self.value)
        reached = RELATIONS[self.relation][language].format(value)
        if language == "zh":
            measure = MEASURES.get(self.measure, self.measure)
            subject = f"{self.of} 的{measure}" if self.of else measure
            return f"{subject}：{reached}"
        subject = f"{self.measure} of {self.of}" if self.of else self.measure
        return f"{subject}: {reached}"

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
