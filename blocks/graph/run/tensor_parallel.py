"""How a network is divided among devices: which linear layers share out their outputs, and which
their inputs.

Blocks say it of themselves (`blocks.support.division`). Of the linear layers of a body the graph
tells: where nothing but pointwise blocks lies between some layers and a later one, as in an MLP,
each device has a share of the width between. All else stays whole on every device.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, fx, nn

from blocks.catalog import is_pointwise
from blocks.errors import BlockError, must_divide
from blocks.graph.errors import ConfigError, Problem
from blocks.graph.record.module import Graph
from blocks.graph.run.onednn import Linear

WHOLE = "trainer=fsdp cuts every network into shards"


@dataclass(frozen=True)
class Columns:
    """A linear layer whose outputs are shared out: `parts` that lie side by side, each by
    itself.
    """

    parts: tuple[int, ...]

    def order(self, devices: int) -> Tensor:
        """The rows of the weight in the order of the devices: what the first one has, then what the
        second has.
        """
        pieces = [
            part.chunk(devices) for part in torch.arange(sum(self.parts)).split(list(self.parts))
        ]
        return torch.cat([part[device] for device in range(devices) for part in pieces])


@dataclass(frozen=True)
class Rows:
    """A linear layer whose inputs are shared out, and whose outputs are summed over the devices."""


@dataclass
class Divided:
    """What is shared out, by path.

    Args:
        layers: linear layers.
        counts: attributes of blocks that are divided by the number of devices.
    """

    layers: dict[str, Columns | Rows] = field(default_factory=dict)
    counts: dict[str, tuple[str, ...]] = field(default_factory=dict)


def divide(model: Graph, devices: int) -> Divided:
    """How `model` works on so many devices, each with a share of its attention and of its MLPs.

    Raises:
        ConfigError: a block cannot be divided by so many; nothing in the network can be divided.
    """
    found, problems = Divided(), []
    alone = _alone(model)
    for path, graph in _graphs(model):
        for columns, row in _chains(graph, alone):
            try:
                _share_chain(found, path, graph, columns, row, devices)
            except BlockError as error:
                problems.append(
                    _told(error, _join(path, columns[0]), graph.meta["origins"].get(columns[0]))
                )
    for path, origin, module in _calls(model):
        if hasattr(module, "division") and path not in found.counts:
            try:
                _share_block(found, path, module, devices)
            except BlockError as error:
                problems.append(_told(error, path, origin))
    if problems:
        raise ConfigError(problems)
    if not found.layers:
        fits = "a network with attention or MLPs in its graph"
        raise ConfigError(
            [Problem("nothing in this network can be divided", path="model", fits=fits, fix=WHOLE)]
        )
    return found


def _share_block(found: Divided, path: str, module: nn.Module, devices: int) -> None:
    division = module.division(devices)  # type: ignore[operator]
    found.layers.update(
        {_join(path, name): Columns(parts) for name, parts in division.columns.items()}
    )
    found.layers.update({_join(path, name): Rows() for name in division.rows})
    found.counts[path] = division.counts


def _share_chain(
    found: Divided, path: str, graph: Graph, columns: list[str], row: str, devices: int
) -> None:
    width = graph.get_submodule(row).in_features
    must_divide("devices", devices, "features", width)  # type: ignore[arg-type]
    found.layers.update({_join(path, name): Columns((width,)) for name in columns})  # type: ignore[arg-type]
    found.layers[_join(path, row)] = Rows()


def _chains(graph: Graph, alone: set[int]) -> Iterator[tuple[list[str], str]]:
    """(first layers, last layer) wherever only pointwise blocks lie between.

    Args:
        alone: which layers may be among them.
    """
    for node in graph.graph.nodes:
        if not _is_linear(graph, node, alone):
            continue
        first: list[fx.Node] = []
        between = {node}
        waiting = list(node.all_input_nodes)
        while waiting:
            back = waiting.pop()
            if back in between or back in first:
                continue
            if _is_linear(graph, back, alone):
                first.append(back)
            elif back.op == "call_module" and is_pointwise(graph.get_submodule(str(back.target))):
                between.add(back)
                waiting += back.all_input_nodes
            else:
                break
        else:
            inside = all(set(each.users) <= between for each in (*first, *(between - {node})))
            if first and inside:
                yield [str(each.target) for each in reversed(first)], str(node.target)


def _is_linear(graph: Graph, node: fx.Node, alone: set[int]) -> bool:
    return node.op == "call_module" and id(graph.get_submodule(str(node.target))) in alone


def _alone(model: Graph) -> set[int]:
    """Linear layers, by identity, that are called at one place, with weights that nobody else
    has.
    """
    calls = Counter(id(module) for _, _, module in _calls(model))
    owners = Counter(
        id(parameter) for _, parameter in model.named_parameters(remove_duplicate=False)
    )
    linear = (module for module in model.modules() if type(module) in (nn.Linear, Linear))
    return {id(layer) for layer in linear if calls[id(layer)] == owners[id(layer.weight)] == 1}


def _graphs(graph: Graph, path: str = "") -> Iterator[tuple[str, Graph]]:
    """Every body by path, each once."""
    for name, module in (
        (name, module) for name, module in graph.named_modules() if isinstance(module, Graph)
    ):
        yield _join(path, name), module


def _calls(model: Graph) -> Iterator[tuple[str, str | None, nn.Module]]:
    """Every call of a block in some body: path, place in YAML, block."""
    for path, graph in _graphs(model):
        for node in graph.graph.nodes:
            if node.op == "call_module":
                module = graph.get_submodule(str(node.target))
                name = str(node.target)
                yield (
                    _join(path, name),
                    graph.meta["origins"].get(node.meta.get("node", name)),
                    module,
                )


def _told(error: BlockError, path: str, origin: str | None) -> Problem:
    number = (
        "sizes that trainer.tensor_parallel_size divides; "
        if "devices=" in (error.got or "")
        else ""
    )
    problem = f"this cannot be divided among the devices: {error.problem}"
    return Problem(
        problem, origin, f"graph.{path}", got=error.got, fits=error.fits, fix=number + WHOLE
    )


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path and name else path or name
