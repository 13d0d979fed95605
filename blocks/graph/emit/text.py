"""Tidy text: statements laid out as `ruff format` does, docstrings wrapped."""

import ast
import importlib.util
import re
import subprocess
import sys
import textwrap

WIDTH = 88


def statements(nodes: list[ast.stmt], depth: int) -> list[str]:
    """Statements as lines, indented."""
    lines: list[str] = []
    for node in nodes:
        if isinstance(node, ast.If | ast.For | ast.While | ast.With) and not (
            isinstance(node, ast.If) and _chained(node)
        ):
            head = ast.unparse(node).split("\n")[0]
            lines += lay(quotes(head), depth)
            lines += statements(node.body, depth + 1)
            other: list[ast.stmt] = getattr(node, "orelse", [])
            if other:
                lines += ["    " * depth + "else:", *statements(other, depth + 1)]
            continue
        for line in ast.unparse(_bare(node)).split("\n"):
            inner = (len(line) - len(line.lstrip())) // 4
            lines += lay(quotes(_unbracketed(line.strip())), depth + inner)
    return lines


def _chained(node: ast.If) -> bool:
    return len(node.orelse) == 1 and isinstance(node.orelse[0], ast.If)


def _bare(node: ast.stmt) -> ast.stmt:
    return node


def _unbracketed(line: str) -> str:
    """`return (a, b)` is `return a, b`."""
    found = re.fullmatch(r"(return |[^=()]*[^=!<>]= )\((.*)\)", line)
    if found and "," in found[2] and closes(f"({found[2]})") == len(found[2]) + 1 and not found[2].endswith(","):
        try:
            tree = ast.parse(f"({found[2]})").body[0]
        except SyntaxError:
            return line
        if isinstance(tree, ast.Expr) and isinstance(tree.value, ast.Tuple) and len(tree.value.elts) > 1:
            return found[1] + found[2]
    return line


def quotes(line: str) -> str:
    return re.sub(r"'([^'\"\\]*)'", r'"\1"', line)


def closes(text: str, start: int = 0) -> int:
    """Where the bracket that opens at `start` closes."""
    depth, quote = 0, ""
    for index in range(start, len(text)):
        letter = text[index]
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        elif letter in "([{":
            depth += 1
        elif letter in ")]}":
            depth -= 1
            if depth == 0:
                return index
    return -1


def lay(line: str, depth: int) -> list[str]:
    """A statement within the width: the last bracket that helps is opened."""
    pad = "    " * depth
    if len(pad) + len(line) <= WIDTH:
        return [pad + line]
    pairs = []
    index = 0
    while index < len(line):
        if line[index] in "([{":
            end = closes(line, index)
            if end < 0:
                break
            pairs.append((index, end))
            index = end
        index += 1
    pairs = [(a, b) for a, b in pairs if b - a > 1]
    if not pairs:
        return [pad + line]
    start, end = max(pairs, key=lambda pair: pair[1] - pair[0])
    head, inside, tail = line[: start + 1], line[start + 1 : end], line[end:]
    parts = split(inside)
    whole = ", ".join(parts)
    star = any(part.startswith("*") and " for " in part for part in parts) or (len(parts) == 1 and " for " in parts[0])
    if len(pad) + 4 + len(whole) <= WIDTH and len(parts) > 0 and inside[-1:] != ",":
        return [
            pad + head,
            *lay(whole + ("," if star and line[start] != "[" and False else ""), depth + 1),
            *lay(tail, depth),
        ]
    lines = [pad + head]
    for part in parts:
        laid = lay(part, depth + 1)
        laid[-1] += "," if not (len(parts) == 1 and " for " in part) else ""
        lines += laid
    return [*lines, *lay(tail, depth)]


def split(text: str) -> list[str]:
    """At the commas outside of brackets."""
    parts, depth, last, quote = [], 0, 0, ""
    for index, letter in enumerate(text):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        depth += (letter in "([{") - (letter in ")]}") if not quote else 0
        if not depth and not quote and text.startswith(" for ", index):
            return [text.strip()]
        if letter == "," and not depth and not quote:
            parts.append(text[last:index].strip())
            last = index + 1
    return [part for part in [*parts, text[last:].strip()] if part]


def docstring(text: str, depth: int) -> list[str]:
    """A docstring of paragraphs."""
    pad = "    " * depth
    text = re.sub(r'"{3,}', "'''", text)  # what is told may come from anybody, and must not end the docstring
    text = re.sub(r'"+\s*$', "", text)
    paragraphs = [" ".join(part.split()) for part in text.replace("\\", "\\\\").split("\n\n") if part.strip()]
    lines = [line for part in paragraphs for line in ["", *textwrap.wrap(part, WIDTH - len(pad), break_long_words=False,
                                                                         break_on_hyphens=False)]]  # fmt: skip
    first = textwrap.wrap('"""' + paragraphs[0], WIDTH - len(pad), break_long_words=False, break_on_hyphens=False)
    if len(paragraphs) == 1 and len(first) == 1 and len(pad) + len(first[0]) + 3 <= WIDTH:
        return [f'{pad}{first[0]}"""']
    rest = lines[
        1 + len(textwrap.wrap(paragraphs[0], WIDTH - len(pad), break_long_words=False, break_on_hyphens=False)) :
    ]
    return [(pad + line).rstrip() for line in [*first, *rest, '"""']]


def tidy(text: str) -> str:
    """The text as `ruff format` has it, where ruff is there."""
    if importlib.util.find_spec("ruff") is None:
        return text
    for words in (["check", "--fix-only", "--select", "F401,I,F841"], ["format"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *words, "--isolated", "--quiet", "--line-length", str(WIDTH), "-"],
            input=text, capture_output=True, encoding="utf-8", check=False,
        )  # fmt: skip
        text = done.stdout if done.returncode == 0 and done.stdout else text
    return text
