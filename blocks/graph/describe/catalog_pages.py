"""The catalogue as a person reads it: what a block takes, gives and does, and which models use
it.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blocks.catalog import Layer
from blocks.graph.language.docstring import read_docstring, without_roles
from blocks.graph.language.signature import ArgumentSpec, Port, Signature, signature_of
from blocks.graph.language.types import describe_type


@dataclass(frozen=True)
class Entry:
    """One block of the catalogue, ready to print."""

    name: str
    family: str
    summary: str
    takes: tuple[str, ...]
    gives: tuple[str, ...]
    arguments: tuple[str, ...]
    source: str
    models: tuple[str, ...]
    documentation: str

    def text(self) -> str:
        """A page for the terminal."""
        read = read_docstring(self.documentation)
        formula = read.sections.get("Formula")
        arguments = []
        for argument in self.arguments:
            meaning = read.arguments.get(argument.partition(":")[0])
            arguments += [argument, f"    {without_roles(meaning)}"] if meaning else [argument]
        sections = {
            "takes": self.takes,
            "gives": self.gives,
            "formula": (formula,) if formula else (),
            "arguments": arguments or ("none",),
            "source": (self.source or "torch.nn",),
            "used by": (", ".join(self.models) or "no model of conf/model",),
        }
        parts = [f"{self.name}  ({self.family})", self.summary, ""]
        for head, lines in sections.items():
            for line in lines:
                parts.append(f"  {head:<10}{line}")
                head = ""
        return "\n".join(parts)


def entries(catalog: Mapping[str, Any], models: Path) -> list[Entry]:
    """Every block, the project's own families first."""
    used = _used(models)
    found = [
        _entry(signature_of(name, item), item, used.get(name, ())) for name, item in catalog.items()
    ]
    return sorted(found, key=lambda entry: (entry.family == "torch.nn", entry.family, entry.name))


def _entry(signature: Signature, item: Any, models: tuple[str, ...]) -> Entry:
    read = read_docstring(signature.documentation)
    family, summary = signature.factory.__module__.split(".")[1], read.summary
    if isinstance(item, Layer):
        family, summary = "torch.nn", f"torch.nn.{signature.factory.__name__}"
    takes = tuple(_port(port, signature.variadic) for port in signature.ports)
    return Entry(
        signature.name,
        family,
        summary,
        takes or ("nothing",),
        tuple(_port(port, False) for port in signature.gives),
        tuple(_argument(parameter, signature) for parameter in signature.parameters.values()),
        read.sections.get("Source", ""),
        models,
        signature.documentation,
    )


def _port(port: Port, many: bool) -> str:
    shape = "any shape"
    if port.axes is not None:
        shape = f"({', '.join(port.axes)})"
    if many:
        return f"{port.name}, any number: {shape}"
    if port.optional:
        return f"{port.name}: {shape}, optional"
    return f"{port.name}: {shape}"


def _argument(parameter: ArgumentSpec, signature: Signature) -> str:
    text = f"{parameter.word}: {describe_type(parameter.annotation)}"
    if parameter.word in signature.infer:
        return f"{text}, inferred"
    if parameter.required:
        return text
    return f"{text} = {parameter.default}"


def _used(models: Path) -> dict[str, tuple[str, ...]]:
    """Block -> the files under `conf/model` that name it."""
    used: dict[str, list[str]] = {}
    for file in sorted(models.rglob("*.yaml")):
        for name in dict.fromkeys(re.findall(r"\bblock: (\w+)", file.read_text(encoding="utf-8"))):
            used.setdefault(name, []).append(file.relative_to(models).with_suffix("").as_posix())
    return {name: tuple(files) for name, files in used.items()}


def search(word: str, found: Iterable[Entry], models: Path) -> list[tuple[str, str]]:
    """Blocks, options and models that a word names or describes, whatever its case: what to write,
    and what it is. Those whose name has the word stand first.

    Args:
        models: the folder `conf/model`.
    """
    word = word.casefold()
    lines = []
    for entry in found:
        about = f"{entry.summary} {entry.documentation}"
        lines.append((entry.name, f"block: {entry.name}", entry.summary, about))
    for file in sorted(models.rglob("*.yaml")):
        text = file.read_text(encoding="utf-8")
        path = file.relative_to(models).with_suffix("")
        write = f"model={path.name}"
        if len(path.parts) > 1:
            write = f"model/{path.parent.as_posix()}={path.name}"
        comments = [line.lstrip("# ") for line in text.splitlines() if line.startswith("# ")]
        comments = [line for line in comments if not line.startswith("@package")]
        lines.append((path.name, write, comments[0] if comments else "", " ".join(comments)))
    named = [line[1:3] for line in lines if word in line[0].casefold()]
    described = [line[1:3] for line in lines if word in line[3].casefold()]
    return list(dict.fromkeys([*named, *described]))


def markdown(found: list[Entry]) -> str:
    """The page `docs/catalog.md`."""
    parts = [
        "# The catalogue",
        "",
        "Every block that a YAML may name. Made by `python docs/generate.py`; the same in the "
        "terminal: "
        "`python -m blocks catalog [NAME]`.",
        "",
    ]
    family = None
    for entry in found:
        if entry.family != family:
            family = entry.family
            parts += [f"## {family}", ""]
        if family == "torch.nn":
            takes = "; ".join(entry.takes)
            parts.append(f"- **{entry.name}** takes {takes}. {_bullets(entry.arguments)}")
        else:
            parts += _markdown_of(entry)
    return "\n".join(parts).replace("*", "\\*").replace("\\*\\*", "**").rstrip() + "\n"


def _markdown_of(entry: Entry) -> list[str]:
    formula = read_docstring(entry.documentation).sections.get("Formula")
    lines = [f"### {entry.name}", "", entry.summary, ""]
    if formula:
        lines.append(f"- formula: {formula}")
    lines.append(f"- takes {'; '.join(entry.takes)}")
    lines.append(f"- gives {'; '.join(entry.gives)}")
    lines.append(f"- arguments: {_bullets(entry.arguments) or 'none'}")
    if entry.source:
        lines.append(f"- source: {entry.source}")
    if entry.models:
        lines.append(f"- used by: {', '.join(entry.models)}")
    return [*lines, ""]


def _bullets(arguments: tuple[str, ...]) -> str:
    return "; ".join(f"`{argument}`" for argument in arguments)
