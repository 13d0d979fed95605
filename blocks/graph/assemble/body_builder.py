"""A body under construction: its values, and the names by which nodes reach them."""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

from torch import fx, nn

from blocks.graph.errors import ConfigError
from blocks.graph.language.scope import Scope, Text
from blocks.graph.language.words import check_word
from blocks.graph.record.record import Node
from blocks.graph.record.value import Value

Path = tuple[Any, ...]


@dataclass(frozen=True)
class Input:
    """One thing that flows into a node: the port it was given for, if any, the name it was read by,
    and the wire.

    Args:
        each: for a repeated node, the outputs of a repeat among which `index` chooses at each
            repeat; `value` is then the first of them.
        index: an expression of the counter.
    """

    port: str | None
    name: str
    value: Value
    each: tuple[Value, ...] = ()
    index: str = ""


@dataclass(frozen=True)
class NodeSpec:
    """What a node, a hole or an option of a slot is made of: its YAML, its place, the names in
    reach there.
    """

    raw: Mapping[str, Any]
    path: Path
    scope: Scope
    nearer: Mapping[str, Text] = field(default_factory=dict)  # keys that a nearer node wrote


@dataclass
class Made:
    """A node that was built.

    Args:
        spec: what was written.
        inputs: what flowed in.
        previous: the sibling before.
        wanted: ports of it that its siblings read.
        node: its record.
        outputs: what it gives.
        builder: the body around it.
        is_steady: whether another repeat may copy it; None where that is not known yet.
    """

    spec: NodeSpec
    inputs: list[Input]
    previous: Value | None
    wanted: tuple[str, ...]
    node: Node
    outputs: dict[str, Value]
    builder: "BodyBuilder"
    is_steady: bool | None

    @property
    def call(self) -> fx.Node | None:
        """Its call in the generated code; None where it does nothing."""
        return self.builder.calls.get(self.node.name)

    @property
    def body(self) -> "BodyBuilder | None":
        """What it contains, where it is a body."""
        return self.builder.bodies.get(self.node.name)


@dataclass
class BodyBuilder:
    """A body under construction: its generated code, its modules, and what its names stand for."""

    path: str
    graph: fx.Graph = field(default_factory=fx.Graph)
    root: nn.Module = field(default_factory=nn.Module)
    inputs: dict[str, Value] = field(default_factory=dict)
    results: dict[str, dict[str, Value]] = field(default_factory=dict)
    arguments: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    previous: Value | None = None
    nodes: list[Node] = field(default_factory=list)
    calls: dict[str, fx.Node] = field(default_factory=dict)  # in the generated code
    bodies: dict[str, "BodyBuilder"] = field(default_factory=dict)  # of its nodes
    made: dict[str, Made] = field(default_factory=dict)
    twin: "BodyBuilder | None" = None  # this body in the repeat before, if the same flowed in
    origins: dict[str, str] = field(default_factory=dict)
    grids: dict[str, tuple[int, int]] = field(default_factory=dict)  # into position tables
    spoilt: bool = False  # a node is broken: an unread value is then no mistake
    left_out: list[str] = field(default_factory=list)  # nodes that `when` leaves out
    gone: set[str] = field(default_factory=set)  # those of them that have no input to stand for

    def below(self, name: str) -> str:
        """The path of a node of this body in the model."""
        return f"{self.path}.{name}" if self.path else name

    def add_input(self, name: str, value: Value, optional: bool = False) -> None:
        """Add an argument to the generated code; those without a default stand first."""
        problem = check_word(name)
        if problem:  # reported before with its place; no unchecked name gets into generated code
            raise ConfigError(problem)
        if optional:
            placeholder = self.graph.placeholder(name, default_value=None)
        else:
            with self._before_defaults():
                placeholder = self.graph.placeholder(name)
        self.inputs[name] = value.at(placeholder, value.made_by)
        self.results[name] = {"out": self.inputs[name]}

    def _before_defaults(self) -> Any:
        for node in self.graph.nodes:
            if node.args == (None,):
                return self.graph.inserting_before(node)
        return nullcontext()

    def enter(self, inputs: list[Input], previous: Value | None) -> dict[str, Value]:
        """Take what flows into a body: the first is `x`, the others keep their own names.

        Where a mapping leaves `x` out, the sibling before is offered as `x`. Returns the outer
        values by name.
        """
        given: dict[str, Value] = {}
        ports = [item.port for item in inputs if item.port is not None]
        if ports and len(ports) == len(inputs) and "x" not in ports and previous is not None:
            given["x"] = previous
        for item in inputs:
            if item.port is None:
                given["x" if "x" not in given else item.name] = item.value
        for item in inputs:
            if item.port == "x":
                given["x"] = item.value
        for item in inputs:
            if item.port is not None:
                given[item.name] = item.value
        for name, value in given.items():
            self.add_input(name, value, optional=value.tensor is None)
        self.previous = next(iter(self.inputs.values()), None)
        return given

    def read(self, reference: str) -> Value | None:
        """The value of `node` or `node.port`; None where there is none."""
        name, _, port = reference.partition(".")
        outputs = self.results.get(name)
        if outputs is None:
            return None
        if port:
            return outputs.get(port)
        return next(iter(outputs.values()))

    def references(self) -> list[str]:
        """All that `in:` may name here."""
        named = list(self.results)
        for name, ports in self.results.items():
            if len(ports) > 1:
                named += [f"{name}.{port}" for port in ports]
        return named

    def view(self, name: str) -> Mapping[str, Any] | None:
        """A node for expressions: its shape, its axes, its arguments."""
        outputs = self.results.get(name)
        if outputs is None:
            return None
        value = next(iter(outputs.values()))
        return {**self.arguments.get(name, {}), **value.axes, "shape": value.shape}
