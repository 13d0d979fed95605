"""What is not as it was when a checkpoint was made: the configuration, the machine and its
packages, the graph.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tasks.config.write_policy import PLACES

STARTS = ("resume", "ckpt_path", "carry_over", "runs")  # words about a start, not about the run
SHOWN = ("model.example",)  # values that no training reads
SETTLED = "optimizer."  # values that a checkpoint of the optimiser brings along


def flatten(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """(a.b.c, value) for every leaf of nested dictionaries."""
    if isinstance(value, Mapping) and value:
        for name, item in value.items():
            yield from flatten(item, f"{path}.{name}" if path else str(name))
    else:
        yield path, value


def compare_config(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What the configuration says now and said before, where that is not the same."""
    old, new = (
        {
            name: value
            for name, value in flatten(config)
            if name.partition(".")[0] not in STARTS
            and name.rpartition(".")[2] not in PLACES
            and not name.startswith(SHOWN)
        }
        for config in (before, now)
    )
    lines = []
    for name in sorted({*old, *new}):
        if old.get(name) != new.get(name) and not (
            is_empty(old.get(name)) and is_empty(new.get(name))
        ):
            void = (
                " (without effect: the optimiser goes on as it was saved)"
                if name.startswith(SETTLED)
                else ""
            )
            lines.append(
                f"{name}: {new.get(name, 'not there')}, before {old.get(name, 'not there')}{void}"
            )
    return lines


def is_empty(value: Any) -> bool:
    return value in ({}, [], None) and not isinstance(value, bool)


def compare_environment(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What this machine and its packages have otherwise than those of before. Any of it may
    change the last bits.
    """
    return [
        f"{name}: {now.get(name)}, before {old}"
        for name, old in before.items()
        if now.get(name) != old
    ]


def compare_shapes(
    before: Mapping[str, Sequence[int]], now: Mapping[str, Sequence[int]]
) -> list[str]:
    """Nodes that are new, gone or reshaped, one line each."""
    lines = [f"new       {name} {tuple(size)}" for name, size in now.items() if name not in before]
    lines += [f"gone      {name} {tuple(size)}" for name, size in before.items() if name not in now]
    lines += [
        f"reshaped  {name} {tuple(now[name])}, before {tuple(size)}"
        for name, size in before.items()
        if name in now and list(now[name]) != list(size)
    ]
    return lines
