"""A place in a model: what is written there, what flows in, which names are in reach."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from blocks.graph.assemble.body_builder import BodyBuilder, Input, Made, NodeSpec, Path
from blocks.graph.errors import NodeError, Problem
from blocks.graph.language.scope import Scope, Text, read_number
from blocks.graph.language.words import check_words
from blocks.graph.record.value import Value

Outputs = dict[str, Value]
INDEXED = re.compile(r"(\w+)\[(.+)\]", re.DOTALL)  # encoder[layer.index]


@dataclass(frozen=True)
class NodeContext:
    """Where a node is built.

    Args:
        builder: the body around it.
        name: its name there.
        spec: what is written there.
        inputs: what `in` says.
        previous: the sibling before, for a first port that a mapping leaves out.
        wanted: ports of it that its siblings read by `node.port`.
        twin: what was built here in the repeat before.
    """

    builder: BodyBuilder
    name: str
    spec: NodeSpec
    inputs: list[Input]
    previous: Value | None
    wanted: tuple[str, ...] = ()
    twin: Made | None = None

    @property
    def raw(self) -> Mapping[str, Any]:
        return self.spec.raw

    @property
    def path(self) -> Path:
        return self.spec.path

    @property
    def scope(self) -> Scope:
        return self.spec.scope

    @property
    def display(self) -> str:
        """The node's path in the model, "layers.0.attention"."""
        return self.builder.below(self.name)

    def without(self, *words: str) -> dict[str, Any]:
        """What is written here but for some words."""
        return {key: value for key, value in self.raw.items() if key not in words}

    def enter(self, builder: BodyBuilder) -> dict[str, Value]:
        """Take the inputs into the body `builder`: the first is `x`, the others keep the names they
        were read by.

        Raises:
            NodeError: a name that a body cannot have, or the same name twice.
        """
        names = [item.name for item in self.inputs]
        for index, item in enumerate(self.inputs):
            if item.port is None:
                names[index] = "x"
                break
        if problem := check_words(names, "an input"):
            raise NodeError(replace(problem, fix="name it yourself: in: {name: NODE}"))
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            problem = Problem(
                f"two inputs of a body are called {twice!r}",
                fix="name them: in: {x: a, name: b}",
                code="name-taken",
            )
            raise NodeError(problem)
        return builder.enter(self.inputs, self.previous)

    def broken(self, *ports: str) -> Outputs:
        """What a node gives that could not be built; its readers report nothing again."""
        outputs = {"out": broken(self.name)}
        for port in (*self.wanted, *ports):
            if port:
                outputs[port] = broken(self.name)
        return outputs


class PartContext(NodeContext):
    """A part of a block that is written as a body: what the block gives has its names in order."""

    def enter(self, builder: BodyBuilder) -> dict[str, Value]:
        for item in self.inputs:
            builder.add_input(item.name, item.value)
        builder.previous = next(iter(builder.inputs.values()), None)
        return {item.name: item.value for item in self.inputs}


class Without(Mapping[str, Any]):
    """The names around a param that is being read: `dim: dim` means the outer one."""

    def __init__(self, near: Mapping[str, Any], far: Mapping[str, Any], name: str):
        self.near, self.far, self.name = near, far, name

    def __getitem__(self, key: str) -> Any:
        if key in self.near and key != self.name:
            return self.near[key]
        return self.far[key]

    def __iter__(self) -> Iterator[str]:
        keys = dict.fromkeys([*self.near, *self.far])
        if self.name not in self.far:
            keys.pop(self.name, None)
        return iter(keys)

    def __len__(self) -> int:
        return sum(1 for _ in self)


class Later:
    """A template's argument for `node.argument`: read when asked for."""

    def __init__(self, text: Text):
        self.text = text

    def __call__(self) -> Any:
        return read_number(self.text)


def broken(name: str) -> Value:
    """The value of a node that could not be built."""
    return Value(None, (), None, name, broken=True)


def mentions(raw: Any) -> list[str]:
    """Every reference in a node's `in`; `node[index]` may mean any repeat, as `node.*` does."""
    flow = raw.get("in") if isinstance(raw, Mapping) else None
    found: list[Any] = []
    if isinstance(flow, str):
        found = [flow]
    elif isinstance(flow, Mapping):
        found = list(flow.values())
    elif isinstance(flow, list):
        found = flow
    return [INDEXED.sub(r"\1.*", str(reference)) for reference in found]
