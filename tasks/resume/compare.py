"""Differences from the run that made a checkpoint: configuration, environment, graph."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tasks.config.write_policy import FOLDERS

START_OPTIONS = ("resume", "ckpt_path", "carry_over", "runs")  # of a start, not of the run
NOT_TRAINED = ("model.example",)  # values that no training reads
RESTORED = "optimizer."  # values that the state of the optimizer replaces
ABSENT = "not there"


def flatten(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (a.b.c, value) for every leaf of nested dictionaries."""
    if isinstance(value, Mapping) and value:
        for name, item in value.items():
            yield from flatten(item, f"{path}.{name}" if path else str(name))
    else:
        yield path, value


def compare_config(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return the entries of two configurations that differ, one line each."""
    old, new = trained_entries(before), trained_entries(now)
    lines = []
    for name in sorted({*old, *new}):
        if old.get(name) == new.get(name) or (is_empty(old.get(name)) and is_empty(new.get(name))):
            continue
        line = f"{name}: {new.get(name, ABSENT)}, before {old.get(name, ABSENT)}"
        if name.startswith(RESTORED):
            line += " (without effect: the optimiser continues as it was saved)"
        lines.append(line)
    return lines


def trained_entries(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries of a configuration that belong to the run, by path."""
    entries = {}
    for name, value in flatten(config):
        if name.partition(".")[0] in START_OPTIONS or name.rpartition(".")[2] in FOLDERS:
            continue
        if not name.startswith(NOT_TRAINED):
            entries[name] = value
    return entries


def is_empty(value: Any) -> bool:
    """Return whether a value is None, {} or []."""
    return value in ({}, [], None) and not isinstance(value, bool)


def compare_environment(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return the differences of machine and packages, one line each. Any of them may change the
    last bits.
    """
    lines = []
    for name, old in before.items():
        if now.get(name) != old:
            lines.append(f"{name}: {now.get(name)}, before {old}")
    return lines


def compare_shapes(
    before: Mapping[str, Sequence[int]], now: Mapping[str, Sequence[int]]
) -> list[str]:
    """Return the tensors that are new, gone or reshaped, one line each."""
    new, gone, reshaped = [], [], []
    for name, shape in now.items():
        if name not in before:
            new.append(f"new       {name} {tuple(shape)}")
    for name, shape in before.items():
        if name not in now:
            gone.append(f"gone      {name} {tuple(shape)}")
        elif list(now[name]) != list(shape):
            reshaped.append(f"reshaped  {name} {tuple(now[name])}, before {tuple(shape)}")
    return new + gone + reshaped
