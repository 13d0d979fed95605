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

from blocks.graph.describe.emit.bodies import Bodies, Group, Made
from blocks.graph.describe.emit.class_names import to_camel_case
from blocks.graph.describe.emit.forward import Forward, optional_inputs
from blocks.graph.describe.emit.inline import Inlined, find_inlined
from blocks.graph.describe.emit.options import Uses, drop_options
from blocks.graph.describe.emit.source import Source
from blocks.graph.describe.emit.text import docstring, write
from blocks.graph.describe.emit.written import Written
from blocks.graph.record.module import Graph
from blocks.graph.record.record import Built, MakeBody, Recipe


def emit(built: Built, title: str, command: str, about: str = "") -> str:
    """The source of a model.

    Args:
        built: the model on the meta device.
        title: the name of the model, "vit"; its class is named after it.
        command: what wrote the file; its docstring names it.
        about: the description of the model, from its YAML.

    Raises:
        CannotEmit: a block whose source cannot stand alone.
    """
    written = Written(built)
    model, recipes, idle = written.model, written.recipes, written.idle
    used = _find_uses(model, recipes, idle)
    source = Source(used)
    names = {kind: source.names[kind.__module__, kind.__name__] for kind in used}
    by_name = dict(zip(names.values(), used.values(), strict=True))
    body, dropped = drop_options(source.ordered(), by_name)
    expressions = _take_expressions(body, names, used, model)
    reserved = {*source.names.values(), *source.imports, "reversed", "None", "True", "False"}
    bodies = Bodies(model, recipes, idle, names, dropped, expressions, reserved)
    bodies.name_classes(
        class_name(title, reserved), {node.path: node.label for node in built.walk()}
    )
    bodies.settle_group(bodies.of[id(model)])
    optional = optional_inputs(model)
    parts = list(map(write, body))
    for group in bodies.ordered:
        forward = Forward(bodies, group, expressions, optional)
        parts.append("\n".join(_write_class(bodies, group, forward)))
    text = "\n\n\n".join(parts)
    head = [*docstring(f"{about or title}\n\nWritten by `{command}`."), ""]
    head += [*_write_imports(source.imports, text), ""]
    if not text.startswith(tuple(source.names.values())):  # constants stand one line below
        head.append("")
    return tidy("\n".join([*head, text]) + "\n")


def _take_expressions(
    body: list[Any], names: Mapping[type, str], used: Mapping[type, Uses], model: Graph
) -> dict[type, Inlined]:
    """Take out of the definitions the blocks that are one short expression."""
    kinds = {name: kind for kind, name in names.items()}
    expressions = {}
    for node in list(body):
        kind = kinds.get(getattr(node, "name", ""))
        if kind is None or used[kind].ports is None:
            continue
        found = find_inlined(node)
        if found is not None and found.names().isdisjoint(model.input_names):
            expressions[kind] = found
            body.remove(node)
    return expressions


def _find_uses(model: Graph, recipes: Mapping[int, Recipe], idle: set[int]) -> dict[type, Uses]:
    """How the model uses each block that is no layer of torch."""
    used: dict[type, Uses] = {}
    working = {recipe.factory for module, recipe in recipes.items() if module not in idle}
    for module in model.modules():
        recipe = recipes.get(id(module))
        if recipe is not None and recipe.factory in working:
            _add_arguments(recipe, used)
    for graph in model.modules():
        if isinstance(graph, Graph):
            _add_ports(graph, recipes, used)
    return used


def _add_arguments(recipe: Recipe, used: dict[type, Uses]) -> None:
    kind: Any = recipe.factory
    if isinstance(kind, MakeBody):
        for each in kind.recipes.values():
            _add_arguments(each, used)
        for graph in kind.graph.modules():
            if isinstance(graph, Graph):
                _add_ports(graph, kind.recipes, used)
        return
    if not kind.__module__.startswith("torch."):
        used.setdefault(kind, Uses()).made.append(recipe.arguments)
    for value in recipe.arguments.values():
        if isinstance(value, Recipe):
            _add_arguments(value, used)


def _add_ports(graph: Graph, recipes: Mapping[int, Recipe], used: dict[type, Uses]) -> None:
    """Add the inputs that the calls of a body give."""
    for node in graph.graph.nodes:
        if node.op != "call_module":
            continue
        recipe = recipes.get(id(graph.get_submodule(node.target)))
        kind: Any = None if recipe is None else recipe.factory
        if kind in used:
            code, uses = kind.forward.__code__, used[kind]
            names = code.co_varnames[1 : code.co_argcount][: len(node.args)]
            uses.ports = {*(uses.ports or ()), *names, *node.kwargs}


def class_name(title: str, taken: set[str]) -> str:
    """The name of the class of the whole model."""
    name = to_camel_case(title) or "Model"
    if not name.isidentifier():
        name = f"Model{name}"
    if name in taken or hasattr(nn, name):
        name = f"{name}Model"
    return name


def _write_class(bodies: Bodies, group: Group, forward: Forward) -> list[str]:
    listed = bodies.container_of(group.members[0]) == "list"
    after = _write_aliases(bodies) if bodies.model in group.members else []
    lines = [f"class {group.name}({'nn.ModuleList' if listed else 'nn.Module'}):"]
    if group.lines or after or listed:
        given = ["self"]
        for name, values in group.parameters.items():
            given.append(f"{name}: {_annotation_of(values)}")
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
    return [*lines, *textwrap.indent("\n".join(forward.write_methods()), "    ").split("\n")]


def _annotation_of(values: list[Any]) -> str:
    """The annotation of a parameter that takes these values."""
    kinds = set()
    for value in values:
        if isinstance(value, Made | nn.Module):
            kinds.add("nn.Module")
        elif isinstance(value, tuple):
            kinds.add(f"tuple[{_annotation_of(list(value))}, ...]")
        else:
            kinds.add("None" if value is None else type(value).__name__)
    return " | ".join(sorted(kinds, key=lambda kind: (kind == "None", kind)))


def _write_aliases(bodies: Bodies) -> list[str]:
    """Statements that make shared modules and tied parameters one."""
    lines = []
    for path, first in bodies.aliases.items():
        above, _, name = path.rpartition(".")
        module = bodies.model.get_submodule(path)
        if not first or bodies.class_of(module) in bodies.inlined or id(module) in bodies.idle:
            continue
        if name.isdigit():
            lines.append(f'{_show_path(above)}.add_module("{name}", {_show_path(first)})')
        else:
            lines.append(f"{_show_path(path)} = {_show_path(first)}")
    seen: dict[int, str] = {}
    for path, parameter in bodies.model.named_parameters(remove_duplicate=False):
        first = path
        if path.rpartition(".")[0] not in bodies.aliases:
            first = seen.setdefault(id(parameter), path)
        if first != path:
            lines.append(f"{_show_path(path)} = {_show_path(first)}")
    return lines


def _show_path(path: str) -> str:
    return re.sub(r"\.(\d+)(?=\.|$)", r"[\1]", f"self.{path}")


def _write_imports(found: dict[str, str], text: str) -> list[str]:
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
        lines.append(f"from {module} import {', '.join(sorted(names, key=_sort_key))}")
    torch = [line for line in lines if re.match(r"(import|from) torch\b", line)]
    standard = [line for line in lines if line not in torch]
    if standard:
        standard.append("")
    return [*standard, *torch]


def _sort_key(name: str) -> tuple[int, str]:
    if name.isupper() and len(name) > 1:
        return 0, name
    return (1 if name[:1].isupper() else 2), name


def tidy(text: str) -> str:
    """The text as `ruff format` writes it; unchanged where ruff is not installed."""
    if importlib.util.find_spec("ruff") is None:
        return text
    for arguments in (["check", "--fix-only"], ["format"]):
        command = [sys.executable, "-m", "ruff", *arguments, "--isolated", "--quiet", "-"]
        done = subprocess.run(
            command, input=text, capture_output=True, encoding="utf-8", check=False
        )
        if done.returncode == 0 and done.stdout:
            text = done.stdout
    return text


def read_header(file: Path) -> str:
    """The comment at the top of a model file."""
    lines: list[str] = []
    for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else []:
        if not line.startswith("#"):
            break
        if not line.startswith("# @"):
            lines.append(line.lstrip("# "))
    return " ".join(lines)
