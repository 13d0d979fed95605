"""Blocks without parameters that are one expression of Python: sums, products, parts, rearranged axes."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from blocks.graph.emit.block import CannotEmit


def _slice(axis: int, text: str, rank: int) -> str:
    if axis < 0:
        return f"[..., {', '.join([text, *[':'] * (-axis - 1)])}]"
    return f"[{', '.join([*[':'] * axis, text])}]"


def _part(x: str, a: Mapping[str, Any]) -> str:
    return f"{x}.chunk({a['of']}, dim={a.get('axis', -1)})[{a['index']}]"


def _narrow(x: str, a: Mapping[str, Any]) -> str:
    start, stop = a.get("start", 0), a.get("stop")
    return x + _slice(a.get("axis", 1), f"{start or ''}:{'' if stop is None else stop}", 0)


def rearrange(x: str, pattern: str, sizes: Mapping[str, int]) -> str:
    """einops' pattern as unflatten, permute and flatten."""
    left, right = ([_group(text) for text in re.findall(r"\([^)]*\)|\S+", side)] for side in pattern.split("->"))
    if "..." in pattern:
        raise CannotEmit(f"Rearrange with '...': {pattern}")
    flat: list[str] = []
    for group in left:
        if len(group) > 1:
            known = [str(sizes.get(axis, -1)) for axis in group]
            if known.count("-1") > 1:
                raise CannotEmit(f"Rearrange without the sizes of {' '.join(group)}: {pattern}")
            x += f".unflatten({len(flat)}, ({', '.join(known)}))"
        if group == ["1"]:
            x += f".squeeze({len(flat)})"
        else:
            flat += group
    order = [flat.index(axis) for group in right for axis in group if axis != "1"]
    if order != sorted(order):
        swapped = [i for i, place in enumerate(order) if i != place]
        x += (
            f".transpose({', '.join(map(str, swapped))})"
            if len(swapped) == 2
            else f".permute({', '.join(map(str, order))})"
        )
    for at, group in enumerate(right):
        if group == ["1"]:
            x += f".unsqueeze({at})"
        elif len(group) > 1:
            x += f".flatten({at}, {at + len(group) - 1})"
    return x


def _group(text: str) -> list[str]:
    return text.strip("()").split()


JOINTS: dict[str, Callable[[list[str], Mapping[str, Any]], str]] = {
    "add": lambda x, a: " + ".join(x),
    "subtract": lambda x, a: " - ".join(x),
    "multiply": lambda x, a: " * ".join(x),
    "concat": lambda x, a: f"torch.cat(({', '.join(x)}), dim={a.get('axis', -1)})",
    "matmul": lambda x, a: f"{x[0]} @ {x[1]}" + ".transpose(-2, -1)" * bool(a.get("transpose")),
    "part": lambda x, a: _part(x[0], a),
    "slice": lambda x, a: _narrow(x[0], a),
    "flip": lambda x, a: f"{x[0]}.flip({a.get('axis', 1)})",
    "gain": lambda x, a: f"{x[0]} * {a['factor']!r}",
    "selecttoken": lambda x, a: f"{x[0]}[:, {a.get('index', 0)}]",
    "rearrange": lambda x, a: rearrange(x[0], a["pattern"], a.get("sizes") or {}),
}
