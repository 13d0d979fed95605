"""The entries of a model: parts of it that are called alone, with its weights."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from torch import Tensor, fx, nn

from blocks.graph.errors import ConfigError, Problem, did_you_mean
from blocks.graph.record.module import Graph
from blocks.graph.record.part import Entry, find_place, value_at
from blocks.graph.record.record import Built
from blocks.graph.record.value import Value, show_size

Axes = tuple[tuple[str | None, int], ...]
WIDTHS = ("dim", "channels", "features")  # sizes that the weights have


def open_entry(model: nn.Module, name: str) -> Graph:
    """Return an entry of a model as a module, which shares the weights of the model.

    Args:
        model: composed in YAML.
        name: of the entry, a key of `entries`.

    Raises:
        ConfigError: the model has no such entry.
    """
    entry = find_entry(model, name)
    _, network = entry.cut(model, {})  # type: ignore[arg-type]
    network.train(model.training)
    network.register_forward_pre_hook(partial(_check_inputs, name, entry), with_kwargs=True)
    return network


def open_cuts(model: nn.Module, name: str) -> Graph | None:
    """Return the part of a model that computes what an entry takes as inputs of its own, by name;
    None where it has none.

    Raises:
        ConfigError: the model has no such entry.
    """
    entry = find_entry(model, name)
    if not entry.inputs:
        return None
    _, network = Entry({}, entry.inputs, named=True).cut(model, {})  # type: ignore[arg-type]
    return network.train(model.training)


def plan_entry(built: Built, name: str) -> Built:
    """Return the record of an entry.

    Raises:
        ConfigError: the model has no such entry.
    """
    entry = find_entry(built.model, name)
    values: dict[str, Value] = {}
    for cut, place in entry.inputs.items():
        values[cut] = value_at(built.model, built.model.graph, place, built.inputs)
    part, model = entry.cut(built.model, values)
    inputs: dict[str, Value] = {}
    for call in model.graph.find_nodes(op="placeholder"):
        known = values.get(str(call.target)) or built.inputs[str(call.target)]
        inputs[str(call.target)] = known.at(call, f"input {call.target}")
    outputs = dict(zip(model.output_names, part.outputs, strict=True))
    return replace(
        built, model=model, nodes=part.list_nodes(built.nodes), inputs=inputs, outputs=outputs
    )


def cut_at_node(model: Graph, path: str, name: str) -> Graph:
    """Return the part of a model that gives the first output of a node.

    Args:
        path: of the node, "layers.2".
        name: of the output.

    Raises:
        NodeError: there is no such node, or it is inside a block or a scan.
    """
    place = find_place(model, model.graph, path, path)
    return Entry({}, {name: place}, named=True).cut(model, {})[1]


def find_entry(model: nn.Module, name: str) -> Entry:
    """Return what an entry states.

    Raises:
        ConfigError: the model has no such entry.
    """
    entries: Mapping[str, Entry] = {}
    if isinstance(model, Graph):
        entries = model.meta.get("entries", {})
    if name in entries:
        return entries[name]
    fits = "a section `entries` in the model file: {encode: {outputs: encoder}}"
    if entries:
        fits = did_you_mean(name, entries)
    raise ConfigError(
        Problem(f"the model has no entry {name!r}", "entries", fits=fits, code="unknown-name")
    )


def _check_inputs(
    name: str, entry: Entry, network: Any, given: tuple, named: Mapping[str, Any]
) -> None:
    """Raise ConfigError where an input is missing, with what reads it, or has another shape."""
    found = {**dict(zip(network.input_names, given, strict=False)), **named}
    for cut, axes in entry.axes.items():
        if isinstance(found.get(cut), Tensor) and not _fits(found[cut], axes):
            raise ConfigError(
                Problem(
                    f"the input {cut!r} of the entry {name!r} does not fit",
                    f"entries.{name}",
                    got=f"{cut} {tuple(found[cut].shape)}",
                    fits=f"({', '.join(_show_axis(*axis) for axis in axes)})",
                    code="shape-mismatch",
                )
            )
    for call in list(network.graph.find_nodes(op="placeholder"))[len(given) :]:
        if call.args or call.target in named:
            continue
        known = [*network.input_names[: len(given)], *named]
        between = " -> ".join(_find_way(call))
        raise ConfigError(
            Problem(
                f"the entry {name!r} needs the input {call.target!r}",
                f"entries.{name}",
                got=", ".join(known) or "no input",
                fits=", ".join(network.input_names),
                fix=f"give it, or cut what lies between: {between}",
                code="wrong-inputs",
            )
        )


def _fits(tensor: Tensor, axes: Axes) -> bool:
    """Whether a tensor has the axes, and the widths among them their sizes."""
    if tensor.dim() != len(axes):
        return False
    pairs = zip(axes, tensor.shape, strict=True)
    return all(name not in WIDTHS or size == found for (name, size), found in pairs)


def _show_axis(name: str | None, size: int) -> str:
    if name in WIDTHS:
        return f"{name}={size}"
    return name or show_size(size)


def _find_way(start: fx.Node) -> list[str]:
    """The shortest way from an input to an output, by the names of the nodes."""
    before: dict[fx.Node, fx.Node] = {}
    waiting = [start]
    for call in waiting:
        for user in call.users:
            if user not in before:
                before[user] = call
                waiting.append(user)
    way: list[str] = []
    call = waiting[-1].graph.output_node()
    while call in before:
        call = before[call]
        if call.op != "call_function":
            way.insert(0, str(call.name))
    return way
