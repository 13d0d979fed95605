"""The forward of a body from its graph: one statement a node, joints as operators, repeats as loops."""

import ast
import re
from typing import Any

from torch import fx

from blocks.errors import BlockError
from blocks.graph.atom import Recipe
from blocks.graph.emit.block import CannotEmit
from blocks.graph.emit.body import Bodies
from blocks.graph.emit.fold import substitute
from blocks.graph.emit.group import Group, mode
from blocks.graph.emit.text import quotes
from blocks.graph.module import Graph, Scan


class Forward:
    """Lines of `forward` (or of a scan's `step`), with its parameters."""

    def __init__(self, bodies: Bodies, group: Group):
        self.bodies, self.graph, self.silent, self.open = bodies, group.members[0], group.silent, group.open
        self.texts: dict[fx.Node, str] = {}
        self.loose: fx.Node | None = None  # the value of the statement before, not written yet
        self.lines: list[str] = []
        self.parameters: list[str] = []
        self.itself = mode(self.graph) == "list"
        for node in list(self.graph.graph.nodes):
            if node.op == "call_module" and node.target in self.silent:
                node.replace_all_uses_with(node.args[0])  # its readers read what it would hand on
                self.graph.graph.erase_node(node)
        for node in self.graph.graph.nodes:
            getattr(self, f"_{node.op}")(node)
        if self.open:
            self.parameters = [self.parameters[0], "**inputs: Tensor | None"]

    def _placeholder(self, node: fx.Node) -> None:
        name = str(node.target)
        self.texts[node] = name
        optional = bool(node.args) and node.args[0] is None
        self.parameters.append(f"{name}: Tensor | None = None" if optional else f"{name}: Tensor")

    def _read(self, item: Any) -> str:
        return self.texts[item] if isinstance(item, fx.Node) else repr(item)

    def _flush(self, reader: fx.Node | None = None) -> None:
        """Write the statement that waits, unless its only reader is the next."""
        node = self.loose
        if node is None:
            return
        self.loose = None
        if (
            reader is not None
            and len(node.users) == 1
            and node in reader.all_input_nodes
            and len(self.texts[node]) < 60
        ):
            return
        self._write(node)

    def _write(self, node: fx.Node) -> None:
        if self.texts[node] != node.name:
            self.lines.append(f"{node.name} = {self.texts[node]}")
            self.texts[node] = node.name

    def _call_module(self, node: fx.Node) -> None:
        module: Any = self.graph.get_submodule(str(node.target))
        looped = mode(module) == "ModuleList"
        waiting = self.loose
        self._flush(None if self._repeats(module) else node)
        if looped:
            self._loop(node, module, str(node.target), [self._read(item) for item in node.args])
            return
        self.texts[node] = self._call(node, module)
        if waiting is not None and len(node.name) + len(self.texts[node]) > 76:
            self._write(waiting)
            self.texts[node] = self._call(node, module)
        self.loose = node

    def _call(self, node: fx.Node, module: Any) -> str:
        """What a node comes to."""
        arguments = [self._read(item) for item in node.args]
        keywords = {key: self._read(value) for key, value in node.kwargs.items()}
        if self.bodies.joint(module):
            short = self.bodies.short(module)
            if short is None:
                return expression(self.bodies.recipes[id(module)], arguments)
            return _put(*short, arguments, keywords)
        if node.target in self.open:
            return f"{self._place(str(node.target))}({', '.join([*arguments, '**inputs'])})"
        group = self.bodies.of.get(id(module))
        if group is not None and group.open:
            names = [str(item.target) for item in module.graph.nodes if item.op == "placeholder"]
            keywords |= dict(zip(names[1:], arguments[1:], strict=False))
            arguments = arguments[:1]
        words = [f"{key}={text}" for key, text in keywords.items()]
        text = f"{self._place(str(node.target))}({', '.join([*arguments, *words])})"
        layer = self.bodies.layer(module)
        return layer.outputs[0].format(text) if layer and len(layer.outputs) == 1 else text

    def _repeats(self, module: Any) -> bool:
        """Whether an operand stands more than once in what a block comes down to."""
        short = self.bodies.short(module)
        read = [node.id for node in ast.walk(short[1]) if isinstance(node, ast.Name)] if short else []
        return len(read) > len(set(read))

    def _place(self, target: str) -> str:
        return f"self[{target}]" if self.itself else f"self.{target}"

    def _loop(self, node: fx.Node, module: Graph, target: str, arguments: list[str]) -> None:
        names = [str(item.target) for item in module.graph.nodes if item.op == "placeholder"]
        given = dict(zip(names, arguments, strict=False)) | {
            key: self._read(value) for key, value in node.kwargs.items()
        }
        call = next(item for item in module.graph.nodes if item.op == "call_module")
        others = [given.get(str(item.target), "None") for item in call.args[1:]]
        others += [f"{key}={given.get(str(item.target), 'None')}" for key, item in call.kwargs.items()]
        word = target[:-1] if target.endswith("s") and target[:-1] not in (*given.values(), node.name) else "layer"
        self.lines.append(f"{node.name} = {arguments[0]}")
        self.lines.append(f"for {word} in self.{target}:")
        self.lines.append(f"    {node.name} = {word}({', '.join([node.name, *others])})")
        self.texts[node] = node.name

    def _call_function(self, node: fx.Node) -> None:
        source: Any = node.args[0]
        index: Any = node.args[1]
        layer = self.bodies.layer(self.graph.get_submodule(source.target)) if source.op == "call_module" else None
        taken = layer.outputs[index] if layer else f"{{}}[{index}]"
        if self.loose is not None and self.loose is source and len(source.users) == 1:
            self._flush(node)
            self.texts[node] = taken.format(self.texts[source])
            self.loose = node
            return
        self._flush()
        self.texts[node] = taken.format(self._read(source))

    def _output(self, node: fx.Node) -> None:
        value: Any = node.args[0]
        if value is not self.loose:
            self._flush(node)
        if isinstance(value, dict):
            text = "{" + ", ".join(f'"{key}": {self._read(item)}' for key, item in value.items()) + "}"
        elif isinstance(value, tuple | list):
            text = ", ".join(map(self._read, value))
        else:
            text = self._read(value)
        several = isinstance(value, tuple | list)
        self.result = f"tuple[{', '.join(['Tensor'] * len(value))}]" if several else "Tensor"
        self.result = "dict[str, Tensor]" if isinstance(value, dict) else self.result
        self.lines.append(f"return {text}")

    def methods(self) -> list[tuple[str, list[str]]]:
        """Heads and bodies of the methods."""
        if not isinstance(self.graph, Scan):
            return [(f"def forward(self, {', '.join(self.parameters)}) -> {self.result}:", self.lines)]
        meta, names = self.graph.meta, [item.partition(":")[0] for item in self.parameters]
        states, steps = meta["states"], meta["step_outputs"]
        others = [item for item in self.parameters[1:] if item.partition(":")[0] not in states]
        required = [item for item in others if "=" not in item]
        optional = [f"{name}: Tensor | None = None" for name in states] + [item for item in others if "=" in item]
        lines: list[str] = []
        for name, shape in states.items():
            sizes = ", ".join(["x.shape[0]", *map(str, shape)])
            lines += [f"if {name} is None:", f"    {name} = x.new_zeros({sizes})"]
        used = {*names, *states}
        now, sequence = _free_name("now", used), _free_name("sequence", used)
        taken = [name if name in states else _free_name(f"next_{name}", used) for name in steps]
        call = f"self.step({', '.join([now, *[f'{name}={name}' for name in names[1:]]])})"
        walk = f"x.unbind({meta['axis']})"
        lines += [f"{sequence} = []", f"for {now} in {f'reversed({walk})' if meta['reverse'] else walk}:"]
        lines += [f"    {', '.join(taken)} = {call}", f"    {sequence}.append({taken[steps.index(meta['sequence'])]})"]
        lines += [f"{sequence}.reverse()"] if meta["reverse"] else []
        stack = f"torch.stack({sequence}, {meta['axis']})"
        lines += [f"return {', '.join([stack, *states])}"]
        head = ", ".join(["self", "x: Tensor", *required, *optional])
        result = f"tuple[{', '.join(['Tensor'] * (1 + len(states)))}]"
        return [
            (f"def step(self, {', '.join(self.parameters)}) -> {self.result}:", self.lines),
            (f"def forward({head}) -> {result}:", lines),
        ]


def _free_name(name: str, used: set[str]) -> str:
    """A name for a variable that no input or state bears."""
    while name in used:
        name += "_"
    return name


def _put(names: list[str], value: ast.expr, operands: list[str], words: dict[str, str]) -> str:
    """An expression of parameters with operands in their place."""
    texts = dict(zip(names, operands, strict=False)) | words
    given = {name: ast.parse(text, mode="eval").body for name, text in texts.items()}
    return quotes(ast.unparse(substitute(value, given)))


def expression(recipe: Recipe, operands: list[str]) -> str:
    """What a block comes down to, with its operands in brackets where they need them."""
    marks = [f"\0{index}\0" for index in range(len(operands))]
    kind: Any = recipe.factory
    try:
        text: str = kind.expression(*marks, **recipe.arguments)
    except BlockError as error:
        raise CannotEmit(f"{error.problem}: {error.got}") from error
    for mark, operand in zip(marks, operands, strict=True):
        free = re.search(rf"(?:^|[(,] ?){mark}(?:$|[,)])", text)
        text = text.replace(mark, operand if free or not _loose(operand) else f"({operand})")
    return text


def _loose(text: str) -> bool:
    """Whether an expression has an operator outside of its brackets."""
    depth = 0
    for letter in text:
        depth += (letter in "([{") - (letter in ")]}")
        if letter == " " and depth == 0:
            return True
    return False
