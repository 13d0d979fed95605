"""Activation checkpointing: a repeated body keeps its inputs only, and is recomputed in the
backward pass.

Chen et al. 2016, arXiv:1604.06174. Both computations are equal: random numbers, and statistics that
a block keeps, are as they were the first time.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from blocks.graph.record.module import Graph, Scan, WrappedGraph
from blocks.graph.run.replace import convert, replace_modules


def find_repeats(model: nn.Module) -> dict[str, nn.Module]:
    """Return the innermost repeated bodies of a network by path, a shared one once.

    Together they make up most of a network. Each is recomputed, gathered from shards or split as a
    whole. The body of a scan is not among them: it runs at each step.
    """
    found: dict[str, nn.Module] = {}
    _collect_repeats(model, "", found)
    return found


def _collect_repeats(module: nn.Module, path: str, found: dict[str, nn.Module]) -> bool:
    """Add the repeats below a module, and return whether there are any."""
    if isinstance(module, Scan) or not isinstance(module, Graph):
        return False
    repeated = "repeat" in module.meta
    any_repeat = False
    for name, child in module.named_children():
        below = f"{path}.{name}" if path else name
        inside = _collect_repeats(child, below, found)
        if repeated and not inside and child not in found.values():
            found[below] = child
        any_repeat |= inside or repeated
    return any_repeat


def use_activation_checkpointing(model: nn.Module) -> int:
    """Let each repeated body of a network recompute its activations in the backward pass.

    Names of parameters stay. Nothing is recomputed in evaluation, or without gradients.

    Returns:
        The number of bodies.
    """
    found = find_repeats(model)
    repeats = set(found.values())

    def wrap(module: nn.Module) -> nn.Module:
        if module not in repeats or not isinstance(module, Graph):
            return module
        kind = type(RecomputedGraph(module, module.graph, RecomputedGraph.__name__))
        return convert(module, kind)

    replace_modules(model, wrap)
    return len(found)


class RecomputedGraph(WrappedGraph):
    """A body that keeps its inputs only in training, and runs again in the backward pass."""

    def forward(self, *inputs: Any, **named: Any) -> Any:
        run = partial(type(self)._generated, self)
        if not (self.training and torch.is_grad_enabled()):
            return run(*inputs, **named)
        # The compiler turns buffers into values, and accepts no context of ours.
        if torch.compiler.is_compiling():
            return checkpoint(run, *inputs, use_reentrant=False, **named)
        contexts = partial(_make_contexts, self)
        return checkpoint(run, *inputs, use_reentrant=False, context_fn=contexts, **named)


def _make_contexts(
    module: nn.Module,
) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    return nullcontext(), _recomputing(module)


@contextmanager
def _recomputing(module: nn.Module) -> Iterator[None]:
    """Recompute on copies of what the first computation changed: running statistics and auxiliary
    losses.
    """
    parts = list(module.modules())
    buffers = [(part, dict(part._buffers)) for part in parts if part._buffers]
    losses = [(part, part.auxiliary_loss) for part in parts if hasattr(part, "auxiliary_loss")]
    for part, original in buffers:
        for name, value in original.items():
            if value is not None:
                part._buffers[name] = value.clone()
    try:
        yield
    finally:
        for part, original in buffers:
            part._buffers.update(original)
        for part, loss in losses:
            part.auxiliary_loss = loss
