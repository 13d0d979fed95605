"""The `forward` of a body from its graph: one statement a node, repeats as loops."""

import ast
from collections.abc import Iterable, Mapping
from typing import Any

from torch import fx

from blocks.graph.describe.emit.bodies import Bodies, Group
from blocks.graph.describe.emit.inline import Inlined
from blocks.graph.record.module import Graph, Scan

LONG = 60  # letters of an expression that is still written inside another


class Forward:
    """The methods of a class.

    Args:
        bodies: all classes.
        group: the class.
        inlined: blocks that are expressions.
        optional: the inputs of each body that may be None.
    """

    def __init__(
        self,
        bodies: Bodies,
        group: Group,
        inlined: Mapping[type, Inlined],
        optional: Mapping[int, set[str]],
    ):
        self.bodies, self.inlined, self.graph = bodies, inlined, group.members[0]
        self.listed = bodies.container_of(self.graph) == "list"
        self.optional: set[str] = set()
        for member in group.members:
            self.optional |= optional.get(id(member), set())
        self.nodes = _working_nodes(bodies, group)
        self.last = _last_uses(self.nodes)
        self.texts: dict[fx.Node, str] = {}
        self.names: dict[str, fx.Node] = {}  # variable -> the value that it holds
        self.waiting: fx.Node | None = None  # a value that is not written yet
        self.lines: list[str] = []
        self.parameters: dict[str, str] = {}  # name -> how it is declared
        self.result = "Tensor"
        for node in self.nodes:
            getattr(self, f"_{node.op}")(node)

    def write_methods(self) -> list[str]:
        """The lines of `forward`, and of `step` where the body is a scan."""
        if not isinstance(self.graph, Scan):
            return _write_method("forward", self.parameters.values(), self.result, self.lines)
        step = _write_method("step", self.parameters.values(), self.result, self.lines)
        return [*step, "", *self._write_scan(self.graph.meta)]

    # Variables ------------------------------------------------------------------------------------

    def _is_free(self, name: str, at: fx.Node) -> bool:
        """Whether nothing that is read after a node stands under a name."""
        holder = self.names.get(name)
        return holder is None or self.last.get(holder, -1) <= self.nodes.index(at)

    def _name_value(self, node: fx.Node, name: str) -> None:
        self.texts[node] = name
        self.names[name] = node

    def _write_waiting(self, name: str = "") -> None:
        """Give the value that waits a variable: `x` where only the next node reads it."""
        node, self.waiting = self.waiting, None
        if node is None:
            return
        name = name or str(node.name)
        is_read_next = len(node.users) == 1 and self.last[node] == self.nodes.index(node) + 1
        if is_read_next and self._is_free("x", node):
            name = "x"
        while name in self.bodies.reserved or not self._is_free(name, node):
            name += "_"
        self.lines.append(f"{name} = {self.texts[node]}")
        self._name_value(node, name)

    def _place_waiting(self, node: fx.Node, room: int = LONG) -> None:
        """Write the value that waits, unless this node alone reads it and `x` is not free."""
        waiting = self.waiting
        if waiting is None:
            return
        alone = _count_reads(node, waiting) == 1 == len(waiting.users)
        inner = node.op != "call_module" or not self._is_free("x", waiting)
        if not (alone and inner and len(self.texts[waiting]) <= room):
            self._write_waiting()
        self.waiting = None

    # Nodes ----------------------------------------------------------------------------------------

    def _placeholder(self, node: fx.Node) -> None:
        name = self.bodies.input_name(self.graph, str(node.target))
        self.parameters[name] = f"{name}: Tensor"
        if str(node.target) in self.optional:
            self.parameters[name] += " | None"
        if node.args:
            self.parameters[name] += " = None"
        self._name_value(node, name)

    def _call_module(self, node: fx.Node) -> None:
        module: Any = self.graph.get_submodule(str(node.target))
        if self.bodies.container_of(module) == "ModuleList":
            self._write_loop(node, module)
            return
        self._place_waiting(node)
        self.texts[node] = self._write_call(node, module)
        self.waiting = node

    def _write_call(self, node: Any, module: Any) -> str:
        texts = [self.texts[item] for item in node.args]
        named = {}
        for key, value in node.kwargs.items():
            named[self.bodies.input_name(module, key)] = self.texts[value]
        kind = self.bodies.class_of(module)
        if kind in self.inlined:
            arguments = self.bodies.recipes[id(module)].arguments
            return self.inlined[kind].write(texts, named, arguments)
        texts += map("=".join, named.items())
        return f"{self._attribute_of(node)}({', '.join(texts)})"

    def _attribute_of(self, node: fx.Node) -> str:
        target = str(node.target)
        return f"self[{target}]" if self.listed and target.isdigit() else f"self.{target}"

    def _write_loop(self, node: Any, module: Graph) -> None:
        """Write a repeat whose elements get the same further inputs."""
        self._write_waiting(node.name)
        given = dict(zip(module.input_names, node.args, strict=False)) | node.kwargs
        call: Any = next(item for item in module.graph.nodes if item.op == "call_module")
        inner: Any = module.get_submodule(call.target)
        others = []
        for item in call.args[1:]:
            others.append(self.texts.get(given.get(item.target), "None"))
        for key, item in call.kwargs.items():
            value = self.texts.get(given.get(item.target), "None")
            others.append(f"{self.bodies.input_name(inner, key)}={value}")
        element = "layer"
        if node.target.endswith("s") and len(node.target) > 1:
            element = node.target[:-1]
        while element in self.names or element in self.bodies.reserved or element == node.name:
            element += "_"
        name = source = self.texts[node.args[0]]
        if not (source.isidentifier() and self._is_free(source, node)):
            name = str(node.name)
            self.lines.append(f"{name} = {source}")
        self.lines.append(f"for {element} in {self._attribute_of(node)}:")
        self.lines.append(f"    {name} = {element}({', '.join([name, *others])})")
        self._name_value(node, name)

    def _call_function(self, node: fx.Node) -> None:
        """Take one of several outputs."""
        source: Any = node.args[0]
        self._place_waiting(node)
        self.texts[node] = f"{self.texts[source]}[{node.args[1]}]"
        if "(" in self.texts[node]:
            self.waiting = node

    def _output(self, node: fx.Node) -> None:
        value: Any = node.args[0]
        self._place_waiting(node, LONG + 20)
        if isinstance(value, dict):
            shown = []
            for key, item in value.items():
                shown.append(f"{ast.unparse(ast.Constant(key))}: {self.texts[item]}")
            text, self.result = f"{{{', '.join(shown)}}}", "dict[str, Tensor]"
        elif isinstance(value, tuple | list):
            text = ", ".join(map(self.texts.__getitem__, value))
            self.result = f"tuple[{', '.join(['Tensor'] * len(value))}]"
        else:
            text = self.texts[value]
        self.lines.append(f"return {text}")

    # Scans ----------------------------------------------------------------------------------------

    def _write_scan(self, meta: Mapping[str, Any]) -> list[str]:
        """The loop over the steps; states that are not given start at zero."""
        states: dict[str, str] = {}
        required: list[str] = []
        optional: list[str] = []
        lines: list[str] = []
        for state, shape in meta["states"].items():
            name = states[state] = self.bodies.input_name(self.graph, state)
            optional.append(f"{name}: Tensor | None = None")
            sizes = ", ".join(map(str, ["x.shape[0]", *shape]))
            lines += [f"if {name} is None:", f"    {name} = x.new_zeros({sizes})"]
        for name, declared in self.parameters.items():
            if name not in states.values():
                fitting = optional if "=" in declared else required
                fitting.append(declared)
        used = {*self.parameters, *states.values(), "torch", "reversed"}
        step, sequence = _free_name("step", used), _free_name("sequence", used)
        taken = []
        for output in meta["step_outputs"]:
            taken.append(states.get(output) or _free_name(f"next_{output}", used))
        given = [step]
        for name in list(self.parameters)[1:]:
            given.append(f"{name}={name}")
        steps = f"x.unbind({meta['axis']})"
        if meta["reverse"]:
            steps = f"reversed({steps})"
        kept = taken[meta["step_outputs"].index(meta["sequence"])]
        lines += [f"{sequence} = []", f"for {step} in {steps}:"]
        lines.append(f"    {', '.join(taken)} = self.step({', '.join(given)})")
        lines.append(f"    {sequence}.append({kept})")
        if meta["reverse"]:
            lines.append(f"{sequence}.reverse()")
        stacked = f"torch.stack({sequence}, {meta['axis']})"
        lines.append(f"return {', '.join([stacked, *states.values()])}")
        result = f"tuple[{', '.join(['Tensor'] * (1 + len(states)))}]"
        return _write_method("forward", [*required, *optional], result, lines)


def _write_method(name: str, parameters: Iterable[str], result: str, lines: list[str]) -> list[str]:
    head = f"def {name}({', '.join(['self', *parameters])}) -> {result}:"
    return [head, *map("    ".__add__, lines)]


def _free_name(name: str, used: set[str]) -> str:
    """A name for a variable that no input or state bears."""
    while name in used:
        name += "_"
    return name


def _count_reads(node: fx.Node, value: fx.Node) -> int:
    """How often a node reads a value."""
    read: list[fx.Node] = []
    fx.node.map_arg((node.args, node.kwargs), read.append)
    return read.count(value)


def _working_nodes(bodies: Bodies, group: Group) -> list[fx.Node]:
    """The nodes of a graph without those that do nothing."""
    graph = group.members[0]
    for node in list(graph.graph.nodes):
        if node.op != "call_module":
            continue
        module = graph.get_submodule(node.target)
        idle = id(module) in bodies.idle and bodies.class_of(module) in bodies.inlined
        if idle or node.target in group.silent:
            node.replace_all_uses_with(node.args[0])
            graph.graph.erase_node(node)
    return list(graph.graph.nodes)


def _last_uses(nodes: list[fx.Node]) -> dict[fx.Node, int]:
    """Where each value is read for the last time, itself or in a part that was taken of it."""
    last: dict[fx.Node, int] = {}
    for index, node in enumerate(nodes):
        for source in node.all_input_nodes:
            last[source] = index
    for node in reversed(nodes):
        if node.op == "call_function":
            source = node.all_input_nodes[0]
            last[source] = max(last[source], last.get(node, 0))
    return last


def optional_inputs(model: Graph) -> dict[int, set[str]]:
    """The inputs of each body that may be None, because those of the model may."""
    found: dict[int, set[str]] = {}
    for module in model.modules():
        if not isinstance(module, Graph):
            continue
        here = found.setdefault(id(module), set())
        for node in module.graph.nodes:
            if node.op == "placeholder" and node.args:
                here.add(str(node.target))
            if node.op != "call_module":
                continue
            inner = module.get_submodule(node.target)
            if isinstance(inner, Graph):
                given = dict(zip(inner.input_names, node.args, strict=False)) | node.kwargs
                for name, value in given.items():
                    if value.op == "placeholder" and value.target in here:
                        found.setdefault(id(inner), set()).add(name)
    return found
