"""The `forward` of a body from its graph: one statement a node, repeats as loops."""

from collections.abc import Mapping
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
        reserved: names of the file that a variable must not hide.
        optional: inputs that may be None.
    """

    def __init__(
        self,
        bodies: Bodies,
        group: Group,
        inlined: Mapping[type, Inlined],
        reserved: set[str],
        optional: Mapping[int, set[str]],
    ):
        self.bodies, self.group, self.inlined, self.reserved = bodies, group, inlined, reserved
        self.graph = group.members[0]
        self.listed = bodies.container(self.graph) == "list"
        self.optional = {name for member in group.members for name in optional.get(id(member), ())}
        self.nodes = _busy_nodes(bodies, self.graph)
        self.last: dict[fx.Node, int] = {}
        for index, node in enumerate(self.nodes):
            for source in node.all_input_nodes:
                self.last[source] = index
        for node in reversed(self.nodes):
            if node.op == "call_function":
                self.last[node.all_input_nodes[0]] = max(
                    self.last[node.all_input_nodes[0]], self.last.get(node, 0)
                )
        self.texts: dict[fx.Node, str] = {}
        self.names: dict[str, fx.Node] = {}  # the value that a variable holds
        self.waiting: fx.Node | None = None  # a value that is not written yet
        self.index_of_write = 0
        self.lines: list[str] = []
        self.parameters: list[str] = []
        self.result = "Tensor"
        for index, node in enumerate(self.nodes):
            self.index = index
            getattr(self, f"_{node.op}")(node)

    def renamed(self, graph: Graph, name: str) -> str:
        """The name of an input in the class of a graph."""
        return f"{name}_" if name in self.reserved and graph is not self.bodies.model else name

    def _placeholder(self, node: fx.Node) -> None:
        name = self.renamed(self.graph, str(node.target))
        kind = "Tensor | None" if str(node.target) in self.optional else "Tensor"
        self.parameters.append(f"{name}: {kind}{' = None' if node.args else ''}")
        self.texts[node] = name
        self.names[name] = node

    def _is_free(self, name: str) -> bool:
        """Whether nothing that is still read stands under a name."""
        holder = self.names.get(name)
        return holder is None or self.last.get(holder, -1) <= self.index_of_write

    def _write(self, at: int) -> None:
        """Give the value that waits a name; it is computed at a node."""
        node = self.waiting
        self.waiting = None
        if node is None:
            return
        self.index_of_write = at
        once = len(node.users) == 1 and self.last[node] == self.nodes.index(node) + 1
        name = "x" if once and self._is_free("x") else str(node.name)
        while name in self.reserved or not self._is_free(name):
            name += "_"
        self.lines.append(f"{name} = {self.texts[node]}")
        self._hold(node, name)

    def _hold(self, node: fx.Node, name: str) -> None:
        self.texts[node] = name
        self.names[name] = node

    def _settle_waiting(self, node: fx.Node, room: int) -> None:
        """Write the value that waits, unless this node alone reads it and `x` is not free."""
        waiting = self.waiting
        if waiting is None:
            return
        at = self.nodes.index(waiting)
        self.index_of_write = at
        alone = _reads(node, waiting) == 1 == len(waiting.users)
        inner = node.op == "output" or not self._is_free("x")
        if not (
            alone and (inner or node.op == "call_function") and len(self.texts[waiting]) <= room
        ):
            self._write(at)
        self.waiting = None

    def _call_module(self, node: fx.Node) -> None:
        module: Any = self.graph.get_submodule(str(node.target))
        if self.bodies.container(module) == "ModuleList":
            self._loop(node, module)
            return
        self._settle_waiting(node, LONG)
        self.texts[node] = self._call(node, module)
        self.waiting = node

    def _call(self, node: fx.Node, module: Any) -> str:
        texts = [self.texts[item] for item in node.args]  # type: ignore[index]
        words = {key: self.texts[value] for key, value in node.kwargs.items()}  # type: ignore[index]
        kind = self.bodies.kind(module)
        if kind in self.inlined:
            return self.inlined[kind].written(
                texts, words, self.bodies.recipes[id(module)].arguments
            )
        if isinstance(module, Graph):
            words = {self.renamed(module, key): text for key, text in words.items()}
        given = [*texts, *(f"{key}={text}" for key, text in words.items())]
        return f"{self._place(str(node.target))}({', '.join(given)})"

    def _place(self, target: str) -> str:
        return f"self[{target}]" if self.listed and target.isdigit() else f"self.{target}"

    def _loop(self, node: fx.Node, module: Graph) -> None:
        waiting = self.waiting
        if waiting is not None and not (len(waiting.users) == 1 and self._is_free("x")):
            waiting.name = node.name if len(waiting.users) == 1 else waiting.name
        self._write(self.index - 1)
        self.index_of_write = self.index
        inputs = [item for item in module.graph.nodes if item.op == "placeholder"]
        given = {
            item.target: self.texts[value] for item, value in zip(inputs, node.args, strict=False)
        }  # type: ignore[index]
        given |= {key: self.texts[value] for key, value in node.kwargs.items()}  # type: ignore[index]
        call: Any = next(item for item in module.graph.nodes if item.op == "call_module")
        inner: Any = module.get_submodule(call.target)
        others = [given.get(item.target, "None") for item in call.args[1:]]
        for key, item in call.kwargs.items():
            word = self.renamed(inner, key) if isinstance(inner, Graph) else key
            others.append(f"{word}={given.get(item.target, 'None')}")
        target = str(node.target)
        word = target[:-1] if target.endswith("s") and len(target) > 1 else "layer"
        while word in self.names or word in self.reserved or word == node.name:
            word += "_"
        source = self.texts[node.args[0]]  # type: ignore[index]
        name = source if source.isidentifier() and self._is_free(source) else str(node.name)
        if name != source:
            self.lines.append(f"{name} = {source}")
        self.lines.append(f"for {word} in {self._place(target)}:")
        self.lines.append(f"    {name} = {word}({', '.join([name, *others])})")
        self._hold(node, name)

    def _call_function(self, node: fx.Node) -> None:
        source: Any = node.args[0]
        self._settle_waiting(node, LONG)
        self.texts[node] = f"{self.texts[source]}[{node.args[1]}]"
        if "(" in self.texts[node]:
            self.waiting = node

    def _output(self, node: fx.Node) -> None:
        value: Any = node.args[0]
        self._settle_waiting(node, LONG + 20)
        if isinstance(value, dict):
            shown = [f'"{key}": {self.texts[item]}' for key, item in value.items()]
            text, self.result = f"{{{', '.join(shown)}}}", "dict[str, Tensor]"
        elif isinstance(value, tuple | list):
            text = ", ".join(self.texts[item] for item in value)
            self.result = f"tuple[{', '.join(['Tensor'] * len(value))}]"
        else:
            text = self.texts[value]
        if text == "x" and self.lines and self.lines[-1].startswith("x = "):
            text = self.lines.pop().removeprefix("x = ")
        self.lines.append(f"return {text}")

    def methods(self) -> list[str]:
        """The lines of `forward`, and of `step` where the body is a scan."""
        if not isinstance(self.graph, Scan):
            return _method("forward", self.parameters, self.result, self.lines)
        lines = self._scan(self.graph.meta)
        return [*_method("step", self.parameters, self.result, self.lines), "", *lines]

    def _scan(self, meta: Mapping[str, Any]) -> list[str]:
        renamed = {name: self.renamed(self.graph, name) for name in meta["states"]}
        states, steps = (
            list(renamed.values()),
            [renamed.get(name, name) for name in meta["step_outputs"]],
        )
        sequence = renamed.get(meta["sequence"], meta["sequence"])
        names = [item.partition(":")[0] for item in self.parameters]
        parameters = [item for item in self.parameters if item.partition(":")[0] not in states]
        parameters.sort(key=lambda item: "=" in item)
        required = [item for item in parameters if "=" not in item]
        parameters = [
            *required,
            *(f"{name}: Tensor | None = None" for name in states),
            *parameters[len(required) :],
        ]
        used = {*names, *states, "torch", "reversed"}
        now, stacked = _free_name("step", used), _free_name("sequence", used)
        lines = []
        for name, shape in zip(states, meta["states"].values(), strict=True):
            sizes = ", ".join(["x.shape[0]", *map(str, shape)])
            lines += [f"if {name} is None:", f"    {name} = x.new_zeros({sizes})"]
        taken = [name if name in states else _free_name(f"next_{name}", used) for name in steps]
        call = f"self.step({', '.join([now, *(f'{name}={name}' for name in names[1:])])})"
        walk = f"x.unbind({meta['axis']})"
        lines += [
            f"{stacked} = []",
            f"for {now} in {f'reversed({walk})' if meta['reverse'] else walk}:",
        ]
        lines += [
            f"    {', '.join(taken)} = {call}",
            f"    {stacked}.append({taken[steps.index(sequence)]})",
        ]
        if meta["reverse"]:
            lines.append(f"{stacked}.reverse()")
        stack = f"torch.stack({stacked}, {meta['axis']})"
        lines.append(f"return {', '.join([stack, *states])}")
        result = f"tuple[{', '.join(['Tensor'] * (1 + len(states)))}]"
        return _method("forward", parameters, result, lines)


def _method(name: str, parameters: list[str], result: str, lines: list[str]) -> list[str]:
    return [
        f"def {name}({', '.join(['self', *parameters])}) -> {result}:",
        *(f"    {line}" for line in lines),
    ]


def _free_name(name: str, used: set[str]) -> str:
    """A name for a variable that no input or state bears."""
    while name in used:
        name += "_"
    return name


def _reads(node: fx.Node, value: fx.Node) -> int:
    """How often a node reads a value."""
    read: list[fx.Node] = []
    fx.node.map_arg((node.args, node.kwargs), read.append)
    return read.count(value)


def _busy_nodes(bodies: Bodies, graph: Graph) -> list[fx.Node]:
    """The nodes of a graph without those that do nothing."""
    group = bodies.of[id(graph)]
    for node in list(graph.graph.nodes):
        if node.op == "call_module":
            module = graph.get_submodule(node.target)
            silent = id(module) in bodies.idle and bodies.kind(module) in bodies.inlined
            if node.target in group.silent or silent:
                node.replace_all_uses_with(node.args[0])
                graph.graph.erase_node(node)
    return list(graph.graph.nodes)


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
            inner = module.get_submodule(node.target) if node.op == "call_module" else None
            if isinstance(inner, Graph):
                given = dict(zip(inner.input_names, node.args, strict=False)) | node.kwargs
                for name, value in given.items():
                    if value.op == "placeholder" and value.target in here:
                        found.setdefault(id(inner), set()).add(name)
    return found
