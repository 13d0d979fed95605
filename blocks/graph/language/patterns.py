"""Patterns over names of parameters, for initialisation, freezing, learning rates and weight maps.

`*`, `?` and `[abc]` are those of a shell, and `*` matches dots. `{i}` matches text without a dot,
and the other side of a weight map refers to it; `{rest*}` matches dots, too.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from torch import Tensor, nn
from torch.fx import GraphModule

from blocks.graph.errors import Origin, Problem, did_you_mean
from blocks.graph.language.expression import ExpressionError, evaluate, limited
from blocks.graph.steps import spend

LONGEST = 300  # characters of a pattern
COMPILED = 10  # steps to read a part of a pattern
TOKEN = re.compile(r"\{([^{}]*)\}|(\*)|(\?)|(\[!?\]?[^\]]*\])|([^{}*?\[]+|.)", re.DOTALL)


@dataclass(frozen=True)
class PatternPart:
    """A part of a pattern.

    Args:
        kind: "star", "piece" (text without a dot), "pieces" (any text), or "fixed".
        text: the name of a piece, or a regular expression of a fixed length.
        length: number of characters that a fixed part matches.
    """

    kind: str
    text: str = ""
    length: int = 0


@lru_cache(maxsize=4096)
def parse_pattern(pattern: str) -> tuple[PatternPart, ...]:
    """Split a pattern into its parts; raise ExpressionError."""
    if len(pattern) > LONGEST:
        fits = f"at most {LONGEST}"
        raise ExpressionError(
            f"a pattern of {len(pattern)} characters is too long", fits, code="too-large"
        )
    parts = []
    for piece, star, question, group, plain in TOKEN.findall(pattern):
        if star:
            parts.append(PatternPart("star"))
        elif question:
            parts.append(PatternPart("fixed", ".", 1))
        elif group:
            characters = group[1:-1].replace("\\", r"\\").replace("[", r"\[")
            if characters[0] == "!":
                characters = f"^{characters[1:]}"
            parts.append(PatternPart("fixed", f"[{characters}]", 1))
        elif plain:
            parts.append(PatternPart("fixed", re.escape(plain), len(plain)))
        elif not piece.removesuffix("*").isidentifier():
            raise ExpressionError(
                f"{pattern!r}: {{{piece}}} is no name",
                "{i} for text without dots, {rest*} with dots",
            )
        elif piece.endswith("*"):
            parts.append(PatternPart("pieces", piece.removesuffix("*")))
        else:
            parts.append(PatternPart("piece", piece))
    return tuple(parts)


@lru_cache(maxsize=4096)
def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Compile a regular expression for the names that may match, with any text for a piece; raise
    ExpressionError.

    It runs in linear time: the text between two stars is searched for once, from the left.
    """
    runs, parts = [""], parse_pattern(pattern)
    spend(COMPILED * len(parts))
    for part in parts:
        if part.kind == "fixed":
            runs[-1] += part.text
        elif part.kind == "star":
            runs.append("")
        else:
            runs.append(".")
    first, *others = runs
    last = f".*{others.pop()}" if others else ""
    found = [f"(?=(?P<run{number}>.*?{run}))(?P=run{number})" for number, run in enumerate(others)]
    try:
        return re.compile("".join([first, *found, last]), re.DOTALL)
    except re.error as error:
        raise ExpressionError(
            f"{pattern!r} is no pattern: {error}", "*, ?, [abc], {i}, {rest*}"
        ) from None


def match_name(pattern: str, name: str) -> dict[str, str] | None:
    """Return what the pieces of a pattern match in a name; None where the pattern does not
    match.
    """
    spend(1 + len(pattern) * len(name) // 10_000)
    if compile_pattern(pattern).fullmatch(name) is None:
        return None
    parts = parse_pattern(pattern)
    if not any(part.kind.startswith("piece") for part in parts):
        return {}
    with limited():
        spend(1 + len(parts) * len(name) // 10)
        return _match_parts(parts, name, _find_starts(parts, name), 0, {})


def _find_starts(parts: Sequence[PatternPart], name: str) -> list[set[int]]:
    """Return, for each part, the positions of a name from which it and all parts after it may
    match; the last entry is the end.
    """
    starts = [{len(name)}]
    for part in reversed(parts):
        if part.kind == "fixed":
            starts.insert(0, _find_fixed_starts(part, name, starts[0]))
        else:
            starts.insert(0, _find_free_starts(part, name, starts[0]))
    return starts


def _find_fixed_starts(part: PatternPart, name: str, ends: set[int]) -> set[int]:
    regex = re.compile(part.text, re.DOTALL)
    starts = set()
    for end in ends:
        start = end - part.length
        if start >= 0 and regex.match(name, start):
            starts.add(start)
    return starts


def _find_free_starts(part: PatternPart, name: str, ends: set[int]) -> set[int]:
    starts = set()
    reachable = False  # whether an end is reachable from here
    for position in range(len(name), -1, -1):
        if part.kind == "star" and position in ends:
            reachable = True
        if part.kind == "piece" and name[position : position + 1] == ".":
            reachable = False
        if reachable:
            starts.add(position)
        if position in ends:
            reachable = True
    return starts


def _match_parts(
    parts: Sequence[PatternPart],
    name: str,
    starts: list[set[int]],
    start: int,
    found: dict[str, str],
) -> dict[str, str] | None:
    """Match the parts from a position on, each as long as possible; a piece that occurs twice
    matches the same text twice.
    """
    if not parts:
        return found
    part, rest = parts[0], parts[1:]
    next_starts = starts[len(starts) - len(parts)]
    for end in _find_ends(part, name, start, found):
        if end not in next_starts:
            continue
        spend(1)
        pieces = found
        if part.kind.startswith("piece"):
            pieces = {**found, part.text: name[start:end]}
        matched = _match_parts(rest, name, starts, end, pieces)
        if matched is not None:
            return matched
    return None


def _find_ends(part: PatternPart, name: str, start: int, found: Mapping[str, str]) -> Iterator[int]:
    """Yield where a part that begins at a position may end, the farthest first."""
    if part.kind == "fixed":
        yield start + part.length
    elif part.text in found:
        end = start + len(found[part.text])
        if name[start:end] == found[part.text]:
            yield end
    else:
        farthest = len(name)
        if part.kind == "piece" and "." in name[start:]:
            farthest = name.index(".", start)
        nearest = start if part.kind == "star" else start + 1
        yield from range(farthest, nearest - 1, -1)


class Pieces:
    """The matched pieces as names of an expression; digits are numbers."""

    def __init__(self, pieces: Mapping[str, str]):
        self.pieces = pieces

    def value(self, name: str) -> Any:
        if name not in self.pieces:
            raise ExpressionError(
                f"no piece {{{name}}} on the other side",
                did_you_mean(name, self.pieces),
                code="unknown-name",
            )
        text = self.pieces[name]
        if text.isdecimal() and len(text) < 20:
            return int(text)
        return text

    def attribute(self, name: str, attribute: str) -> Any:
        raise ExpressionError(f"{name}.{attribute} means nothing here", "{i}, {i + 1}, {rest*}")

    def has(self, name: str, attribute: str) -> bool:
        """Raise ExpressionError: a piece has no attributes."""
        return bool(self.attribute(name, attribute))


def fill_template(template: str, pieces: Mapping[str, str]) -> str:
    """Return a template with `{i}` and `{rest*}` as matched, and `{i + 1}` evaluated; raise
    ExpressionError.
    """

    def fill(found: re.Match[str]) -> str:
        text = found[1].removesuffix("*").strip()
        if text in pieces:
            return pieces[text]
        return str(evaluate(text, Pieces(pieces)))

    return re.sub(r"\{([^{}]*)\}", fill, template)


@dataclass(frozen=True)
class NamedParameter:
    """A parameter of a model; a tied parameter is one.

    Args:
        path: its first name in the state dict.
        kind: its name by the class of its module, `Linear.weight`.
        value: the parameter.
        aliases: its other names in the state dict.
        within: its name by the class of the block that contains its module,
            `SelfAttention.project.weight`; empty where none does.
    """

    path: str
    kind: str
    value: Tensor
    aliases: tuple[str, ...] = ()
    within: str = ""

    def match(self, pattern: str) -> dict[str, str] | None:
        """Match the path or the kind, or a module around the parameter by path or kind."""
        for name in filter(None, (self.path, self.kind, self.within)):
            for wanted in (pattern, f"{pattern}.*"):
                found = match_name(wanted, name)
                if found is not None:
                    return found
        return None


def list_parameters(model: nn.Module) -> list[NamedParameter]:
    """Return every parameter once, in the order of the model."""
    found: dict[int, NamedParameter] = {}
    modules = dict(model.named_modules(remove_duplicate=False))
    for path, module in modules.items():
        parent, _, child = path.rpartition(".")
        for name, value in module._parameters.items():
            if value is None:
                continue
            own = f"{path}.{name}" if path else name
            known = found.get(id(value))
            if known is not None:
                found[id(value)] = replace(known, aliases=(*known.aliases, own))
                continue
            within = ""
            if path and not isinstance(modules[parent], GraphModule):
                within = f"{type(modules[parent]).__name__}.{child}.{name}"
            kind = f"{type(module).__name__}.{name}"
            found[id(value)] = NamedParameter(own, kind, value, within=within)
    return list(found.values())


def find_matches(
    parameters: Iterable[NamedParameter], pattern: str
) -> list[tuple[NamedParameter, dict[str, str]]]:
    """Return the parameters that a pattern matches, each with its pieces; raise ExpressionError for
    an invalid pattern.
    """
    matches = []
    for parameter in parameters:
        pieces = parameter.match(pattern)
        if pieces is not None:
            matches.append((parameter, pieces))
    return matches


def no_match_problem(
    pattern: str, parameters: Sequence[NamedParameter], where: Origin | str | None, path: str
) -> Problem:
    """Return the problem of a pattern that matches no parameter, with the nearest name."""
    for each in parameters:
        if pattern in each.aliases:
            return Problem(
                f"{pattern!r} is the same parameter as {each.path!r}",
                where,
                path,
                fix=f"name {each.path}",
                code="duplicate-key",
            )
    names = set()
    for parameter in parameters:
        for name in filter(None, (parameter.path, parameter.kind, parameter.within)):
            keys = name.split(".")
            names |= {".".join(keys[:end]) for end in range(1, len(keys) + 1)}
    if any(mark in pattern for mark in "*?[{"):
        names = {re.sub(r"(?<=\.)\d+(?=\.|$)", "*", name) for name in names}
    return Problem(
        f"{pattern!r} matches no parameter",
        where,
        path,
        fits=did_you_mean(pattern, names),
        code="unknown-name",
    )
