"""Whether padding changes what a network says: each sequence of a padded batch is compared with
itself alone.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from blocks.graph import Graph
from blocks.graph.record.module import Scan
from blocks.graph.run.inspect import evaluation_mode
from tasks.learn.causality import FELT, opened

Batch = dict[str, Tensor]
Found = list[tuple[str, Tensor]]  # what nodes gave, by path, in the order of computation


@dataclass(frozen=True)
class Mixing:
    """A sequence whose logits depend on the padding behind it.

    Args:
        row: its number in the batch.
        difference: the largest difference, as a share of the largest logit.
        node: path of the first node that gives something else at the real tokens; None where no
            single node does.
    """

    row: int
    difference: float
    node: str | None


def find_mixing(
    network: nn.Module,
    said: Callable[[Batch], Tensor],
    batch: Batch,
    narrow: Callable[[Batch], Batch],
) -> Mixing | None:
    """The first sequence of a batch that is answered differently alone.

    The network, its modes and the state of random numbers are then as before.

    Args:
        network: the one that `said` runs.
        said: logits of a batch, (rows, ...).
        batch: sequences of several lengths, padded behind.
        narrow: takes away padding that all rows of a batch have.
    """
    rows = len(next(iter(batch.values())))
    with torch.random.fork_rng(devices=[]), evaluation_mode(network), opened(network):
        beside = observe(network, said, batch)
        for row in range(rows):
            alone = observe(
                network, said, narrow({name: value[row : row + 1] for name, value in batch.items()})
            )
            difference = compare(beside[-1][1][row : row + 1], alone[-1][1])
            if difference > FELT:
                return Mixing(row, difference, first_to_differ(beside[:-1], alone[:-1], row, rows))
    return None


def observe(network: nn.Module, said: Callable[[Batch], Tensor], batch: Batch) -> Found:
    """What each node gives to a batch, and at the end the logits."""
    found: Found = []

    def keep(path: str, module: nn.Module, given: tuple, result: Any) -> None:
        value = result[0] if isinstance(result, tuple) else result
        if isinstance(value, Tensor):
            found.append((path, value))

    with ExitStack() as stack:
        for path, module in nodes_of(network):
            stack.callback(module.register_forward_hook(partial(keep, path)).remove)
        logits = said(batch)
    return [*found, ("logits", logits)]


def nodes_of(network: nn.Module, path: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Every node of a graph and of the bodies in it; a `scan` is one node, as its steps differ in
    number.
    """
    if isinstance(network, Graph) and not isinstance(network, Scan):
        for name, child in network.named_children():
            below = f"{path}.{name}" if path else name
            yield below, child
            yield from nodes_of(child, below)


def first_to_differ(beside: Found, alone: Found, row: int, rows: int) -> str | None:
    """Path of the first node whose result at the real tokens of a row is another."""
    for (path, padded), (_, single) in zip(beside, alone, strict=False):
        if len(padded) == rows and compare(padded[row : row + 1], single) > FELT:
            return path
    return None


def compare(padded: Tensor, alone: Tensor) -> float:
    """The largest difference where both have entries, as a share of the largest: padding stands
    behind.

    What is not finite without padding tells nothing of it: 0.
    """
    if padded.dim() != alone.dim() or not alone.is_floating_point() or not alone.numel():
        return 0.0
    common = tuple(map(slice, map(min, padded.shape, alone.shape)))
    alone, padded = alone[common], padded[common]
    if not alone.isfinite().all():
        return 0.0
    largest = float(alone.abs().max())
    difference = float((padded - alone).abs().nan_to_num(torch.inf).max())
    return difference / largest if largest else difference


def origin_of(network: nn.Module, path: str) -> str:
    """Where the node at a path is written in YAML."""
    module, origin = network, ""
    for name in path.split("."):
        meta: Mapping[str, Any] = getattr(module, "meta", {})
        origin = meta.get("origins", {}).get(name, origin)
        module = module.get_submodule(name)
    return origin
