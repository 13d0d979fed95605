"""A study: a setting such as the learning rate is chosen for each arm on the validation, and then
each arm is tested with seeds of its own.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from blocks.graph import Composed, Problem
from blocks.graph.errors import guess
from tasks.config import instantiate
from tasks.sweep.results import Row, is_measure

TRIED = "tried"  # folder of the runs on whose validation the settings are chosen


@dataclass(frozen=True, kw_only=True)
class Study:
    """How the arms of a sweep are compared, for `hydra/sweeper=study`.

    An arm is a combination of the values that the sweep lists, except the seed.

    Args:
        choose: the values that are tried for each arm: `{optimizer.lr: [0.001, 0.003, 0.01]}`.
            A key that the command line sets is not tried.
        by: the metric of the validation that decides; lowest for a loss, otherwise highest.
        seeds: the seeds of the runs that choose; those of the sweep are for the test.
        arms: instead of combinations of the keys that they set: arms by name, each a list of
            overrides.
        arm: the name of the arm of a run, which the sweep sets.
    """

    choose: dict[str, list[Any]]
    by: str
    seeds: list[int] = field(default_factory=lambda: [100])
    arms: dict[str, list[str]] = field(default_factory=dict)
    arm: str = ""

    def list_arms(self, combinations: Sequence[Sequence[str]]) -> list[list[str]]:
        """Return the overrides of each arm.

        Args:
            combinations: the overrides of each run of the sweep.
        """
        if not self.arms:
            return unique(without(words, {"seed"}) for words in combinations)
        found = []
        for name, overrides in self.arms.items():
            keys = {"seed", *map(key_of, overrides)}
            for words in unique(without(words, keys) for words in combinations):
                found.append([*words, *overrides, f"study.arm={name}"])
        return found

    def list_trials(self, arm: Sequence[str]) -> list[list[str]]:
        """Return the overrides of the runs on whose validation the settings of an arm are
        chosen.
        """
        given = set(map(key_of, arm))
        tried = [
            [f"{key}={value}" for value in values]
            for key, values in self.choose.items()
            if key not in given
        ]
        return [[*arm, *chosen] for chosen in product(*tried)]

    def pick(self, trials: Sequence[Sequence[str]], rows: Sequence[Row]) -> list[str] | None:
        """Return the trial with the best mean over the seeds; None where no trial has finished.

        Args:
            trials: of one arm.
            rows: of all runs that choose. A trial with a run that failed is left out.
        """
        best: tuple[float, list[str]] | None = None
        sign = -1 if self.by.endswith("loss") else 1
        for trial in trials:
            runs = [row for row in rows if without(row["overrides"], {"seed"}) == list(trial)]
            if not runs or any(self.by not in row for row in runs):
                continue
            score = sign * sum(row[self.by] for row in runs) / len(runs)
            if best is None or score > best[0]:
                best = score, list(trial)
        return best and best[1]


def key_of(override: str) -> str:
    """Return the key that an override sets."""
    return override.partition("=")[0].lstrip("+~")


def without(words: Sequence[str], keys: set[str]) -> list[str]:
    """Return overrides but those of these keys."""
    return [text for text in words if key_of(text) not in keys]


def unique(lists: Iterator[list[str]]) -> list[list[str]]:
    """Return each list once, in order."""
    return [list(words) for words in dict.fromkeys(map(tuple, lists))]


def read_study(config: Mapping[str, Any]) -> Study | None:
    """Return the study of a checked configuration; None if it has none."""
    section = config.get("study")
    return Study(**section) if section else None


def check_study(composed: Composed) -> Iterator[Problem]:
    """Yield the problems of the section `study`."""
    section = composed.config.get("study")
    if section is None:
        return
    path: tuple[str, ...] = ("study",)
    if not isinstance(section, dict):
        text, got = "study must be a mapping", f"study={section!r}"
        yield instantiate.problem(composed, path, text, got=got, code="bad-value")
        return
    problems = list(instantiate.check(composed, path, Study, section, set()))
    yield from problems
    if problems:
        return
    study = Study(**section)
    if not study.by.startswith("val/") or not is_measure(study.by):
        text, fits = f"study.by={study.by} is no metric of the validation", "val/accuracy, val/loss"
        fix = guess(study.by, ("val/accuracy", "val/loss"))
        path = ("study", "by")
        yield instantiate.problem(composed, path, text, fits=fits, fix=fix, code="unknown-name")
    for key, values in study.choose.items():
        if not values:
            text, fits = f"study.choose.{key} lists no value", "values to try"
            path = ("study", "choose")
            yield instantiate.problem(composed, path, text, fits=fits, code="missing-key")
    if not study.seeds:
        path = ("study", "seeds")
        text, fits = "study.seeds is empty", "a seed for the runs that choose"
        yield instantiate.problem(composed, path, text, fits=fits, code="missing-key")
