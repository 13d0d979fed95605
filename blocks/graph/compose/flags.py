"""Unknown options such as `--lr 0.1`, and the overrides to write instead."""

import difflib
import re
from collections.abc import Sequence

from blocks.graph.compose.compose import compose
from blocks.graph.compose.keys import explain_word, walk_keys
from blocks.graph.errors import ConfigError, Problem


def refuse_flags(words: Sequence[str], flags: Sequence[str], usage: str) -> ConfigError:
    """Return the error for unknown options, with a similar option or the override to write.

    Args:
        words: all arguments of the command line.
        flags: the arguments that are unknown options.
        usage: the usage of the program, which lists its options.
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
        problems.append(
            Problem(
                "no such option",
                f"the command line: {shown}",
                fits=fits,
                fix=fix,
                code="unknown-flag",
            )
        )
    return ConfigError(problems)


def pair_flags(words: Sequence[str], flags: Sequence[str]) -> dict[str, str]:
    """Return unknown options, each with the override that it stands for: `--model vit` ->
    `model=vit`.

    Args:
        words: all arguments of the command line.
        flags: the arguments that are unknown options.
    """
    pairs = {}
    for word, following in zip(words, [*words[1:], "-"], strict=True):
        if word not in flags or not word.startswith("-"):
            continue
        shown = word
        if "=" not in word and "=" not in following and not following.startswith("-"):
            shown = f"{word} {following}"
        key, _, value = shown.lstrip("-").replace(" ", "=", 1).partition("=")
        pairs[shown] = f"{key.replace('-', '_')}={value}"
    return pairs
