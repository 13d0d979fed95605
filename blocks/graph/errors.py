"""What goes wrong between a YAML file and a model, told so that a beginner can act on it."""

import difflib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Origin:
    """Where a value was written: a place in a file, or the text of an override.

    Args:
        file: the YAML file, or None when the value came from elsewhere.
        line: line in the file, from 1.
        column: column in the file, from 1.
        text: what to say where there is no file, e.g. "the command line: model.params.dim=7".
    """

    file: str | None = None
    line: int = 0
    column: int = 0
    text: str | None = None

    def __str__(self) -> str:
        if self.file is None:
            return self.text or "the program"
        return f"{_short(self.file)}:{self.line}:{self.column}"


def _short(file: str) -> str:
    """The file relative to the working directory where it lies below it."""
    relative = os.path.relpath(file)
    return file if relative.startswith("..") else Path(relative).as_posix()


@dataclass(frozen=True)
class Problem:
    """One mistake: what is wrong, where, what came, from where, what fits, what to change."""

    problem: str
    where: Origin | str | None = None
    path: str = ""
    got: str | None = None
    source: str | None = None
    fits: str | None = None
    fix: str | None = None

    def __str__(self) -> str:
        head = "  ".join(str(part) for part in (self.where, self.path) if part)
        lines = [head, f"  {self.problem}"] if head else [self.problem]
        for word, text in (("got", self.got), ("from", self.source), ("fits", self.fits), ("fix", self.fix)):
            if text:
                first, *rest = str(text).splitlines()
                lines += [f"  {word:<9} {first}", *(f"  {'':<9} {line}" for line in rest)]
        return "\n".join(lines)


class ConfigError(ValueError):
    """Every problem found in one pass. `str(error)` is one screen of text for a person."""

    MOST = 8

    def __init__(self, problems: Iterable[Problem]):
        self.problems = list({(str(p.where), p.problem): p for p in reversed(list(problems))}.values())[::-1]
        shown = [str(problem) for problem in self.problems[: self.MOST]]
        if len(self.problems) > self.MOST:
            shown.append(f"... and {len(self.problems) - self.MOST} more")
        super().__init__("\n\n".join(shown))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """What fits in place of `word`: the nearest of `known` first, then a few of the rest."""
    known = sorted(set(map(str, known)))
    near = difflib.get_close_matches(str(word), known, n=2, cutoff=0.6)
    if near:
        return f"did you mean {' or '.join(near)}?"
    return (", ".join(known[:12]) + (", ..." if len(known) > 12 else "")) if known else "nothing"
