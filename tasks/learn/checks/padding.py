"""Whether padding changes the logits of a network, measured: each sequence of a padded batch is
compared with itself alone.
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
from tasks.learn.checks.causality import TOLERANCE, open_branches

Batch = dict[str, Tensor]
Outputs = list[tuple[str, Tensor]]  # of nodes by path, in the order of computation


@dataclass(frozen=True)
class Mixing:
    """A sequence whose logits depend on the padding behind it.

    Args:
        row: of the batch.
        difference: the largest difference, as a share of the largest logit.
        node: path of the first node whose output at the real tokens differs; None where no single
            node does.
    """

    row: int
    difference: float
    node: str | None


def find_mixing(
    network: nn.Module,
    logits_of: Callable[[Batch], Tensor],
    batch: Batch,
    narrow: Callable[[Batch], Batch],
) -> Mixing | None:
    """Return the first sequence of a batch whose logits differ alone.

    The network, its modes and the random state are then as before.

    Args:
        network: the one that `logits_of` runs.
        logits_of: gives logits of a batch, (rows, ...).
        batch: sequences of several lengths, padded behind.
        narrow: removes padding that all rows of a batch have.
    """
    rows = len(next(iter(batch.values())))
    with torch.random.fork_rng(devices=[]), evaluation_mode(network), open_branches(network):
        padded = record_outputs(network, logits_of, batch)
        for row in range(rows):
            single = {name: value[row : row + 1] for name, value in batch.items()}
            alone = record_outputs(network, logits_of, narrow(single))
            difference = relative_difference(padded[-1][1][row : row + 1], alone[-1][1])
            if difference > TOLERANCE:
                node = find_first_difference(padded[:-1], alone[:-1], row, rows)
                return Mixing(row, difference, node)
    return None


def record_outputs(
    network: nn.Module, logits_of: Callable[[Batch], Tensor], batch: Batch
) -> Outputs:
    """Return the output of each node for a batch, and at the end the logits."""
    outputs: Outputs = []

    def record(path: str, module: nn.Module, inputs: tuple, output: Any) -> None:
        if isinstance(output, tuple):
            output = output[0]
        if isinstance(output, Tensor):
            outputs.append((path, output))

    with ExitStack() as stack:
        for path, module in iterate_nodes(network):
            stack.callback(module.register_forward_hook(partial(record, path)).remove)
        logits = logits_of(batch)
    return [*outputs, ("logits", logits)]


def iterate_nodes(network: nn.Module, path: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Yield every node of a graph and of its bodies, by path; a `scan` is one node, as the number
    of its steps differs.
    """
    if isinstance(network, Graph) and not isinstance(network, Scan):
        for name, child in network.named_children():
            child_path = f"{path}.{name}" if path else name
            yield child_path, child
            yield from iterate_nodes(child, child_path)


def find_first_difference(padded: Outputs, alone: Outputs, row: int, rows: int) -> str | None:
    """Return the path of the first node whose output at the real tokens of a row differs."""
    for (path, batched), (_, single) in zip(padded, alone, strict=False):
        if len(batched) != rows:
            continue
        if relative_difference(batched[row : row + 1], single) > TOLERANCE:
            return path
    return None


def relative_difference(padded: Tensor, alone: Tensor) -> float:
    """Return the largest difference where both have entries, as a share of the largest entry.

    Padding follows the entries. Where `alone` is not finite nothing can be said: 0.
    """
    if padded.dim() != alone.dim() or not alone.is_floating_point() or not alone.numel():
        return 0.0
    common = tuple(map(slice, map(min, padded.shape, alone.shape)))
    alone, padded = alone[common], padded[common]
    if not alone.isfinite().all():
        return 0.0
    largest = float(alone.abs().max())
    difference = float((padded - alone).abs().nan_to_num(torch.inf).max())
    if not largest:
        return difference
    return difference / largest


def find_origin(network: nn.Module, path: str) -> str:
    """Return where the node at a path is written in YAML."""
    module, origin = network, ""
    for name in path.split("."):
        meta: Mapping[str, Any] = getattr(module, "meta", {})
        origin = meta.get("origins", {}).get(name, origin)
        module = module.get_submodule(name)
    return origin
