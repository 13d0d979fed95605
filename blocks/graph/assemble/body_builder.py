"""A body under construction: its values, and the names by which nodes reach them."""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

from torch import fx, nn

from blocks.graph.errors import ConfigError
from blocks.graph.language.words import check_word
from blocks.graph.record.record import Node
from blocks.graph.record.value import Value


@dataclass(frozen=True)
class Input:
    """One thing that flows into a node: the port it was given for, if any, the name it was read by,
    and the wire.
    """

    port: str | None
    name: str
    value: Value


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
    origins: dict[str, str] = field(default_factory=dict)
    grids: dict[str, tuple[int, int]] = field(
        default_factory=dict
    )  # of what flows into nodes with position tables
    spoilt: bool = False  # a node is broken: an unread wire is then no mistake
    left_out: list[str] = field(default_factory=list)  # nodes that `when` leaves out
    gone: set[str] = field(default_factory=set)  # those of them that have no input to stand for

    def below(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name

    def add_input(self, name: str, wire: Value, optional: bool = False) -> None:
        problem = check_word(name)
        # it is told with its place before; here no name of a stranger's gets into generated code
        if problem:
            raise ConfigError([problem])
        default = {"default_value": None} if optional else {}
        later = (
            None
            if optional
            else next((node for node in self.graph.nodes if node.args == (None,)), None)
        )
        with (
            self.graph.inserting_before(later) if later is not None else nullcontext()
        ):  # what is needed stands first
            placeholder = self.graph.placeholder(name, **default)
        self.inputs[name] = replace(wire, node=placeholder)
        self.results[name] = {"out": self.inputs[name]}

    def enter(self, inputs: list[Input], previous: Value | None) -> dict[str, Value]:
        """Take what flows into a body: the first is `x`, the others bear their own names.

        Where a mapping leaves `x` out, the sibling before is offered as `x`. Returns the outer
        wires by name.
        """
        given: dict[str, Value] = {}
        positional = [item for item in inputs if item.port is None]
        named = sorted(
            (item for item in inputs if item.port is not None), key=lambda item: item.port != "x"
        )
        if positional:
            given["x"] = positional[0].value
            given.update({item.name: item.value for item in positional[1:]})
        elif named and named[0].port != "x" and previous is not None:
            given["x"] = previous
        given.update({item.name: item.value for item in named})
        for name, wire in given.items():
            self.add_input(name, wire, optional=wire.tensor is None)
        self.previous = next(iter(self.inputs.values()), None)
        return given

    def read(self, reference: str) -> Value | None:
        """The wire that `node` or `node.port` stands for; None where there is none."""
        name, _, port = reference.partition(".")
        outputs = self.results.get(name)
        if outputs is None:
            return None
        return outputs.get(port) if port else next(iter(outputs.values()))

    def references(self) -> list[str]:
        """All that `in:` may say here."""
        named = list(self.results)
        return named + [
            f"{name}.{port}"
            for name, ports in self.results.items()
            if len(ports) > 1
            for port in ports
        ]

    def view(self, name: str) -> Mapping[str, Any] | None:
        """A node for expressions: its shape, its axes, its arguments."""
        outputs = self.results.get(name)
        if outputs is None:
            return None
        wire = next(iter(outputs.values()))
        return {**self.arguments.get(name, {}), **wire.axes, "shape": wire.shape}
