"""The memory that a training takes on each device.

Nothing is allocated. What the backward pass keeps is counted as `cost.measure` does; the rest is
arithmetic. The allocator, the workspace of kernels and the buffers of communication add some
percent.
"""

from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from blocks.graph.describe.cost import measure
from blocks.graph.describe.table import short
from blocks.graph.errors import ConfigError, Problem
from blocks.graph.record.record import Built, count_parameters
from blocks.graph.record.value import BATCH
from blocks.graph.run.activation_checkpoint import find_repeats
from blocks.graph.run.tensor_parallel import Columns, plan_tensor_parallel
from blocks.support.text_table import align_columns

# numbers that an optimiser keeps for each weight; Muon two at the ends of a network
STATES = {"AdamW": 2, "Lion": 1, "Muon": 1, "SGD": 1}
SHARDED = ("fsdp", "tensor_parallel")
RECOMPUTED = "activations recomputed"


@dataclass(frozen=True)
class Setting:
    """How a network is trained, as far as its memory depends on it.

    Args:
        batch: samples in a batch of one device.
        shards: number of devices that share weights, gradients and states.
        divided: number of devices that share each layer.
        computes: dtype of activations and products.
        keeps: dtype of weights, gradients and states.
        states: numbers that the optimiser keeps for each weight.
        recomputes: whether each repeat of the graph is recomputed in the backward pass.
    """

    batch: int
    shards: int
    divided: int
    computes: torch.dtype
    keeps: torch.dtype
    states: int
    recomputes: bool

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> "Setting":
        """Read the sections data, trainer and optimizer.

        Raises:
            ConfigError: the number of devices is not stated.
        """
        trainer = config.get("trainer") or {}
        data = config.get("data") or {}
        devices, divided = _read_devices(trainer)
        computes = keeps = torch.float32
        precision = str(trainer.get("precision", "32-true"))
        if precision.startswith(("bf16", "16")):
            computes = torch.bfloat16
            if precision.endswith("true"):
                keeps = torch.bfloat16
        shards = 1
        if trainer.get("strategy") in SHARDED:
            shards = devices // divided
        return cls(
            batch=int(data.get("batch_size") or 1),
            shards=shards,
            divided=divided,
            computes=computes,
            keeps=keeps,
            states=_count_states(config.get("optimizer") or {}),
            recomputes=bool(trainer.get("checkpoint_activations")),
        )


def _read_devices(trainer: Mapping[str, Any]) -> tuple[int, int]:
    """The number of devices, and how many of them share each layer."""
    per_machine, strategy = trainer.get("devices", 1), trainer.get("strategy")
    if not isinstance(per_machine, int) or per_machine < 1:
        raise ConfigError(
            Problem(
                "the number of devices is known only on the machine itself",
                path="trainer.devices",
                got=f"devices={per_machine}",
                fix="state it: trainer.devices=8",
                code="missing-key",
            )
        )
    divided = 1
    if strategy == "tensor_parallel":
        divided = trainer.get("tensor_parallel_size") or per_machine
    elif strategy == "fsdp":
        divided = trainer.get("tensor_parallel_size") or 1
    return per_machine * int(trainer.get("num_nodes", 1)), divided


def _count_states(optimizer: Mapping[str, Any]) -> int:
    name = str(optimizer.get("_target_", "AdamW")).rpartition(".")[2]
    if name == "SGD" and not optimizer.get("momentum"):
        return 0
    return STATES.get(name, 2)


def budget(built: Built, setting: Setting) -> dict[str, int]:
    """Bytes on each device by what they are for.

    "activations recomputed" is what activations take if each repeat is recomputed. The model is
    changed: it becomes the part of one device, in the dtype of the computation.
    """
    if setting.divided > 1:
        take_share(built.model, setting.divided)
    return budget_share(built, setting, count_activations(built, setting.computes))


def budget_share(built: Built, setting: Setting, activations: tuple[int, int]) -> dict[str, int]:
    """The same of a model that is the part of one device already.

    Args:
        built: the part.
        setting: of the training.
        activations: what `count_activations` returned.
    """
    kept = count_parameters(built.model) // setting.shards * setting.keeps.itemsize
    outputs = 0
    for value in built.outputs.values():
        if value.tensor is not None:
            outputs += _bytes_of_sample(value.tensor, 4)
    whole, recomputed = activations
    return {
        "weights": kept,
        "gradients": kept,
        "optimizer": kept * setting.states,
        "gathered": _count_gathered(built.model, setting),
        "activations": setting.batch * whole,
        RECOMPUTED: setting.batch * recomputed,
        # the loss keeps a copy, and its gradient is as large
        "outputs": 3 * setting.batch * outputs,
    }


def total(found: Mapping[str, int], recomputes: bool) -> int:
    """The sum, with activations recomputed or not."""
    left_out = "activations" if recomputes else RECOMPUTED
    return sum(found.values()) - found[left_out]


def count_activations(built: Built, computes: torch.dtype) -> tuple[int, int]:
    """Bytes that the backward pass of one sample needs: without, and with recomputation.

    With recomputation the inputs of all repeats are kept, and what one repeat needs in its turn.
    """
    parts = find_repeats(built.model)
    built.model.to(computes)
    for value in built.inputs.values():
        if value.tensor is not None and value.tensor.is_floating_point():
            value.tensor.data = value.tensor.data.to(computes)
    costs = measure(built)
    whole = costs[""].memory
    inside = [costs[path].memory for path in parts if path in costs]
    if not inside:
        return whole, whole
    inputs = _count_inputs(built, parts, computes)
    return whole, whole - sum(inside) + sum(inputs.values()) + max(inside)


def _count_inputs(built: Built, parts: Container[str], computes: torch.dtype) -> dict[str, int]:
    """Bytes of what flows into the repeats; an input that is not carried through counts once."""
    inputs = {}
    for node in built.walk():
        if node.path not in parts:
            continue
        around = node.path.rpartition(".")[0]
        for number, (name, value) in enumerate(node.flow.items()):
            if value.tensor is None:
                continue
            key = f"{around}.{name}" if number else node.path
            size = value.tensor.element_size()
            if value.tensor.is_floating_point():
                size = computes.itemsize
            inputs[key] = _bytes_of_sample(value.tensor, size)
    return inputs


def take_share(model: nn.Module, devices: int) -> None:
    """Reduce a network on the meta device to the part of one of several devices."""
    divided = plan_tensor_parallel(model, devices)  # type: ignore[arg-type]
    for path, share in divided.layers.items():
        layer = model.get_submodule(path)
        axis = 0 if isinstance(share, Columns) else 1
        for parameter in layer.parameters():
            if axis < parameter.dim():
                parameter.data = parameter.data.chunk(devices, axis)[0]
    for path, names in divided.counts.items():
        block = model.get_submodule(path)
        for name in names:
            setattr(block, name, getattr(block, name) // devices)


def text(found: Mapping[str, int], setting: Setting, parameters: int) -> str:
    """The budget as a table, with its total, and the total of the other way of activations."""
    rows = []
    for name, reason in _reasons(setting, parameters).items():
        if found[name]:
            rows.append((name.removesuffix(" recomputed"), short(found[name], "B"), reason))
    rows.append(("total", short(total(found, setting.recomputes), "B"), "at most, of each device"))
    lines = align_columns(rows, left=(0, 2))
    rule = "-" * max(map(len, lines))
    lines.insert(len(lines) - 1, rule)
    if found["activations"] != found[RECOMPUTED]:
        other = str(not setting.recomputes).lower()
        size = short(total(found, not setting.recomputes), "B")
        lines.append(f"trainer.checkpoint_activations={other}: {size}")
    return "\n".join(lines)


def _reasons(setting: Setting, parameters: int) -> dict[str, str]:
    """What each part of the budget is."""
    computes = _name(setting.computes)
    weights = f"{parameters:,} parameters in {_name(setting.keeps)}"
    gathered = "copies of the weights"
    if setting.shards > 1:
        weights += f", cut among {setting.shards}"
        gathered = "the rest and up to three repeats, whole"
    if setting.divided > 1:
        weights += f", layers divided among {setting.divided}"
    activations, name = f"of a batch of {setting.batch} in {computes}", "activations"
    if setting.recomputes:
        activations, name = f"{activations}, each repeat recomputed", RECOMPUTED
    return {
        "weights": weights,
        "gradients": "as large as the weights",
        "optimizer": f"{setting.states} numbers for each weight",
        "gathered": f"{gathered}, in {computes}",
        name: activations,
        "outputs": "of that batch and of the loss, in float32",
    }


def _name(kind: torch.dtype) -> str:
    return str(kind).removeprefix("torch.")


def _count_gathered(model: nn.Module, setting: Setting) -> int:
    """Bytes of weights that are gathered.

    Of shards: the rest of the network, two repeats and the gradients of one, whole. Otherwise:
    copies of all weights in the shorter dtype.
    """
    size = setting.computes.itemsize
    if setting.shards > 1:
        sizes = [count_parameters(part) for part in find_repeats(model).values()]
        rest = count_parameters(model) - sum(sizes)
        return (rest + 3 * max(sizes, default=0)) * size
    if size < setting.keeps.itemsize:
        return count_parameters(model) * size
    return 0


def _bytes_of_sample(tensor: Tensor, each: int) -> int:
    """Bytes of one sample; a tensor without the batch axis counts whole."""
    size = tensor.numel() * each
    if tensor.numel() % BATCH == 0:
        return size // BATCH
    return size
