"""Patterns over names of parameters: one small language for initialising, freezing, learning rates and weight maps.

`*`, `?` and `[abc]` are those of a shell, and `*` crosses dots. `{i}` stands for one stretch without a dot and hands it
to the other side; `{rest*}` crosses dots.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from torch import Tensor, nn
from torch.fx import GraphModule

from blocks.graph.errors import Origin, Problem, did_you_mean
from blocks.graph.expression import ExpressionError, evaluate

TOKEN = re.compile(r"\{([^{}]*)\}|(\*)|(\?)|(\[!?\]?[^\]]*\])|([^{}*?\[]+|.)", re.DOTALL)


@lru_cache(maxsize=4096)
def regex(pattern: str) -> re.Pattern[str]:
    """The pattern as a regular expression for a whole name; raises ExpressionError."""
    parts, seen = [], set()
    for piece, star, question, group, plain in TOKEN.findall(pattern):
        if star:
            parts.append(".*")
        elif question:
            parts.append(".")
        elif group:
            parts.append(group.replace("[!", "[^", 1).replace("\\", r"\\"))
        elif plain:
            parts.append(re.escape(plain))
        else:
            name = piece.removesuffix("*")
            if not name.isidentifier():
                raise ExpressionError(
                    f"{pattern!r}: {{{piece}}} is no name", "{i} for one stretch, {rest*} across dots"
                )
            parts.append(f"(?P={name})" if name in seen else f"(?P<{name}>{'.+' if piece.endswith('*') else '[^.]+'})")
            seen.add(name)
    try:
        return re.compile("".join(parts), re.DOTALL)
    except re.error as error:
        raise ExpressionError(f"{pattern!r} is no pattern: {error}", "*, ?, [abc], {i}, {rest*}") from None


def match(pattern: str, name: str) -> dict[str, str] | None:
    """What the pieces of a pattern stand for in a name; None where it does not fit."""
    found = regex(pattern).fullmatch(name)
    return found and found.groupdict()


class Pieces:
    """What `{i}` stands for, as names of an expression; digits are numbers."""

    def __init__(self, pieces: Mapping[str, str]):
        self.pieces = pieces

    def value(self, name: str) -> Any:
        if name not in self.pieces:
            raise ExpressionError(f"no piece {{{name}}} on the other side", did_you_mean(name, self.pieces))
        text = self.pieces[name]
        return int(text) if text.isdecimal() else text

    def attribute(self, name: str, attribute: str) -> Any:
        raise ExpressionError(f"{name}.{attribute} means nothing here", "{i}, {i + 1}, {rest*}")


def fill(template: str, pieces: Mapping[str, str]) -> str:
    """A name from a template: `{i}` and `{rest*}` as matched, `{i + 1}` reckoned; raises ExpressionError."""

    def put(found: re.Match[str]) -> str:
        text = found[1].removesuffix("*").strip()
        return pieces[text] if text in pieces else str(evaluate(text, Pieces(pieces)))

    return re.sub(r"\{([^{}]*)\}", put, template)


@dataclass(frozen=True)
class Parameter:
    """A parameter of a model, once, however often it is tied: its path, and its names by kind.

    Args:
        kind: by the class of its module, `Linear.weight`.
        within: by the class of the block that holds its module, `SelfAttention.project.weight`; empty where none does.
    """

    path: str
    kind: str
    value: Tensor
    aliases: tuple[str, ...] = ()
    within: str = ""

    def match(self, pattern: str) -> dict[str, str] | None:
        """By path or kind, or by a module on the path or a kind of module: all that is in it."""
        for name in filter(None, (self.path, self.kind, self.within)):
            for wanted in (pattern, f"{pattern}.*"):
                found = match(wanted, name)
                if found is not None:
                    return found
        return None


def parameters_of(model: nn.Module) -> list[Parameter]:
    """Every parameter once, in the order of the model."""
    names: dict[int, list[str]] = {}
    owners: dict[int, str] = {}
    holders: dict[int, str] = {}
    values: dict[int, nn.Parameter] = {}
    modules = dict(model.named_modules(remove_duplicate=False))
    for path, module in modules.items():
        parent, _, child = path.rpartition(".")
        block = path and not isinstance(modules[parent], GraphModule)
        for name, value in module.named_parameters(recurse=False):
            names.setdefault(id(value), []).append(f"{path}.{name}" if path else name)
            owners.setdefault(id(value), f"{type(module).__name__}.{name}")
            holders.setdefault(id(value), f"{type(modules[parent]).__name__}.{child}.{name}" if block else "")
            values[id(value)] = value
    return [Parameter(names[key][0], owners[key], values[key], tuple(names[key][1:]), holders[key]) for key in values]


def matching(parameters: Iterable[Parameter], pattern: str) -> list[tuple[Parameter, dict[str, str]]]:
    """The parameters that a pattern names, each with its pieces; raises ExpressionError for a broken one."""
    return [(each, found) for each in parameters if (found := each.match(pattern)) is not None]


def nothing_matches(pattern: str, parameters: Sequence[Parameter], where: Origin | str | None, path: str) -> Problem:
    """The mistake of a pattern that fits no parameter, with the nearest that there is."""
    for each in parameters:
        if pattern in each.aliases:
            return Problem(f"{pattern!r} is the same parameter as {each.path!r}", where, path, fix=f"name {each.path}")
    names = {name for each in parameters for name in (each.path, each.kind, each.within) if name}
    names |= {name[: dot.start()] for name in names for dot in re.finditer(r"\.", name)}
    if any(mark in pattern for mark in "*?[{"):
        names = {re.sub(r"(?<=\.)\d+(?=\.|$)", "*", name) for name in names}
    return Problem(f"{pattern!r} matches no parameter", where, path, fits=did_you_mean(pattern, names))
