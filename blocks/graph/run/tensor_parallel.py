"""Tensor parallelism: which linear layers of a network split their outputs among devices, and which
their inputs.

A block declares how it is split (`blocks.support.tensor_parallel`). For the linear layers of a body
the graph decides: where only pointwise blocks are between some layers and a later one, as in an
MLP, each device computes a share of the width between. Everything else is whole on every device.
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

SHARDED = "trainer=fsdp cuts every network into shards"


@dataclass(frozen=True)
class Columns:
    """A linear layer whose outputs are split among the devices: each of its adjacent `parts` by
    itself.
    """

    parts: tuple[int, ...]

    def order(self, devices: int) -> Tensor:
        """Return the rows of the weight in the order of the devices: those of the first device,
        then those of the second.
        """
        rows = torch.arange(sum(self.parts)).split(list(self.parts))
        pieces = [part.chunk(devices) for part in rows]
        return torch.cat([part[device] for device in range(devices) for part in pieces])


@dataclass(frozen=True)
class Rows:
    """A linear layer whose inputs are split, and whose outputs are summed over the devices."""


@dataclass
class TensorParallelPlan:
    """What is split, by path.

    Args:
        layers: linear layers.
        counts: attributes of blocks that are divided by the number of devices.
    """

    layers: dict[str, Columns | Rows] = field(default_factory=dict)
    counts: dict[str, tuple[str, ...]] = field(default_factory=dict)


def plan_tensor_parallel(model: Graph, devices: int) -> TensorParallelPlan:
    """Plan which layers of `model` each of `devices` devices computes a share of.

    Raises:
        ConfigError: a block cannot be split among so many devices, or nothing in the network can.
    """
    plan = TensorParallelPlan()
    problems = []
    layers = _find_independent_layers(model)
    for path, graph in _walk_graphs(model):
        for columns, row in _find_chains(graph, layers):
            try:
                _split_chain(plan, path, graph, columns=columns, row=row, devices=devices)
            except BlockError as error:
                origin = graph.meta["origins"].get(columns[0])
                problems.append(_make_problem(error, _join(path, columns[0]), origin))
    for path, origin, module in _walk_calls(model):
        if hasattr(module, "division") and path not in plan.counts:
            try:
                _split_block(plan, path, module, devices)
            except BlockError as error:
                problems.append(_make_problem(error, path, origin))
    if not problems and not plan.layers:
        problems.append(
            Problem(
                "nothing in this network can be divided",
                path="model",
                fits="a network with attention or MLPs in its graph",
                fix=SHARDED,
                code="unsupported",
            )
        )
    if problems:
        raise ConfigError(problems)
    return plan


def _split_block(plan: TensorParallelPlan, path: str, module: nn.Module, devices: int) -> None:
    split = module.division(devices)  # type: ignore[operator]
    for name, parts in split.columns.items():
        plan.layers[_join(path, name)] = Columns(parts)
    for name in split.rows:
        plan.layers[_join(path, name)] = Rows()
    plan.counts[path] = split.counts


def _split_chain(
    plan: TensorParallelPlan,
    path: str,
    graph: Graph,
    *,
    columns: list[str],
    row: str,
    devices: int,
) -> None:
    width = int(graph.get_submodule(row).in_features)  # type: ignore[arg-type]
    must_divide("devices", devices, "features", width)
    for name in columns:
        plan.layers[_join(path, name)] = Columns((width,))
    plan.layers[_join(path, row)] = Rows()


def _find_chains(graph: Graph, layers: set[int]) -> Iterator[tuple[list[str], str]]:
    """Yield (first layers, last layer) wherever only pointwise blocks are between.

    Args:
        graph: a body.
        layers: identities of the linear layers that may be split.
    """
    for last in graph.graph.nodes:
        if not _is_linear(graph, last, layers):
            continue
        first: list[fx.Node] = []
        between = {last}
        waiting = list(last.all_input_nodes)
        while waiting:
            node = waiting.pop()
            if node in between or node in first:
                continue
            if _is_linear(graph, node, layers):
                first.append(node)
            elif node.op == "call_module" and is_pointwise(graph.get_submodule(str(node.target))):
                between.add(node)
                waiting += node.all_input_nodes
            else:
                break
        else:
            inner = (*first, *(between - {last}))
            if first and all(set(node.users) <= between for node in inner):
                yield [str(node.target) for node in reversed(first)], str(last.target)


def _is_linear(graph: Graph, node: fx.Node, layers: set[int]) -> bool:
    return node.op == "call_module" and id(graph.get_submodule(str(node.target))) in layers


def _find_independent_layers(model: Graph) -> set[int]:
    """Return the identities of the linear layers that are called once, with weights of their
    own.
    """
    calls = Counter(id(module) for _, _, module in _walk_calls(model))
    owners: Counter[int] = Counter()
    for _, parameter in model.named_parameters(remove_duplicate=False):
        owners[id(parameter)] += 1
    linear = (module for module in model.modules() if type(module) in (nn.Linear, Linear))
    return {id(layer) for layer in linear if calls[id(layer)] == owners[id(layer.weight)] == 1}


def _walk_graphs(model: Graph) -> Iterator[tuple[str, Graph]]:
    """Yield every body by path, a shared one once."""
    for path, module in model.named_modules():
        if isinstance(module, Graph):
            yield path, module


def _walk_calls(model: Graph) -> Iterator[tuple[str, str | None, nn.Module]]:
    """Yield (path, origin, block) for every call of a block."""
    for path, graph in _walk_graphs(model):
        for node in graph.graph.nodes:
            if node.op == "call_module":
                name = str(node.target)
                origin = graph.meta["origins"].get(name)
                yield _join(path, name), origin, graph.get_submodule(name)


def _make_problem(error: BlockError, path: str, origin: str | None) -> Problem:
    fix = SHARDED
    if "devices=" in (error.got or ""):
        fix = f"sizes that trainer.tensor_parallel_size divides; {SHARDED}"
    return Problem(
        f"this cannot be divided among the devices: {error.problem}",
        origin,
        f"graph.{path}",
        got=error.got,
        fits=error.fits,
        fix=fix,
        code="unsupported",
    )


def _join(path: str, name: str) -> str:
    if path and name:
        return f"{path}.{name}"
    return path or name
