"""Parts of a model with inputs and outputs of their own: its entries, and networks that end at a
node. They share the modules of the model: only calls are copied.
"""

import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import fx, nn

from blocks.graph.errors import NodeError, Problem, did_you_mean
from blocks.graph.language.copies import alter
from blocks.graph.record.module import Graph, WrappedGraph
from blocks.graph.record.record import Node
from blocks.graph.record.value import Value


@dataclass(frozen=True)
class Place:
    """A value inside a model.

    Args:
        calls: names of the calls in generated code that lead to it, the outermost first.
        port: which of several outputs of the last call; None where it has one.
    """

    calls: tuple[str, ...]
    port: int | None = None

    @property
    def below(self) -> "Place":
        """The same value from inside the first call."""
        return Place(self.calls[1:], self.port)


@dataclass(frozen=True)
class Entry:
    """A part of a model that can be called alone.

    Args:
        inputs: its own inputs by name: the values that they stand for.
        outputs: by name.
        named: whether the outputs are returned as a dictionary.
        axes: of its own inputs: name and size of each axis.
    """

    inputs: Mapping[str, Place]
    outputs: Mapping[str, Place]
    named: bool
    axes: Mapping[str, tuple[tuple[str | None, int], ...]] = field(default_factory=dict)

    def cut(self, model: Graph, values: Mapping[str, Value]) -> tuple["Cut", Graph]:
        """Return the part of a model and its module.

        Args:
            values: what the inputs stand for; they may be left out where no record is wanted.

        Raises:
            NodeError: a value inside a module that is called more than once.
        """
        part = Cut(model, list(self.outputs.values()), self.inputs, values)
        results: Any = dict(zip(self.outputs, part.results, strict=True))
        if not self.named:
            several = tuple(part.results)
            results = several if len(several) > 1 else several[0]
        return part, part.finish(results, tuple(self.outputs))


# Calls --------------------------------------------------------------------------------------------


def copy_calls(
    graph: fx.Graph, ends: Iterable[fx.Node], cuts: Mapping[fx.Node, str]
) -> tuple[fx.Graph, dict[fx.Node, fx.Node]]:
    """Copy the calls that lead to some values.

    Args:
        ends: the values; the output of a graph is a value, too.
        cuts: values that the copy takes as inputs, and the names of these.

    Returns:
        The copy, which has no output unless `ends` has it; call -> its copy.
    """
    needed = set(ends)
    for call in reversed(graph.nodes):
        if call in needed and call not in cuts:
            needed.update(call.all_input_nodes)
    part = fx.Graph()
    copies = {call: part.placeholder(name) for call, name in cuts.items() if call in needed}
    for call in graph.nodes:
        if call in needed and call not in copies:
            copies[call] = part.node_copy(call, copies.__getitem__)
    return part, copies


class Cut:
    """The calls of a body that lead from some values to others.

    Args:
        body: the body.
        wanted: the values that the part gives.
        cuts: the values that it takes as inputs, by name.
        values: what these values are, where the body has its record.

    Attributes:
        graph: the calls, without an output.
        modules: what they call.
        results: the wanted values, in `graph`.
        taken: the cuts that it reads, in `graph`.
        nodes: the records of its calls.
        outputs: the wanted values, in the record.

    Raises:
        NodeError: a value inside a module that is called more than once.
    """

    def __init__(
        self,
        body: Graph,
        wanted: Sequence[Place],
        cuts: Mapping[str, Place],
        values: Mapping[str, Value],
    ):
        self.body, self.cuts, self.values = body, cuts, values
        self.calls = {call.name: call for call in body.graph.nodes}
        self.graph = fx.Graph()
        self.modules: dict[str, nn.Module] = {}
        self.copies: dict[fx.Node, fx.Node] = {}
        self.taken: dict[str, fx.Node] = {}
        self.records: dict[int, Node] = {}  # id of a record -> the record in the part
        self.passed: set[str] = set()  # nodes that do nothing, which its values pass
        self.below: dict[fx.Node, Cut] = {}  # of calls that are cut inside
        self.inside: dict[fx.Node, list[Place]] = {}  # values wanted inside a call
        self.needed: set[fx.Node] = set()  # calls whose own value is read
        for place in wanted:
            call = self.calls[place.calls[0]]
            if len(place.calls) == 1:
                self.needed.add(call)
            elif place.below not in self.inside.setdefault(call, []):
                self.inside[call].append(place.below)
        self._find_needed()
        self._copy()
        self.results = [self._result(place) for place in wanted]
        self.outputs = [self._output(*pair) for pair in zip(wanted, self.results, strict=True)]

    def finish(self, results: Any, names: Sequence[str]) -> Graph:
        """Return the part as a module.

        Args:
            results: what it returns, values of `graph`.
            names: of its outputs.
        """
        end = self.graph.output(results)
        end.meta["inputs"] = tuple(self.outputs)
        made = Graph(self.modules, self.graph, "Graph")
        made.meta.update(self.body.meta)
        made.meta.pop("entries", None)
        held = {target.partition(".")[0] for target in self.modules}
        grids = self.body.meta.get("grids", {})
        made.meta["grids"] = {name: grid for name, grid in grids.items() if name in held}
        made.meta["outputs"] = tuple(names)
        return made

    def list_nodes(self, nodes: Sequence[Node]) -> list[Node]:
        """The records of the part, in the order of those of the body."""
        found = []
        for node in nodes:
            if id(node) in self.records:
                found.append(self.records[id(node)])
            elif node.name in self.passed and node.module is None:
                found.append(self._record(node))
        return found

    # What is needed -------------------------------------------------------------------------------

    def _find_needed(self) -> None:
        for call in reversed(self.body.graph.nodes):
            if call not in self.needed and call not in self.inside:
                continue
            if self._cut_at(call) is not None:
                continue
            if call not in self.inside and not self._cuts_inside(call):
                self.needed.update(call.all_input_nodes)
                continue
            part = self._cut_inside(call)
            arguments = self._arguments(call)
            for name in part.input_names:
                if isinstance(arguments.get(name), fx.Node):
                    self.needed.add(arguments[name])

    def _cut_at(self, call: fx.Node) -> str | None:
        """The name of the input that stands for the value of a call."""
        for name, place in self.cuts.items():
            if len(place.calls) > 1:
                continue
            source = self.calls[place.calls[0]]
            if (place.port is None and call is source) or _is_port(call, source, place.port):
                return name
        return None

    def _cuts_inside(self, call: fx.Node) -> dict[str, Place]:
        found = {}
        for name, place in self.cuts.items():
            if len(place.calls) > 1 and self.calls[place.calls[0]] is call:
                found[name] = place.below
        return found

    def _cut_inside(self, call: fx.Node) -> "Cut":
        """The part of a body that is called here; its own outputs stand first."""
        calls = [other for other in self.calls.values() if other.target == call.target]
        if len(calls) > 1 and call.op == "call_module":
            raise NodeError(
                Problem(
                    "the module around this node is called more than once",
                    got=str(call.target),
                    fix="cut before or after it",
                    code="unsupported",
                )
            )
        module = self._module(call)
        places = list(self.inside.get(call, []))
        if call in self.needed:
            places = [*map(place_of, list_results(module)), *places]
        self.below[call] = Cut(module, places, self._cuts_inside(call), self.values)
        return self.below[call]

    @property
    def input_names(self) -> list[str]:
        """Names of its inputs: those of the body that it reads, and the cuts."""
        return [str(call.target) for call in self.graph.nodes if call.op == "placeholder"]

    def _module(self, call: fx.Node) -> Any:
        return self.body.get_submodule(str(call.target))

    def _arguments(self, call: fx.Node) -> dict[str, Any]:
        """What flows into a body, by name."""
        names = self._module(call).input_names
        return {**dict(zip(names, call.args, strict=False)), **call.kwargs}

    # Copies ---------------------------------------------------------------------------------------

    def _copy(self) -> None:
        for call in self.body.graph.nodes:  # the cuts first: inputs with a default stand last
            name = self._cut_at(call)
            if name is not None and call in self.needed:
                self.copies[call] = self._take(name)
        for part in self.below.values():
            for name in part.taken:
                self._take(name)
        for call in self.body.graph.nodes:
            if call in self.copies or not (call in self.needed or call in self.below):
                continue
            if call in self.below:
                self._copy_cut(call, self.below[call])
                continue
            copied = self.graph.node_copy(call, self.copies.__getitem__)
            self.copies[call] = copied
            if call.op == "call_module":
                self.modules[str(call.target)] = self._module(call)
            if "node" in call.meta:
                copied.meta["inputs"] = tuple(map(self._value, call.meta["inputs"]))
                copied.meta["node"] = self._record(call.meta["node"])

    def _take(self, name: str) -> fx.Node:
        if name not in self.taken:
            self.taken[name] = self.graph.placeholder(name)
        return self.taken[name]

    def _copy_cut(self, call: fx.Node, part: "Cut") -> None:
        """Copy the call of a body that is cut inside."""
        arguments = self._arguments(call)
        known = [name for name, value in arguments.items() if isinstance(value, fx.Node)]
        values = dict(zip(known, call.meta.get("inputs", ()), strict=False))
        given: dict[str, Any] = {}
        inputs: list[Value] = []
        for name in part.input_names:
            if name in part.taken:
                given[name] = self.taken[name]
                inputs += self._taken_value(name)
            else:
                given[name] = self.copies[arguments[name]]
                inputs += [self._value(values[name])] * (name in values)
        results = part.results
        value = tuple(results) if len(results) > 1 else results[0]
        module = part.finish(value, [str(number) for number in range(len(results))])
        self.modules[str(call.target)] = module
        copied = self.graph.create_node("call_module", call.target, (), given, name=call.name)
        self.copies[call] = copied
        own = len(list_results(self._module(call))) * (call in self.needed)
        if own == 1 and len(results) > 1:
            self.copies[call] = self._port(copied, 0)
        if "node" in call.meta:
            copied.meta["inputs"] = tuple(inputs)
            copied.meta["node"] = self._record_cut(call.meta["node"], part, module, own)

    def _result(self, place: Place) -> fx.Node:
        call = self.calls[place.calls[0]]
        copied = self.copies[call]
        if len(place.calls) > 1:
            part = self.below[call]
            if copied.op == "call_function":
                copied = copied.all_input_nodes[0]
            if len(part.results) == 1:
                return copied
            own = len(part.results) - len(self.inside[call])
            return self._port(copied, own + self.inside[call].index(place.below))
        if place.port is None:
            return copied
        for user in call.users:
            if user in self.copies and _is_port(user, call, place.port):
                return self.copies[user]
        return self._port(copied, place.port)

    def _port(self, call: fx.Node, port: int) -> fx.Node:
        for user in call.users:
            if _is_port(user, call, port):
                return user
        return self.graph.call_function(operator.getitem, (call, port))

    # The record -----------------------------------------------------------------------------------

    def _value(self, value: Value) -> Value:
        """A value of the body as one of the part."""
        copied = None if value.node is None else self.copies.get(value.node)
        if copied is None:
            return value
        if copied in self.taken.values():
            return value.at(copied, f"input {copied.target}")
        self.passed.update(value.idle)
        return alter(value, node=copied)

    def _taken_value(self, name: str) -> list[Value]:
        if name not in self.values:
            return []
        return [self.values[name].at(self.taken[name], f"input {name}")]

    def _record(self, node: Node) -> Node:
        if id(node) not in self.records:
            flow = {name: self._value(value) for name, value in node.flow.items()}
            self.records[id(node)] = replace(node, flow=flow)
        return self.records[id(node)]

    def _record_cut(self, node: Node, part: "Cut", module: Graph, own: int) -> Node:
        """The record of a body that is cut inside."""
        flow = {name: self._value(value) for name, value in node.flow.items()}
        for name in part.taken:
            for value in self._taken_value(name):
                flow[name] = value
        outputs = {}
        for (name, value), result in zip(node.outputs.items(), part.results[:own], strict=False):
            outputs[name] = alter(value, node=result)
        for value in part.outputs[own:]:
            outputs[value.made_by] = value
        found = replace(
            node,
            module=module,
            flow=flow,
            outputs=outputs,
            children=part.list_nodes(node.children),
        )
        if node.repeat:
            found.repeat = len(found.children)
            found.label = node.label.replace(str(node.repeat), str(found.repeat), 1)
        self.records[id(node)] = found
        return found

    def _output(self, place: Place, result: fx.Node) -> Value:
        """A wanted value as one of the part."""
        call = self.calls[place.calls[0]]
        node: Node | None = call.meta.get("node")
        if call in self.copies and self.copies[call] in self.taken.values():
            for value in self._taken_value(str(self.copies[call].target)):
                return value
        if node is None:
            return Value(None, (), result, call.name)
        if len(place.calls) > 1:
            part = self.below[call]
            own = len(part.results) - len(self.inside[call])
            value = part.outputs[own + self.inside[call].index(place.below)]
            return value.at(result, f"{node.name}.{value.made_by}")
        port = list(node.outputs)[place.port or 0]
        name = f"{node.name}.{port}" if place.port else node.name
        return node.outputs[port].at(result, name)


def _is_port(call: fx.Node, source: fx.Node, port: int | None) -> bool:
    return call.op == "call_function" and call.args == (source, port)


def list_results(body: Graph) -> list[fx.Node]:
    """What a body returns."""
    results: Any = body.graph.output_node().args[0]
    if isinstance(results, Mapping):
        return list(results.values())
    if isinstance(results, fx.Node):
        return [results]
    return list(results)


def place_of(call: fx.Node) -> Place:
    """Where a value of a body is."""
    if call.op == "call_function":
        source, port = call.args
        return Place((source.name,), port)  # type: ignore[union-attr, arg-type]
    return Place((call.name,))


def value_at(root: nn.Module, graph: fx.Graph, place: Place, inputs: Mapping[str, Value]) -> Value:
    """A value of a body that has its record.

    Args:
        root: has the modules of the body.
        graph: the calls of the body.
        inputs: of the body.
    """
    if place.calls[0] in inputs and len(place.calls) == 1:
        return inputs[place.calls[0]]
    call = next(call for call in graph.nodes if call.name == place.calls[0])
    if len(place.calls) > 1:
        module: Any = root.get_submodule(str(call.target))
        return value_at(module, module.graph, place.below, {})
    return list(call.meta["node"].outputs.values())[place.port or 0]


# Paths --------------------------------------------------------------------------------------------


def find_place(root: nn.Module, graph: fx.Graph, path: str, whole: str) -> Place:
    """Where the first output of a node is.

    Args:
        root: has the modules of the body.
        graph: the calls of the body.
        path: of the node, in this body.
        whole: the same in the model, for messages.

    Raises:
        NodeError: there is no such node, or it is inside a block or a scan.
    """
    name, _, rest = path.partition(".")
    known = []
    for call in graph.nodes:
        node: Node | None = call.meta.get("node")
        if call.op != "call_module" or node is None:
            continue
        known.append(node.path)
        if node.name != name:
            continue
        if not rest:
            return Place((call.name,), 0 if len(node.outputs) > 1 else None)
        module = root.get_submodule(str(call.target))
        if not isinstance(module, Graph) or isinstance(module, WrappedGraph):
            raise NodeError(_explain_inside(whole, rest))
        place = find_place(module, module.graph, rest, whole)
        return Place((call.name, *place.calls), place.port)
    fits = did_you_mean(whole, known)
    raise NodeError(
        Problem("the network has no such node", got=whole, fits=fits, code="unknown-name")
    )


def _explain_inside(whole: str, rest: str) -> Problem:
    return Problem(
        "a node inside a block or a scan is no end of a network",
        got=whole,
        fits=whole.removesuffix(f".{rest}"),
        code="unsupported",
    )
