"""Options that no program has, such as `--lr 0.1`, and the overrides to write instead."""

import difflib
import re
from collections.abc import Sequence

from blocks.graph.compose.compose import compose
from blocks.graph.compose.keys import explain_word, walk_keys
from blocks.graph.errors import ConfigError, Problem


def refuse_flags(words: Sequence[str], flags: Sequence[str], usage: str) -> ConfigError:
    """The error for options that are none: the one that is spelled like it, or the override with
    its full path.

    Args:
        words: the whole command line.
        flags: those of its words which are no option.
        usage: of the program, which lists its options.
    """
    options = sorted(set(re.findall(r"--[a-z][a-z-]+", usage)))
    config = compose().config
    problems = []
    for shown, override in pair_flags(words, flags).items():
        key, _, value = override.partition("=")
        fix: str | None = None
        near = difflib.get_close_matches(re.split("[ =]", shown)[0], options, n=1, cutoff=0.8)
        if near:
            fix = f"write {near[0]} {value}".strip()
        elif key in config or "." in key:
            fix = f"write {override}"
        else:
            fix = explain_word(override, walk_keys(config))
        fits = "KEY=VALUE; --help lists the options"
        problems.append(Problem("no such option", f"the command line: {shown}", fits=fits, fix=fix))
    return ConfigError(problems)


def pair_flags(words: Sequence[str], flags: Sequence[str]) -> dict[str, str]:
    """Options that no program has, each with the override it would be: `--model vit` ->
    `model=vit`.

    Args:
        words: the whole command line.
        flags: those of its words which are no option.
    """
    pairs = {}
    for place, word in enumerate(words):
        if word not in flags or not word.startswith("-"):
            continue
        following = words[place + 1 : place + 2]
        apart = (
            "=" not in word
            and following
            and not following[0].startswith("-")
            and "=" not in following[0]
        )
        shown = f"{word} {following[0]}" if apart else word
        key, _, value = shown.lstrip("-").replace(" ", "=", 1).partition("=")
        pairs[shown] = f"{key.replace('-', '_')}={value}"
    return pairs
