"""Answers to a first word that is no command: the line to type."""

import difflib
import shlex
import textwrap
from collections.abc import Sequence

EXAMPLES = (
    "dougong train",
    "dougong train model=vit model.params.depth=6",
    "dougong train -m model/norm=layernorm,rmsnorm seed=1,2",
    "dougong explain model=vit_ti16 data=imagenet",
    "dougong check model=vit,swin model.params.dim=32,64",
    "dougong predict RUN photos/",
    "dougong list model",
    "dougong init my_project",
)
NAMES = {  # of other programs -> of this one
    "fit": "train",
    "run": "train",
    "sweep": "train",
    "new": "init",
    "create": "init",
    "ls": "list",
    "models": "list",
    "cat": "show",
    "summary": "explain",
    "params": "explain",
    "validate": "check",
    "lint": "check",
    "test": "evaluate",
    "eval": "evaluate",
    "infer": "predict",
    "sample": "generate",
    "compare": "diff",
    "plot": "draw",
    "convert": "export",
}


def explain_unknown(words: Sequence[str], commands: Sequence[str]) -> str:
    """Return the message for a line that begins with no command.

    Args:
        words: the command line.
        commands: the names of all commands.
    """
    lines = [f"the command line: {words[0]}", "  no such command"]
    fits = textwrap.wrap(", ".join(commands), 76)
    lines.append(f"  fits      {fits[0]}")
    lines += [f"            {line}" for line in fits[1:]]
    for number, line in enumerate(corrections(words, commands)):
        label = "fix       write" if number == 0 else "          or   "
        lines.append(f"  {label} {line}")
    return "\n".join(lines)


def corrections(words: Sequence[str], commands: Sequence[str]) -> list[str]:
    """Return the lines that may be meant, the likeliest first."""
    first, rest = words[0], list(words[1:])
    if first.startswith("-") or "=" in first:
        found = [["train", *words]]
        if not first.startswith("-"):
            found.append(["explain", *words])
    elif first in NAMES:
        found = [[NAMES[first], *rest]]
    else:
        found = []
        for choice in choices(first):
            found += [["explain", choice, *rest], ["train", choice, *rest]]
        if not found:
            near = difflib.get_close_matches(first, commands, n=2, cutoff=0.6)
            found = [[command, *rest] for command in near]
    if not found:
        found = [["--help"]]
    return [shlex.join(["dougong", *line]) for line in found[:4]]


def choices(word: str) -> list[str]:
    """Return the overrides that choose a file of this name: `vit` -> `model=vit`."""
    from blocks.support.conf_folders import groups, option_files

    # what is below experiment/ needs its experiment beside it
    alone = [group for group in groups() if not group.startswith("experiment/")]
    return [f"{group}={word}" for group in alone if word in option_files(group)]
