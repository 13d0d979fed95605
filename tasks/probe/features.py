"""The features of a node of a finished run, one vector for each sample."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blocks.graph import Graph, did_you_mean
from blocks.graph.record.module import Scan
from tasks.data.text.tokenizer import PAD
from tasks.errors import ArgumentError
from tasks.learn.node_outputs import NodeOutputs

POOLS = ("mean", "first", "all")
FEATURE_AXES = ("dim", "channels", "features")  # the axis that pooling keeps; otherwise the last


def walk_nodes(network: Graph) -> Iterator[Any]:
    """Yield the record of each node of a network, outer before inner."""
    seen = set()
    for call in network.graph.nodes:
        node = call.meta.get("node")
        if node is not None and id(node) not in seen:
            seen.add(id(node))
            yield from node.walk()


def find_default_node(network: Graph) -> str:
    """Return the path of the node that gives the output "embedding", or else of the one whose
    output the node of the first output takes: the pooled features before a head.
    """
    (output,) = network.graph.find_nodes(op="output")
    values = dict(zip(network.output_names, output.meta["inputs"], strict=True))
    if "embedding" in values:
        return values["embedding"].made_by
    head = next(iter(values.values())).made_by.partition(".")[0]
    for node in walk_nodes(network):
        if node.path == head and node.flow:
            return next(iter(node.flow.values())).made_by
    return head


class Features:
    """Runs a network, and returns a vector for each sample: the output of a node, pooled.

    Args:
        network: of a finished run.
        path: of the node.
        pool: mean: over all axes but the one of the features, without padding; first: the first
            token or cell; all: every value.

    Raises:
        ArgumentError: the network has no such node, or no features come out of it.
    """

    def __init__(self, network: Graph, path: str, pool: str = "mean"):
        known = [name for name, _ in network.named_modules() if name]
        if path not in known:
            raise ArgumentError(
                "node",
                "the network has no such node",
                got=path,
                fits=did_you_mean(path, known),
                fix="--node PATH, as `python -m blocks explain` prints it for this model",
                code="unknown-name",
            )
        scan = find_scan(network, path)
        if scan is not None:
            raise ArgumentError(
                "node",
                "a node inside a scan runs once for each step",
                got=path,
                fits=f"the scan itself: --node {scan}",
            )
        self.path, self.pool = path, pool
        self.names: tuple[str | None, ...] = ()
        for node in walk_nodes(network):
            if node.path == path and node.outputs:
                self.names = next(iter(node.outputs.values())).names
        self.outputs = NodeOutputs(network, [path])

    def run(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Return the features (batch, dim) of a batch."""
        with torch.no_grad():
            found = self.outputs.run(dict(batch)).get(self.path)
        if found is None or not isinstance(found, Tensor) or not found.is_floating_point():
            raise ArgumentError(
                "node", "this node gives no numbers that can be probed", got=self.path
            )
        return pool_features(found.float(), self.names, self.pool, find_mask(batch, found))


def pool_features(
    value: Tensor, names: tuple[str | None, ...], pool: str, mask: Tensor | None = None
) -> Tensor:
    """Return (batch, features) of an output of a node.

    Args:
        value: (batch, ...).
        names: of its axes, as far as they are known.
        pool: one of `POOLS`.
        mask: (batch, tokens), False where a token is padding.
    """
    if pool == "all" or value.dim() <= 2:
        return value.flatten(1)
    kept = value.dim() - 1
    for axis, name in enumerate(names):
        if name in FEATURE_AXES:
            kept = axis
    cells = value.movedim(kept, -1).flatten(1, -2)
    if pool == "first":
        return cells[:, 0]
    if mask is None:
        return cells.mean(1)
    weight = mask[..., None].to(cells.dtype)
    return (cells * weight).sum(1) / weight.sum(1).clamp_min(1)


def find_mask(batch: Mapping[str, Tensor], value: Tensor) -> Tensor | None:
    """Return the padding mask that has a value for each token of an output; None without one."""
    for entry in batch.values():
        if entry.dtype == torch.bool and value.dim() == 3 and entry.shape == value.shape[:2]:
            return entry
    return None


def read_inputs(batch: Mapping[str, Tensor], facts: Mapping[str, Any]) -> Tensor:
    """Return the raw inputs of a network as vectors (batch, values): numbers as they are, tokens by
    how often each is there.

    Args:
        batch: the inputs by name; masks are left out.
        facts: of the data, with the vocabulary of each input of tokens.
    """
    found = []
    for name, value in batch.items():
        if value.is_floating_point():
            found.append(value.flatten(1).float())
        elif value.dtype != torch.bool and "vocab" in facts.get(name, {}):
            counts = F.one_hot(value, facts[name]["vocab"]).sum(1)
            counts[:, PAD] = 0
            found.append(counts.float())
    return torch.cat(found, 1)


def find_scan(network: nn.Module, path: str) -> str | None:
    """Return the path of the innermost scan around a node; None where there is none."""
    parent = path.rpartition(".")[0]
    while parent:
        if isinstance(network.get_submodule(parent), Scan):
            return parent
        parent = parent.rpartition(".")[0]
    return None
