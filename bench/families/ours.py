"""Our side of every family."""

from collections.abc import Mapping
from typing import Any

from blocks.graph import build, compose, plan
from blocks.graph.describe.cost import multiply_adds
from blocks.graph.record.module import Graph
from tasks.process import runtime


def built(model: str, overrides: list[str], facts: Mapping[str, Any]) -> Graph:
    """The model as `train.py` builds it, in a process that keeps freed memory as that of
    `train.py`.
    """
    runtime.keep_memory()
    network = build(model, overrides, facts)
    runtime.prepare_network(network, {})
    return network


def macs(model: str, overrides: list[str], facts: Mapping[str, Any]) -> int:
    """Multiply-adds of the forward pass of one sample."""
    words = [
        f"{text[0]}model.{text[1:]}" if text[0] in "+~" else f"model.{text}" for text in overrides
    ]
    return multiply_adds(plan(compose([f"model={model}", *words]), facts))
