"""Python text of syntax trees, and docstrings."""

import ast
import re
import textwrap
from typing import Any

WIDTH = 88


def write(node: ast.stmt) -> str:
    """The text of a definition."""
    lines = []
    for line in ast.unparse(node).splitlines():
        line = re.sub(r"\*\* \((-[\d.]+)\)", r"** \1", line)
        found = re.fullmatch(r"( *return )\(([^()]+,[^()]+)\)", line)
        lines.append(found[1] + found[2] if found else line)
    return "\n".join(lines)


def is_docstring(node: ast.AST) -> bool:
    """Whether a statement is a text alone."""
    value: Any = getattr(node, "value", None)
    return (
        isinstance(node, ast.Expr)
        and isinstance(value, ast.Constant)
        and isinstance(value.value, str)
    )


def shorten(node: Any) -> None:
    """Keep the first paragraph of a docstring."""
    first = node.body[0]
    if is_docstring(first):
        first.value.value = "\n".join(docstring(first.value.value.strip().partition("\n\n")[0]))[
            3:-3
        ]


def docstring(text: str) -> list[str]:
    """A docstring of paragraphs, wrapped. Quotes in the text do not end it."""
    text = re.sub(r'"{3,}', "'''", text.replace("\\", "\\\\"))
    text = re.sub(r'"\s*$', "'", text)
    lines = []
    for paragraph in text.split("\n\n"):
        words = " ".join(paragraph.split())
        lines += [
            *textwrap.wrap(words, WIDTH - 7, break_long_words=False, break_on_hyphens=False),
            "",
        ]
    lines = [f'"""{lines[0]}', *lines[1:-1]]
    if len(lines) == 1:
        return [f'{lines[0]}"""']
    return [*lines, '"""']
