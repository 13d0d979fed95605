"""The record of a built objective: its terms, its metrics, and where each input comes from."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from blocks.graph.record.record import Built
from blocks.graph.record.value import Value

Path = tuple[Any, ...]


@dataclass(frozen=True)
class Source:
    """Where an input of an objective comes from.

    Args:
        owner: "model", "teacher" or "batch".
        name: of an output, of an entry of the batch, or the path of a node.
        inner: whether it is a node, not an output.
    """

    owner: str
    name: str
    inner: bool = False


@dataclass(frozen=True)
class Metric:
    """A metric over values of an objective.

    Args:
        spec: as it is written, without its inputs.
        inputs: names of outputs of the objective, in order.
        values: what flows in.
        path: where it is written.
    """

    spec: Mapping[str, Any]
    inputs: tuple[str, ...]
    values: tuple[Value, ...]
    path: Path


@dataclass(frozen=True)
class BuiltObjective:
    """A built objective.

    Args:
        built: its graph, on the meta device.
        sources: input of the graph -> where it comes from.
        weights: term -> factor in the sum.
        metrics: by name.
    """

    built: Built
    sources: dict[str, Source]
    weights: dict[str, float]
    metrics: dict[str, Metric]
