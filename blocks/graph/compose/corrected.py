"""The line to type instead of one with mistakes: `dougong explain vit` -> `dougong explain
model=vit`.
"""

import re
import shlex
from collections.abc import Sequence

from blocks.graph.compose.overrides import COMMAND_LINE
from blocks.graph.errors import ConfigError, Problem

WRITE = re.compile(r"write (\S+=\S+|-\S+(?: \S+)?)(?: or \S+)*")
WRITE_WITH = re.compile(r"write (\S+=\S+) with (\S+=\S+)(?: or \S+)*")
MEANT = re.compile(r"did you mean ([^ ?]+)")


def corrected_line(error: ConfigError, words: Sequence[str]) -> str | None:
    """Return "try: " and the line to type, or None where a problem has no single fix.

    Args:
        error: of a command line.
        words: the command line after `dougong`.
    """
    words = list(words)
    for problem in error.problems:
        found, better = find_mistake(problem), find_fix(problem)
        if found is None or better is None:
            return None
        corrected = replace_words(words, found, better)
        if corrected is None:
            return None
        words = corrected
    return "try: " + shlex.join(["dougong", *words])


def find_mistake(problem: Problem) -> str | None:
    """Return the words of the command line that a problem is about."""
    before, _, words = str(problem.where).partition(": ")
    if before != COMMAND_LINE or not words:
        return None
    return words


def find_fix(problem: Problem) -> list[str] | None:
    """Return the words to write instead; the first, where several fit."""
    fix = (problem.fix or "").partition("\n")[0]
    both = WRITE_WITH.fullmatch(fix)
    if both:
        return [both[2], both[1]]
    one = WRITE.fullmatch(fix)
    if one:
        return one[1].split()
    meant = MEANT.match(problem.fits or "")
    if meant and not fix and "=" in (problem.got or ""):
        key = str(problem.got).partition("=")[0]
        return [f"{key}={meant[1]}"]
    return None


def replace_words(words: Sequence[str], found: str, better: Sequence[str]) -> list[str] | None:
    """Return the command line with `found`, which is one word or two, replaced."""
    for count in (1, 2):
        for start in range(len(words) - count + 1):
            if " ".join(words[start : start + count]) == found:
                return [*words[:start], *better, *words[start + count :]]
    return None
