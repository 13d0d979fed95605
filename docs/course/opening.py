"""The command that opens the model of a lesson in Studio, made of the command of the lesson."""

import re
import shlex
from functools import cache
from typing import Any

from blocks.graph import Composed, compose
from blocks.graph.compose.combinations import combinations
from blocks.graph.compose.compose import opened_hydra
from blocks.graph.read.loader import CachedLoader

LAST = ("05", "09", "11", "15")  # lessons whose last arm is shown; of the others, the first
AMOUNTS = ("train", "val", "test", "batch_size", "seed", "facts")  # of data; they shape no model
COMMAND = re.compile(r"^dougong (?P<kind>train|diff) (?P<words>.*)$", re.MULTILINE)


def write_studio_command(lesson: str, text: str) -> str:
    """Return `dougong studio` with the model and data of a lesson's first command.

    Args:
        lesson: its number, two digits.
        text: of the lesson.
    """
    command = COMMAND.search(text)
    assert command is not None
    words = shlex.split(command["words"])
    if command["kind"] == "diff":
        words = [*words[1].split(","), *words[2:]]
    return _write(lesson, tuple(words))


@cache
def _write(lesson: str, words: tuple[str, ...]) -> str:
    loader = CachedLoader()
    with opened_hydra():
        arms = list(combinations([word for word in words if word != "-m"]))
        arm = compose(arms[-1 if lesson in LAST else 0], loader=loader)
        model, data = (f"{group}={arm.choices[group]}" for group in ("model", "data"))
        differences = list_differences(arm, compose([model, data], loader=loader))
    return shlex.join(["dougong", "studio", model, data, *differences])


def list_differences(arm: Composed, base: Composed) -> list[str]:
    """Return the options of slots, params and values of the data that make an arm of its base."""
    found = [
        f"{group}={option}"
        for group, option in arm.choices.items()
        if group.startswith("model/") and base.choices.get(group) != option
    ]
    before, after = (each.config["model"].get("params") or {} for each in (base, arm))
    for name, value in after.items():
        if name not in before:
            found.append(f"+model.params.{name}={write_value(value)}")
        elif value != before[name]:
            found.append(f"model.params.{name}={write_value(value)}")
    for name, value in arm.config["data"].items():
        if name not in AMOUNTS and value != base.config["data"].get(name):
            found.append(f"data.{name}={write_value(value)}")
    return found


def write_value(value: Any) -> str:
    """Return a value as an override states it."""
    if isinstance(value, list):
        return f"[{','.join(map(write_value, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)
