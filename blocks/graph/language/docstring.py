"""The sections of a docstring, read once for whoever shows them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache


@dataclass(frozen=True)
class Docstring:
    """A docstring as `inspect.getdoc` gives it, in pieces.

    Args:
        summary: the first paragraph in one line.
        arguments: name -> what the section Args says of it, in one line.
        sections: name of any other section -> its first paragraph in one line.
    """

    summary: str
    arguments: Mapping[str, str]
    sections: Mapping[str, str]


@cache
def read_docstring(text: str) -> Docstring:
    """Split a docstring into its sections."""
    found = dict(re.findall(r"^(\w+):\n(.*?)(?=^\S|\Z)", text, re.DOTALL | re.MULTILINE))
    arguments: dict[str, str] = {}
    name = ""
    for line in found.get("Args", "").splitlines():
        begun = re.match(r"    \\?\*{0,2}(\w+)(?: \([^)]*\))?:\s*(.*)", line)
        if begun and begun[1] not in arguments:
            name, arguments[begun[1]] = begun[1], begun[2]
        elif begun or not line.strip():  # behind an empty line stand examples and warnings
            name = ""
        elif name:
            arguments[name] += " " + line.strip()
    return Docstring(
        one_line(text.partition("\n\n")[0]),
        {name: one_line(words) for name, words in arguments.items()},
        {name: one_line(body.partition("\n\n")[0]) for name, body in found.items()},
    )


def one_line(text: str) -> str:
    return " ".join(text.split())
