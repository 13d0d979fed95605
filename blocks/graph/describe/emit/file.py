"""A composed model as one file of plain PyTorch with the same `state_dict` and outputs."""

import ast
import importlib.util
import re
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from blocks.graph.describe.emit.bodies import Bodies, Group, Made, camel
from blocks.graph.describe.emit.forward import Forward, optional_inputs
from blocks.graph.describe.emit.inline import inlined
from blocks.graph.describe.emit.options import Uses, drop_options
from blocks.graph.describe.emit.source import Source
from blocks.graph.describe.emit.text import docstring, write
from blocks.graph.record.module import Graph
from blocks.graph.record.record import Built, Recipe


def emit(planned: Built, title: str, command: str, about: str = "") -> str:
    """The source of a model.

    Args:
        planned: the model on the meta device.
        title: the name of the model, "vit"; its class is named after it.
        command: what made the file; stands in its first lines.
        about: what the model's YAML says of itself.

    Raises:
        CannotEmit: a block whose source cannot stand alone.
    """
    planned = planned.with_idle()
    model, recipes, idle = planned.model, planned.recipes, planned.idle
    used = _uses(model, recipes, idle)
    source = Source(used)
    names = {kind: source.names[kind.__module__, kind.__name__] for kind in used}
    by_name = dict(zip(names.values(), used.values(), strict=True))
    body, gone = drop_options(source.ordered(), by_name)
    expressions = {}
    for node in list(body):
        uses = by_name.get(getattr(node, "name", ""))
        found = inlined(node) if uses is not None and uses.ports is not None else None
        if found is not None and found.names().isdisjoint(model.input_names):
            kind = next(kind for kind, name in names.items() if name == node.name)
            expressions[kind] = found
            body.remove(node)
    reserved = {*source.names.values(), *source.imports, "reversed", "None", "True", "False"}
    bodies = Bodies(model, recipes, idle, names, gone, expressions, reserved)
    bodies.name(class_name(title, reserved), {node.path: node.label for node in planned.walk()})
    bodies.settle(bodies.of[id(model)])
    optional = optional_inputs(model)
    parts = list(map(write, body))
    for group in bodies.ordered:
        forward = Forward(bodies, group, expressions, optional)
        parts.append("\n".join(_class(bodies, group, forward)))
    text = "\n\n\n".join(parts)
    head = [*docstring(f"{about or title}\n\nWritten by `{command}`."), ""]
    head += [*_imports(source.imports, text), ""]
    if not text.startswith(tuple(source.names.values())):  # constants stand one line below
        head.append("")
    return tidy("\n".join([*head, text]) + "\n")


def _uses(model: Graph, recipes: Mapping[int, Recipe], idle: set[int]) -> dict[type, Uses]:
    """How the model uses each block that is no layer of torch."""
    used: dict[type, Uses] = {}

    def take(recipe: Recipe) -> None:
        kind: Any = recipe.factory
        if not kind.__module__.startswith("torch."):
            used.setdefault(kind, Uses()).made.append(recipe.arguments)
        for value in recipe.arguments.values():
            if isinstance(value, Recipe):
                take(value)

    busy = {recipe.factory for module, recipe in recipes.items() if module not in idle}
    for module in model.modules():
        recipe = recipes.get(id(module))
        if recipe is not None and recipe.factory in busy:
            take(recipe)
    for graph in model.modules():
        for node in graph.graph.nodes if isinstance(graph, Graph) else ():
            recipe = (
                recipes.get(id(graph.get_submodule(node.target)))
                if node.op == "call_module"
                else None
            )
            if recipe is not None and recipe.factory in used:
                code = recipe.factory.forward.__code__  # type: ignore[attr-defined]
                uses = used[recipe.factory]
                uses.ports = uses.ports or set()
                uses.ports |= {
                    *code.co_varnames[1 : code.co_argcount][: len(node.args)],
                    *node.kwargs,
                }
    return used


def class_name(title: str, taken: set[str]) -> str:
    """The name of the class of the whole model."""
    name = camel(title) or "Model"
    if not name.isidentifier():
        name = f"Model{name}"
    if name in taken or hasattr(nn, name):
        name = f"{name}Model"
    return name


def _class(bodies: Bodies, group: Group, forward: Forward) -> list[str]:
    listed = bodies.container(group.members[0]) == "list"
    after = _aliases(bodies) if bodies.model in group.members else []
    lines = [f"class {group.name}(nn.Module):"]
    if listed:
        lines = [f"class {group.name}(nn.ModuleList):"]
    if group.lines or after or listed:
        given = ["self"]
        for name, values in group.parameters.items():
            given.append(f"{name}: {_kind(values)}")
        lines.append(f"    def __init__({', '.join(given)}):")
        if listed:
            lines.append(f"        super().__init__([{', '.join(group.lines.values())}])")
        else:
            lines.append("        super().__init__()")
            for name, text in group.lines.items():
                lines.append(f"        self.{name} = {text}")
        for line in after:
            lines.append(f"        {line}")
        lines.append("")
    return [*lines, *textwrap.indent("\n".join(forward.methods()), "    ").split("\n")]


def _kind(values: list[Any]) -> str:
    """The annotation of a parameter that takes these values."""
    kinds = set()
    for value in values:
        if isinstance(value, Made | nn.Module):
            kinds.add("nn.Module")
        elif isinstance(value, tuple):
            kinds.add(f"tuple[{_kind(list(value))}, ...]")
        else:
            kinds.add("None" if value is None else type(value).__name__)
    return " | ".join(sorted(kinds, key=lambda kind: (kind == "None", kind)))


def _aliases(bodies: Bodies) -> list[str]:
    """Modules and parameters that are one."""
    lines = []
    for path, first in bodies.aliases.items():
        above, _, name = path.rpartition(".")
        module = bodies.model.get_submodule(path)
        if first and bodies.kind(module) not in bodies.inlined and id(module) not in bodies.idle:
            if name.isdigit():
                lines.append(f'{_place(above)}.add_module("{name}", {_place(first)})')
            else:
                lines.append(f"{_place(path)} = {_place(first)}")
    seen: dict[int, str] = {}
    for path, parameter in bodies.model.named_parameters(remove_duplicate=False):
        first = path
        if path.rpartition(".")[0] not in bodies.aliases:
            first = seen.setdefault(id(parameter), path)
        if first != path:
            lines.append(f"{_place(path)} = {_place(first)}")
    return lines


def _place(path: str) -> str:
    return re.sub(r"\.(\d+)(?=\.|$)", r"[\1]", f"self.{path}")


def _imports(found: dict[str, str], text: str) -> list[str]:
    """Import statements for the names that the text reads, in the order that ruff wants."""
    read = {node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)}
    plain: set[str] = set()
    members: dict[str, set[str]] = {}
    for name, line in found.items():
        if name not in read:
            continue
        if line.startswith("import "):
            plain.add(line)
        else:
            module, _, member = line.removeprefix("from ").partition(" import ")
            members.setdefault(module, set()).add(member)
    lines = sorted(plain)
    for module, names in sorted(members.items()):
        lines.append(f"from {module} import {', '.join(sorted(names, key=_isort))}")
    torch = [line for line in lines if re.match(r"(import|from) torch\b", line)]
    standard = [line for line in lines if line not in torch]
    if standard:
        standard.append("")
    return [*standard, *torch]


def _isort(name: str) -> tuple[int, str]:
    if name.isupper() and len(name) > 1:
        return 0, name
    return (1 if name[:1].isupper() else 2), name


def tidy(text: str) -> str:
    """The text as `ruff format` has it, where ruff is there."""
    if importlib.util.find_spec("ruff") is None:
        return text
    for words in (["check", "--fix-only"], ["format"]):
        command = [sys.executable, "-m", "ruff", *words, "--isolated", "--quiet", "-"]
        done = subprocess.run(
            command, input=text, capture_output=True, encoding="utf-8", check=False
        )
        text = done.stdout if done.returncode == 0 and done.stdout else text
    return text


def header(file: Path) -> str:
    """The comment at the top of a model file."""
    lines: list[str] = []
    for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else []:
        if not line.startswith("#"):
            break
        if not line.startswith("# @"):
            lines.append(line.lstrip("# "))
    return " ".join(lines)
