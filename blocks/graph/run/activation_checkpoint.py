"""Activation checkpointing: a repeat of the graph keeps its inputs alone, and is computed anew in
the backward pass.

Chen et al. 2016, arXiv:1604.06174. What is computed twice is the same twice: random numbers, and
statistics that a block keeps, are as they were the first time.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from blocks.graph.record.module import Graph, Scan


def repeats(model: nn.Module) -> dict[str, nn.Module]:
    """The innermost repeats of a network by path, a shared one once; none inside a scan, whose body
    runs at each step.

    They are the parts that are alike, and that one after another make up most of a network: what is
    computed anew, gathered from shards, or divided, as a whole.
    """
    found: dict[str, nn.Module] = {}
    _gather(model, "", found)
    return found


def _gather(module: nn.Module, path: str, found: dict[str, nn.Module]) -> bool:
    """Add the repeats below a module; whether there were any."""
    if isinstance(module, Scan) or not isinstance(module, Graph):
        return False
    some = False
    for name, child in module.named_children():
        below = f"{path}.{name}" if path else name
        inside = _gather(child, below, found)
        if (
            "repeat" in module.meta
            and not inside
            and all(child is not known for known in found.values())
        ):
            found[below] = child
        some |= inside or "repeat" in module.meta
    return some


def recompute(model: nn.Module) -> int:
    """Let each repeat of a network forget in training what the backward pass can compute anew; how
    many they are.

    Names of parameters stay. In evaluation, and where no gradient is asked for, nothing is computed
    twice. A copy or a pickle of the network does not recompute.
    """
    found = repeats(model)
    for module in found.values():
        module.forward = partial(_forward, module)
    return len(found)


def _forward(module: nn.Module, *inputs: Any, **named: Any) -> Any:
    run = partial(type(module).forward, module)
    if not (module.training and torch.is_grad_enabled()):
        return run(*inputs, **named)
    if (
        torch.compiler.is_compiling()
    ):  # which makes functions of buffers, and takes no contexts of ours
        return checkpoint(run, *inputs, use_reentrant=False, **named)
    return checkpoint(
        run, *inputs, use_reentrant=False, context_fn=partial(_contexts, module), **named
    )


def _contexts(
    module: nn.Module,
) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    return nullcontext(), _again(module)


@contextmanager
def _again(module: nn.Module) -> Iterator[None]:
    """Compute the second time on copies of what the first time moved: running statistics and a loss
    that was left.
    """
    parts = list(module.modules())
    buffers = [(part, dict(part._buffers)) for part in parts if part._buffers]
    losses = [(part, part.auxiliary_loss) for part in parts if hasattr(part, "auxiliary_loss")]
    for part, held in buffers:
        part._buffers.update(
            {name: None if value is None else value.clone() for name, value in held.items()}
        )
    try:
        yield
    finally:
        for part, held in buffers:
            part._buffers.update(held)
        for part, loss in losses:
            part.auxiliary_loss = loss
