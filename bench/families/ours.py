"""Our side of every family."""

from collections.abc import Mapping
from typing import Any

from blocks.graph import build, compose, plan
from blocks.graph.cost import multiply_adds
from blocks.graph.module import Graph
from tasks import machine


def built(model: str, overrides: list[str], facts: Mapping[str, Any]) -> Graph:
    """The model as `train.py` builds it, in a process that keeps freed memory as that of `train.py`."""
    machine.keep_memory()
    network = build(model, overrides, facts)
    machine.prepare(network, {})
    return network


def macs(model: str, overrides: list[str], facts: Mapping[str, Any]) -> int:
    """Multiply-adds of the forward pass of one sample."""
    words = [f"{text[0]}model.{text[1:]}" if text[0] in "+~" else f"model.{text}" for text in overrides]
    return multiply_adds(plan(compose([f"model={model}", *words]), facts))
