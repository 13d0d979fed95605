"""Mistakes in a configuration, and the messages that report them."""

import difflib
import os
import re
import textwrap
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from blocks.graph.steps import spend

GUESSED = 20  # letters that are compared with a name in a step


@dataclass(frozen=True)
class Origin:
    """Where a value was written: a place in a file, or the text of an override.

    Args:
        file: the YAML file, or None when the value came from elsewhere.
        line: line in the file, from 1.
        column: column in the file, from 1.
        text: the origin where there is no file, e.g. "the command line: model.params.dim=7".
    """

    file: str | None = None
    line: int = 0
    column: int = 0
    text: str | None = None

    def __str__(self) -> str:
        if self.file is None:
            return self.text or "the program"
        return f"{_short(self.file, os.getcwd())}:{self.line}:{self.column}"


@lru_cache(maxsize=1024)
def _short(file: str, folder: str) -> str:
    """Return a file below the working directory relative to it, and any other as it is."""
    relative = os.path.relpath(file, folder)
    return file if relative.startswith("..") else Path(relative).as_posix()


@dataclass(frozen=True)
class Problem:
    """One mistake: what is wrong, where, what was given, from where, what fits, what to change.

    `code` names the kind of mistake for programs (`blocks.graph.codes`); it is not printed.
    """

    problem: str
    where: Origin | str | None = None
    path: str = ""
    got: str | None = None
    source: str | None = None
    fits: str | None = None
    fix: str | None = None
    code: str = field(kw_only=True)

    def __str__(self) -> str:
        head = "  ".join(_cut(str(part), 200) for part in (self.where, self.path) if part)
        problem = _cut(self.problem, 200)
        lines = [head, f"  {problem}"] if head else [problem]
        parts = {"got": self.got, "from": self.source, "fits": self.fits, "fix": self.fix}
        for word, text in parts.items():
            if text:
                first, *rest = _few_lines(str(text))
                lines += [f"  {word:<9} {first}", *(f"  {'':<9} {line}" for line in rest)]
        return "\n".join(lines)


def _few_lines(text: str, most: int = 5) -> list[str]:
    """Return the lines of one part of a message, wrapped, and at most `most` of them."""
    lines = [_cut(folded, 200) for line in text.splitlines() for folded in _fold(line)] or [""]
    if len(lines) <= most:
        return lines
    return [*lines[: most - 2], f"... and {len(lines) - most + 1} more lines", lines[-1]]


def _fold(line: str, width: int = 200) -> list[str]:
    """Wrap a long line between words; a very long one is cut first."""
    if len(line) <= width:
        return [line]
    if len(line) > 10 * width:
        line = _cut(line, 10 * width)
    return textwrap.wrap(line, width, break_long_words=False, break_on_hyphens=False)


def _cut(line: str, most: int) -> str:
    half = most // 2 - 3
    return line if len(line) <= most else f"{line[:half]} ... {line[-half:]}"


QUOTES = {"\u201c": '"', "\u201d": '"', "\u2018": "'", "\u2019": "'", "\u300c": '"', "\u300d": '"'}
SIGNS = {
    "\u3001": ",",
    "\u3002": ".",
    "\u2212": "-",
    "\u2013": "-",
    "\u2014": "-",
    "\u00d7": "*",
    "\u00f7": "/",
}
INVISIBLE = dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff\u00ad", "")
TWINS = {**QUOTES, **SIGNS, **INVISIBLE}


def find_look_alike(text: str) -> str | None:
    """Return which character of a text looks like an ASCII one, e.g. a full-width colon, and what
    to write instead.

    Words in other scripts are ignored: all non-ASCII characters of the word must look like ASCII.
    """
    for word in re.split(r"[ \t\n]", text):
        twins = {char: _twin(char) for char in word if not char.isascii()}
        if twins and all(twin is not None and twin.isascii() for twin in twins.values()):
            char, twin = next(iter(twins.items()))
            name = f"U+{ord(char):04X} {unicodedata.name(char, 'a character without a name')}"
            if not twin:
                return f"delete the invisible character {name}"
            shown = "a space" if twin == " " else repr(twin)
            return f"{char!r} is {name}: write {shown}"
    return None


def _twin(char: str) -> str | None:
    twin = TWINS.get(char, unicodedata.normalize("NFKC", char))
    return None if twin == char else twin


def name_look_alike(problem: Problem) -> Problem:
    """Add to the fix of a problem which character looks like an ASCII one, if there is one."""
    place = problem.where
    if isinstance(place, Origin):
        place = place.text
    for text in filter(None, (problem.got, problem.problem, place)):
        found = find_look_alike(text)
        if found is None:
            continue
        if found in (problem.fix or ""):
            return problem
        return replace(problem, fix="\n".join(filter(None, (found, problem.fix))))
    return problem


class ConfigError(ValueError):
    """Every problem found in one pass. `str(error)` is at most one screen of text."""

    SCREEN = 24  # lines; a problem beyond them gets one line
    MOST = 6

    def __init__(self, problems: Problem | Iterable[Problem]):
        if isinstance(problems, Problem):
            problems = [problems]
        named = [name_look_alike(problem) for problem in problems]
        self.problems = list({_key(problem): problem for problem in reversed(named)}.values())[::-1]
        texts = list(map(str, self.problems[: self.SCREEN]))  # each takes a line at least
        while len(texts) > 1 and _height(texts) + self._tail_height(len(texts)) > self.SCREEN:
            texts.pop()
        rest = self.problems[len(texts) :]
        if rest:
            lines = ["and"]
            for problem in rest[: self.MOST]:
                lines.append(f"  {problem.where or problem.path}  {problem.problem}"[:110])
            if len(rest) > self.MOST:
                lines.append(f"  ... and {len(rest) - self.MOST} more")
            texts.append("\n".join(lines))
        super().__init__("\n\n".join(texts))

    def _tail_height(self, whole: int) -> int:
        """Return the lines that follow when only the first problems are reported whole."""
        rest = len(self.problems) - whole
        return 2 + min(rest, self.MOST + 1) if rest else 0


def _key(problem: Problem) -> tuple[str, str, str]:
    """Return the same key for the problems to report once: those of one line of a file, or without
    a file those of one node in each repeat.
    """
    where, path = str(problem.where), re.sub(r"\.\d+(?=\.|$)", "", problem.path)
    if re.search(r":\d+:\d+$", where):
        path = ""
    return where, problem.problem, path


def _height(texts: list[str]) -> int:
    return sum(text.count("\n") + 2 for text in texts) - 1


def guess(word: Any, known: Iterable[str], most: int = 1) -> str | None:
    """Return "did you mean ...?" with the nearest of `known`; None where none is near."""
    word, known = str(word), list(map(str, known))
    spend(1 + len(known) * len(word) // GUESSED)
    near = difflib.get_close_matches(word, known, n=most, cutoff=0.6)
    return f"did you mean {' or '.join(near)}?" if near else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return the nearest of `known` as a question; where none is near, the first of them."""
    known = sorted(set(map(str, known)))
    near = guess(word, known, most=2)
    if near:
        return near
    shown = known[:12]
    while len(", ".join(shown)) > 80 and len(shown) > 1:
        shown.pop()
    if len(known) > len(shown):
        shown.append("...")
    return ", ".join(shown) or "nothing"


def show(value: Any) -> str:
    """Return a value as YAML, in one line of at most 70 characters."""
    text = _yaml(value)
    return text if len(text) <= 70 else f"{text[:67]}..."


def _yaml(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_yaml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, int) and abs(value) >= 10**70:
        return f"a number of about {round(value.bit_length() * 0.30103):,} digits"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_yaml, value))}]"
    return str(value)


class NodeError(Exception):
    """A node that cannot be built. The assembler adds the place and continues with other nodes."""

    def __init__(self, *problems: Problem):
        super().__init__(*problems)
        self.problems = problems
