"""A composed model as plain PyTorch: one file that needs torch alone, same `state_dict`, same logits."""

import ast
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from blocks.graph.atom import Recipe
from blocks.graph.emit.block import Block, CannotEmit, Unit
from blocks.graph.emit.body import Bodies, layer_of, ports_of
from blocks.graph.emit.call import default_of, kind_of
from blocks.graph.emit.forward import Forward
from blocks.graph.emit.group import Group, mode
from blocks.graph.emit.source import Source
from blocks.graph.emit.text import docstring, lay, quotes, statements, tidy
from blocks.graph.room import Row


def emit(planned: Any, title: str, command: str, about: str = "") -> str:
    """The source of a model.

    Args:
        planned: the model on the meta device.
        title: the name of the model, "vit"; its class is named after it.
        command: what made the file; stands in its first lines.
        about: what the model's YAML says of itself.

    Raises:
        CannotEmit: a block whose source cannot stand alone.
    """
    planned = planned.whole()
    uses, ports = _uses(planned)
    source = Source(uses, ports)
    names = {kind.__name__ for kind in source.blocks}
    labels = dict(_labels(planned.rows))
    bodies = Bodies(planned.model, planned.assembler, labels, _class_name(title, names), source)
    parts = [_helper(unit) for unit in source.helpers.values()]
    parts += [_block(block) for kind, block in source.blocks.items() if kind not in bodies.expressions]
    parts += [_body(bodies, group, _aliases(bodies) if planned.model in group.members else [])
              for group in bodies.groups]  # fmt: skip
    text = "\n\n\n".join("\n".join(part) for part in parts)
    values = [line for value in source.values.values() for line in statements([value], 0)]
    text = "\n".join([*values, "", ""]) + text if values else text
    head = docstring(f"{about or title}\n\nWritten by `{command}`.", 0)
    return tidy("\n".join([*head, "", *_imports(source.imports, text), "", *([""] if not values else []), text]) + "\n")


def _uses(planned: Any) -> tuple[dict[type, list[Any]], dict[type, set[str]]]:
    """With which arguments each block that is written out is made, and which ports are given to it."""
    uses: dict[type, list[Any]] = {}
    recipes, idle = planned.assembler.recipes, planned.assembler.idle
    ports = ports_of(planned.model, recipes)
    busy = {recipe.factory for module, recipe in recipes.items() if module not in idle}

    def take(recipe: Recipe, path: str) -> None:
        kind: Any = recipe.factory
        if not (kind.__module__.startswith("torch.") or hasattr(kind, "expression") or layer_of(recipe, ports, path)):
            uses.setdefault(kind, []).append(recipe.arguments)
        for name, value in recipe.arguments.items():
            if isinstance(value, Recipe):
                take(value, f"{path}.{name}")

    for path, module in planned.model.named_modules():
        if id(module) in recipes and recipes[id(module)].factory in busy:
            take(recipes[id(module)], path)
    return uses, ports


def _labels(rows: list[Row]) -> Iterator[tuple[str, str]]:
    for row in rows:
        yield row.path, row.block
        yield from _labels(row.children)


def _class_name(title: str, taken: set[str]) -> str:
    known = {"vit": "ViT", "unet": "UNet", "resnet18": "ResNet18", "resnet50": "ResNet50", "alexnet": "AlexNet",
             "lenet5": "LeNet5", "convnext": "ConvNeXt"}  # fmt: skip
    known |= {
        word: word.upper() for word in ("bert", "cat", "cnn", "gpt", "gpt2", "gru", "lstm", "mlp", "rnn", "vgg16")
    }
    name = "".join(known.get(part, part.capitalize()) for part in re.split(r"\W+|_", title)) or "Model"
    name = name if name.isidentifier() else f"Model{name}"
    return f"{name}Model" if name in taken or name.lower() in ("rnn", "gru", "lstm") else name


def _imports(found: set[str], text: str) -> list[str]:
    wanted = {"Tensor", *(name for name in ("nn",) if re.search(r"\bnn\.", text))}
    plain = {line for line in found if line.startswith("import ") and line != "import torch"}
    if re.search(r"\btorch\.", text):
        plain.add("import torch")
    members: dict[str, set[str]] = {"torch": wanted}
    for line in found:
        if line.startswith("from "):
            module, _, names = line.removeprefix("from ").partition(" import ")
            if re.search(rf"\b{re.escape(names.split(' as ')[-1])}\b", text):
                members.setdefault(module, set()).add(names)
    plain = {line for line in plain if re.search(rf"\b{re.escape(line.split()[-1])}\b", text)}
    own = [f"from {module} import {', '.join(sorted(names, key=_isort))}" for module, names in sorted(members.items())]
    standard = [line for line in own if not line.startswith("from torch")]
    ours = [line for line in own if line.startswith("from torch")]
    first = sorted(line for line in plain if "torch" not in line)
    second = sorted(line for line in plain if "torch" in line)
    top = [*first, *standard]
    return [*top, *([""] if top else []), *second, *ours]


def _isort(name: str) -> tuple[int, str]:
    return (0 if name.isupper() and len(name) > 1 else 1 if name[:1].isupper() else 2, name)


def _function(unit: Unit, depth: int, words: str = "") -> list[str]:
    arguments = quotes(ast.unparse(unit.node.args))
    result = f" -> {ast.unparse(unit.node.returns)}" if unit.node.returns is not None else ""
    lines = [f"{'    ' * depth}@{ast.unparse(item)}" for item in unit.node.decorator_list]
    lines += lay(quotes(f"def {unit.node.name}({arguments}){result}:"), depth)
    text = words or (unit.text or "").partition("\n\n")[0]
    lines += docstring(text, depth + 1) if text else []
    return lines + statements(unit.node.body, depth + 1)


def _helper(unit: Unit) -> list[str]:
    return _function(unit, 0)


def _block(block: Block) -> list[str]:
    text = ast.get_docstring(block.node) or ""
    first = text.partition("\n\n")[0]
    paper = re.search(r"^Source:\n(.*?)(?=^\S|\Z)", text, re.DOTALL | re.MULTILINE)
    head = quotes(f"class {block.node.name}({', '.join(map(ast.unparse, block.node.bases))}):")
    said = "\n\n".join([first, textwrap.dedent(paper[1])] if paper else [first])
    lines = [head, *(docstring(said, 1) if text else [])]
    for item in block.node.body[1 if text else 0 :]:
        unit = block.units.get(item.name) if isinstance(item, ast.FunctionDef) else None
        if unit is None:
            lines += ["", *statements([item], 1)] if not isinstance(item, ast.AnnAssign) else statements([item], 1)
        elif not (unit.node.name == "__init__" and len(unit.node.body) == 1 and not unit.node.args.args[1:]):
            lines += ["", *_function(unit, 1)]
    return lines


def _body(bodies: Bodies, group: Group, after: list[str]) -> list[str]:
    listed = mode(group.members[0]) == "list"
    forward = Forward(bodies, group)
    lines = [f"class {group.name}(nn.{'ModuleList' if listed else 'Module'}):"]
    kinds = {name: kind_of(values) for name, values in group.parameters.items()}
    usual = {name: default_of(values) for name, values in group.parameters.items()}
    if group.lines or after:
        plain = [f"{name}: {kind}" for name, kind in kinds.items() if usual[name] is None]
        switches = [f"{name}: bool = {state}" for name, state in usual.items() if state is not None]
        head = ", ".join(["self", *plain, *switches])
        lines += lay(f"def __init__({head}):", 1)
        if listed:
            lines += lay(f"super().__init__([{', '.join(group.lines.values())}])", 2)
        else:
            lines.append("        super().__init__()")
            for name, text in group.lines.items():
                lines += lay(quotes(f"self.{name} = {text}"), 2)
                layer = bodies.layer(bodies.children(group.members[0])[name])
                lines += ["        " + line.format(f"self.{name}") for line in (layer.start if layer else ())]
        for line in after:
            lines += lay(line, 2)
        lines.append("")
    for head, body in forward.methods():
        lines += lay(head, 1)
        for line in body:
            inner = (len(line) - len(line.lstrip())) // 4
            lines += lay(line.strip(), 2 + inner)
        lines.append("")
    return lines[:-1]


def _aliases(bodies: Bodies) -> list[str]:
    """Modules and parameters that are one."""
    model, lines = bodies.model, []
    first: dict[int, str] = {}
    aliased: list[str] = []
    for path, module in model.named_modules(remove_duplicate=False):
        if path.rpartition(".")[0] in aliased:
            aliased.append(path)
        elif first.setdefault(id(module), path) != path:
            aliased.append(path)
            if not bodies.joint(module):
                lines.append(f"{_place(path)} = {_place(first[id(module)])}")
    seen: dict[int, str] = {}
    for path, parameter in model.named_parameters(remove_duplicate=False):
        if path.rpartition(".")[0] not in aliased and seen.setdefault(id(parameter), path) != path:
            lines.append(f"{_place(path)} = {_place(seen[id(parameter)])}")
    return lines


def _place(path: str) -> str:
    return "self" + "".join(f"[{part}]" if part.isdigit() else f".{part}" for part in path.split("."))


def header(file: Path) -> str:
    """The comment at the top of a model file."""
    lines: list[str] = []
    for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else []:
        if not line.startswith("#"):
            break
        if not line.startswith("# @"):
            lines.append(line.lstrip("# "))
    return " ".join(lines)


__all__ = ["CannotEmit", "emit", "header"]
