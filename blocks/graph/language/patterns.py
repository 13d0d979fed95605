"""Patterns over names of parameters: one small language for initialising, freezing, learning rates
and weight maps.

`*`, `?` and `[abc]` are those of a shell, and `*` crosses dots. `{i}` stands for one stretch
without a dot and hands it to the other side; `{rest*}` crosses dots.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from torch import Tensor, nn
from torch.fx import GraphModule

from blocks.graph.errors import Origin, Problem, did_you_mean
from blocks.graph.language.expression import ExpressionError, evaluate, limited
from blocks.graph.steps import spend

LONGEST = 300  # characters of a pattern
COMPILED = 10  # steps that it takes to read a part of a pattern
TOKEN = re.compile(r"\{([^{}]*)\}|(\*)|(\?)|(\[!?\]?[^\]]*\])|([^{}*?\[]+|.)", re.DOTALL)


@dataclass(frozen=True)
class Stretch:
    """A part of a pattern.

    Args:
        kind: "star", "piece" (a stretch without a dot), "pieces" (across dots), or "fixed".
        text: the name of a piece, or what is fixed as a regular expression of a fixed length.
        length: characters that the part takes; 0 where it takes any number.
    """

    kind: str
    text: str = ""
    length: int = 0


@lru_cache(maxsize=4096)
def parts_of(pattern: str) -> tuple[Stretch, ...]:
    """The parts of a pattern; raises ExpressionError."""
    if len(pattern) > LONGEST:
        fits = f"at most {LONGEST}"
        raise ExpressionError(f"a pattern of {len(pattern)} characters is too long", fits)
    parts = []
    for piece, star, question, group, plain in TOKEN.findall(pattern):
        if star:
            parts.append(Stretch("star"))
        elif question:
            parts.append(Stretch("fixed", ".", 1))
        elif group:
            inside = group[1:-1].replace("\\", r"\\").replace("[", r"\[")
            parts.append(
                Stretch(
                    "fixed", f"[{inside.replace('!', '^', 1) if inside[0] == '!' else inside}]", 1
                )
            )
        elif plain:
            parts.append(Stretch("fixed", re.escape(plain), len(plain)))
        else:
            name = piece.removesuffix("*")
            if not name.isidentifier():
                raise ExpressionError(
                    f"{pattern!r}: {{{piece}}} is no name",
                    "{i} for one stretch, {rest*} across dots",
                )
            parts.append(Stretch("pieces" if piece.endswith("*") else "piece", name))
    return tuple(parts)


@lru_cache(maxsize=4096)
def shape_of(pattern: str) -> re.Pattern[str]:
    """A regular expression for the names that may fit, with any text for a piece; raises
    ExpressionError.

    It takes linear time: what stands between two stars is looked for once, as far to the left as it
    goes.
    """
    runs, parts = [""], parts_of(pattern)
    spend(COMPILED * len(parts))
    for part in parts:
        if part.kind == "fixed":
            runs[-1] += part.text
        else:
            runs.append("" if part.kind == "star" else ".")
    first, *others = runs
    last = f".*{others.pop()}" if others else ""
    found = [f"(?=(?P<run{number}>.*?{run}))(?P=run{number})" for number, run in enumerate(others)]
    try:
        return re.compile("".join([first, *found, last]), re.DOTALL)
    except re.error as error:
        raise ExpressionError(
            f"{pattern!r} is no pattern: {error}", "*, ?, [abc], {i}, {rest*}"
        ) from None


def match(pattern: str, name: str) -> dict[str, str] | None:
    """What the pieces of a pattern stand for in a name; None where it does not fit."""
    spend(1 + len(pattern) * len(name) // 10_000)
    if shape_of(pattern).fullmatch(name) is None:
        return None
    parts = parts_of(pattern)
    if not any(part.kind.startswith("piece") for part in parts):
        return {}
    with limited():
        spend(1 + len(parts) * len(name) // 10)
        return _take(parts, name, _fitting(parts, name), 0, {})


def _fitting(parts: Sequence[Stretch], name: str) -> list[set[int]]:
    """For each part the places of a name from which it and all after it may fit; the last entry is
    the end.
    """
    places = [{len(name)}]
    for part in reversed(parts):
        after = places[0]
        fits: set[int] = set()
        nearest = -1  # the nearest place behind from which the rest fits
        for place in range(len(name), -1, -1):
            if part.kind == "fixed":
                if place + part.length in after and re.compile(part.text, re.DOTALL).match(
                    name, place
                ):
                    fits.add(place)
                continue
            if part.kind == "star" and place in after:
                nearest = place
            if part.kind == "piece" and place < len(name) and name[place] == ".":
                nearest = -1
            if nearest >= 0:
                fits.add(place)
            if place in after:
                nearest = place
        places.insert(0, fits)
    return places


def _take(
    parts: Sequence[Stretch],
    name: str,
    fitting: list[set[int]],
    place: int,
    found: dict[str, str],
) -> dict[str, str] | None:
    """The pieces from a place on, each as long as can be; one that stands twice is the same text
    twice.
    """
    number = len(fitting) - 1 - len(parts)
    if not parts:
        return found
    part, rest = parts[0], parts[1:]
    for end in _ends(part, name, place, found):
        if end not in fitting[number + 1]:
            continue
        spend(1)
        new = {**found, part.text: name[place:end]} if part.kind.startswith("piece") else found
        taken = _take(rest, name, fitting, end, new)
        if taken is not None:
            return taken
    return None


def _ends(part: Stretch, name: str, place: int, found: Mapping[str, str]) -> Iterator[int]:
    """Where a part that begins at a place may end, the farthest first."""
    if part.kind == "fixed":
        yield place + part.length
    elif part.text in found:
        end = place + len(found[part.text])
        if name[place:end] == found[part.text]:
            yield end
    else:
        dot = name.find(".", place)
        end = dot if part.kind == "piece" and dot >= 0 else len(name)
        yield from range(end, place - (part.kind == "star"), -1)


class Pieces:
    """What `{i}` stands for, as names of an expression; digits are numbers."""

    def __init__(self, pieces: Mapping[str, str]):
        self.pieces = pieces

    def value(self, name: str) -> Any:
        if name not in self.pieces:
            raise ExpressionError(
                f"no piece {{{name}}} on the other side", did_you_mean(name, self.pieces)
            )
        text = self.pieces[name]
        return int(text) if text.isdecimal() and len(text) < 20 else text

    def attribute(self, name: str, attribute: str) -> Any:
        raise ExpressionError(f"{name}.{attribute} means nothing here", "{i}, {i + 1}, {rest*}")

    def has(self, name: str, attribute: str) -> bool:
        """Raise ExpressionError: a piece has no attributes."""
        return bool(self.attribute(name, attribute))


def fill(template: str, pieces: Mapping[str, str]) -> str:
    """A name from a template: `{i}` and `{rest*}` as matched, `{i + 1}` reckoned; raises
    ExpressionError.
    """

    def put(found: re.Match[str]) -> str:
        text = found[1].removesuffix("*").strip()
        return pieces[text] if text in pieces else str(evaluate(text, Pieces(pieces)))

    return re.sub(r"\{([^{}]*)\}", put, template)


@dataclass(frozen=True)
class Parameter:
    """A parameter of a model, once, however often it is tied: its path, and its names by kind.

    Args:
        kind: by the class of its module, `Linear.weight`.
        within: by the class of the block that holds its module, `SelfAttention.project.weight`;
            empty where none does.
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
            holders.setdefault(
                id(value), f"{type(modules[parent]).__name__}.{child}.{name}" if block else ""
            )
            values[id(value)] = value
    return [
        Parameter(names[key][0], owners[key], values[key], tuple(names[key][1:]), holders[key])
        for key in values
    ]


def matching(
    parameters: Iterable[Parameter], pattern: str
) -> list[tuple[Parameter, dict[str, str]]]:
    """The parameters that a pattern names, each with its pieces; raises ExpressionError for a
    broken one.
    """
    return [(each, found) for each in parameters if (found := each.match(pattern)) is not None]


def nothing_matches(
    pattern: str, parameters: Sequence[Parameter], where: Origin | str | None, path: str
) -> Problem:
    """The mistake of a pattern that fits no parameter, with the nearest that there is."""
    for each in parameters:
        if pattern in each.aliases:
            return Problem(
                f"{pattern!r} is the same parameter as {each.path!r}",
                where,
                path,
                fix=f"name {each.path}",
            )
    names = {name for each in parameters for name in (each.path, each.kind, each.within) if name}
    names |= {name[: dot.start()] for name in names for dot in re.finditer(r"\.", name)}
    if any(mark in pattern for mark in "*?[{"):
        names = {re.sub(r"(?<=\.)\d+(?=\.|$)", "*", name) for name in names}
    return Problem(
        f"{pattern!r} matches no parameter", where, path, fits=did_you_mean(pattern, names)
    )
