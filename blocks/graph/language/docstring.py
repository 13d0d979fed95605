"""The sections of a docstring."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache


@dataclass(frozen=True)
class Docstring:
    """A docstring, split into its sections.

    Args:
        summary: the first paragraph in one line.
        arguments: name -> its description in the section Args, in one line.
        sections: name of any other section -> its first paragraph in one line.
    """

    summary: str
    arguments: Mapping[str, str]
    sections: Mapping[str, str]


@cache
def read_docstring(text: str) -> Docstring:
    """Split a docstring, as `inspect.getdoc` returns it, into its sections."""
    found = dict(re.findall(r"^(\w+):\n(.*?)(?=^\S|\Z)", text, re.DOTALL | re.MULTILINE))
    arguments: dict[str, str] = {}
    name = ""
    for line in found.get("Args", "").splitlines():
        begun = re.match(r"    \\?\*{0,2}(\w+)(?: \([^)]*\))?:\s*(.*)", line)
        if begun and begun[1] not in arguments:
            name, arguments[begun[1]] = begun[1], begun[2]
        elif begun or not line.strip():  # examples and warnings follow an empty line
            name = ""
        elif name:
            arguments[name] += " " + line.strip()
    sections = {name: _first_paragraph(body) for name, body in found.items()}
    for name, description in arguments.items():
        arguments[name] = one_line(description)
    return Docstring(_first_paragraph(text), arguments, sections)


def _first_paragraph(text: str) -> str:
    return one_line(text.partition("\n\n")[0])


def one_line(text: str) -> str:
    """Join the words of a text in one line."""
    return " ".join(text.split())


def without_roles(text: str) -> str:
    """Leave out the roles of Sphinx: names of code stand in single backticks."""
    return re.sub(r":\w+:`~?([^`<]*?)\s*(?:<[^`]*>)?`", r"`\1`", text).replace("``", "`")
