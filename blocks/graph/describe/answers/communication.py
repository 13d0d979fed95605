"""What devices send each other in a training step, by collective."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

import torch
from torch import nn

from blocks.graph.describe.memory_budget import Setting
from blocks.graph.record.record import Built
from blocks.graph.record.value import BATCH
from blocks.graph.run.activation_checkpoint import find_repeats
from blocks.graph.run.tensor_parallel import Columns, TensorParallelPlan

# How often a device sends (n - 1) / n of a message to n devices: a ring adds up, then hands round.
# Thakur, Rabenseifner and Gropp 2005, doi:10.1177/1094342005051521, section 4.
PASSES = {"all-reduce": 2, "all-gather": 1, "reduce-scatter": 1, "broadcast": 1}


@dataclass(frozen=True)
class Traffic:
    """Messages of one kind in a step.

    Args:
        collective: a key of `PASSES`.
        purpose: what is sent, in a few words.
        devices: that take part, on each of which all of it ends or begins.
        bytes: of the whole tensors.
        overlaps: whether the computation goes on meanwhile.
    """

    collective: str
    purpose: str
    devices: int
    bytes: int
    overlaps: bool

    @property
    def sent(self) -> float:
        """Bytes that a device sends in a step."""
        return PASSES[self.collective] * self.bytes * (self.devices - 1) / self.devices


def count_traffic(
    model: nn.Module,
    setting: Setting,
    copies: int,
    rows: Mapping[str, int],
    cut: TensorParallelPlan,
) -> list[Traffic]:
    """Return what a step sends.

    Copies (ddp) add up the gradients of all weights while the backward pass goes on, 2 P numbers
    (Li et al. 2020, arXiv:2006.15704, section 3). Shards (fsdp) gather the weights of a repeat
    before each of its two passes, those of the rest once, and scatter the sums of gradients: 3 P
    (Rajbhandari et al. 2020, arXiv:1910.02054, section 7.2; Zhao et al. 2023, arXiv:2304.11277).
    Devices that divide layers add up the outputs of a layer that splits its inputs, and in the
    backward pass the gradients of the inputs of one that splits its outputs (Shoeybi et al. 2019,
    arXiv:1909.08053, section 3); the computation waits for them. Weights are padded to a
    multiple of the shards along their first axis, as torch does. The norm of the gradients and
    metrics, some numbers each, do not count.

    Args:
        model: on one of the devices that divide layers, its share of it.
        setting: of the training.
        copies: devices that hold equal weights and average gradients.
        rows: of a sample that each divided layer reads.
        cut: the divided layers.
    """
    found = []
    if copies > 1:
        found.append(Traffic("all-reduce", "gradients", copies, _count(model, 1, setting), True))
        buffers = sum(_count_buffer(buffer, setting) for buffer in model.buffers())
        if buffers:
            found.append(Traffic("broadcast", "buffers", copies, buffers, False))
    if setting.shards > 1:
        found += _count_shards(model, setting)
    if setting.divided > 1:
        found += _count_layers(model, setting, rows, cut)
    return found


def _count(module: nn.Module, parts: int, setting: Setting, gradients: bool = True) -> int:
    """Bytes of the parameters of a module, or of those with gradients, padded to parts."""
    size = (setting.keeps if gradients else setting.computes).itemsize
    total = 0
    for parameter in module.parameters():
        if parameter.requires_grad or not gradients:
            length = parameter.shape[0] if parameter.dim() else 1
            total += ceil(length / parts) * parts * (parameter.numel() // max(length, 1))
    return total * size


def _count_buffer(buffer: torch.Tensor, setting: Setting) -> int:
    """Bytes of a buffer, in the dtype that is kept."""
    size = setting.keeps.itemsize if buffer.is_floating_point() else buffer.itemsize
    return buffer.numel() * size


def _count_shards(model: nn.Module, setting: Setting) -> list[Traffic]:
    """The gathered weights and scattered gradients of a network whose repeats are units."""
    shards = setting.shards
    whole = _count(model, shards, setting, gradients=False)
    units = find_repeats(model).values()
    repeats = sum(_count(unit, shards, setting, gradients=False) for unit in units)
    gradients = _count(model, shards, setting)
    return [
        Traffic("all-gather", "weights", shards, whole + repeats, True),
        Traffic("reduce-scatter", "gradients", shards, gradients, True),
    ]


def _count_layers(
    model: nn.Module, setting: Setting, rows: Mapping[str, int], cut: TensorParallelPlan
) -> list[Traffic]:
    """The sums of activations and their gradients of layers that devices divide."""
    forward = backward = 0
    for path, share in cut.layers.items():
        layer: Any = model.get_submodule(path)
        if isinstance(share, Columns):
            backward += rows[path] * layer.weight.shape[1]
        else:
            forward += rows[path] * layer.weight.shape[0]
    if setting.recomputes:
        forward *= 2
    size = setting.batch * setting.computes.itemsize
    found = [
        Traffic("all-reduce", "activations", setting.divided, forward * size, False),
        Traffic("all-reduce", "their gradients", setting.divided, backward * size, False),
    ]
    return [each for each in found if each.bytes]


def count_rows(built: Built, cut: TensorParallelPlan) -> dict[str, int]:
    """Return how many rows of a sample each divided layer reads, in all of its calls.

    The model runs once on the meta device, before it is divided.
    """
    rows = dict.fromkeys(cut.layers, 0)

    def add(path: str) -> Any:
        def hook(layer: Any, given: tuple[Any, ...]) -> None:
            rows[path] += given[0].numel() // (layer.in_features * BATCH)

        return hook

    handles = [
        built.model.get_submodule(path).register_forward_pre_hook(add(path)) for path in rows
    ]
    inputs = {name: each.tensor for name, each in built.inputs.items() if each.tensor is not None}
    with torch.no_grad(), torch.device("meta"):
        built.model(**inputs)
    for handle in handles:
        handle.remove()
    return rows
