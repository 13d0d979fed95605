"""Our side of every family."""

from collections.abc import Mapping
from typing import Any

from blocks.graph import build, compose, plan
from blocks.graph.describe.cost import multiply_adds
from blocks.graph.describe.memory_budget import RECOMPUTED, Setting, budget
from blocks.graph.record.module import Graph
from blocks.graph.record.record import Built
from tasks.process import attention_gradients, runtime


def built(model: str, overrides: list[str], facts: Mapping[str, Any]) -> Graph:
    """The model as `train.py` builds it, in a process that keeps freed memory and computes the
    gradients of attention as that of `train.py`.
    """
    runtime.keep_memory()
    attention_gradients.use_products()
    network = build(model, overrides, facts)
    runtime.prepare_network(network, {})
    return network


def planned(model: str, overrides: list[str], facts: Mapping[str, Any]) -> Built:
    """The model without memory."""
    words = [
        f"{text[0]}model.{text[1:]}" if text[0] in "+~" else f"model.{text}" for text in overrides
    ]
    return plan(compose([f"model={model}", *words]), facts)


def macs(model: str, overrides: list[str], facts: Mapping[str, Any]) -> int:
    """Multiply-adds of the forward pass of one sample. Attention counts all pairs of tokens, also
    those that a causal mask leaves out.
    """
    return multiply_adds(planned(model, overrides, facts))


def memory(model: str, overrides: list[str], facts: Mapping[str, Any], batch: int) -> int:
    """Bytes of a training in bfloat16 by autocast with AdamW, as `explain --memory` states them."""
    config = {"data": {"batch_size": batch}, "trainer": {"precision": "bf16-mixed"}}
    found = budget(planned(model, overrides, facts), Setting.of(config))
    return sum(value for name, value in found.items() if name != RECOMPUTED)
