"""What a training takes of the memory of each device: weights, gradients, optimiser, activations,
what is gathered.

Nothing is allocated. What the backward pass keeps is counted as `cost.measure` does; the rest is
arithmetic. An allocator, the workspace of kernels and the buffers of communication come on top,
some percent.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from blocks.graph.describe.cost import measure
from blocks.graph.describe.table import short
from blocks.graph.errors import ConfigError, Problem
from blocks.graph.record.record import Built
from blocks.graph.record.value import BATCH
from blocks.graph.run.activation_checkpoint import repeats
from blocks.graph.run.tensor_parallel import Columns, divide
from blocks.support.text_table import align_columns

STATES = {"AdamW": 2, "SGD": 1}  # numbers that an optimiser keeps for each weight


@dataclass(frozen=True)
class Setting:
    """How a network is trained, as far as its memory hangs on it.

    Args:
        batch: samples in a batch of one device.
        shards: among how many devices weights, gradients and states are cut.
        divided: among how many devices each layer is divided.
        computes: the type that is computed in.
        keeps: the type that weights, gradients and states have.
        states: numbers that the optimiser keeps for each weight.
        anew: whether each repeat of the graph is computed anew in the backward pass.
    """

    batch: int
    shards: int
    divided: int
    computes: torch.dtype
    keeps: torch.dtype
    states: int
    anew: bool

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> "Setting":
        """What the sections data, trainer and optimizer say; raises ConfigError where they leave it
        open.
        """
        trainer, optimizer = config.get("trainer") or {}, config.get("optimizer") or {}
        per_machine, kind = trainer.get("devices", 1), trainer.get("strategy")
        if not isinstance(per_machine, int) or per_machine < 1:
            text, fix = (
                "the number of devices is known only on the machine itself",
                "trainer.devices=8, say",
            )
            raise ConfigError(
                [Problem(text, path="trainer.devices", got=f"devices={per_machine}", fix=fix)]
            )
        size = trainer.get("tensor_parallel_size")
        divided = (
            (size or per_machine)
            if kind == "tensor_parallel"
            else (size or 1)
            if kind == "fsdp"
            else 1
        )
        devices = per_machine * int(trainer.get("num_nodes", 1))
        name = str(optimizer.get("_target_", "AdamW")).rpartition(".")[2]
        states = STATES.get(name, 2) if name != "SGD" or optimizer.get("momentum") else 0
        precision = str(trainer.get("precision", "32-true"))
        short = torch.bfloat16 if precision.startswith(("bf16", "16")) else torch.float32
        cut = kind in ("fsdp", "tensor_parallel")
        return cls(
            batch=int((config.get("data") or {}).get("batch_size") or 1),
            shards=devices // divided if cut else 1,
            divided=divided,
            computes=short,
            keeps=short if precision.endswith("true") else torch.float32,
            states=states,
            anew=bool(trainer.get("checkpoint_activations")),
        )


def budget(plan: Built, setting: Setting) -> dict[str, int]:
    """Bytes on each device by what they are for; "activations anew" if each repeat is computed
    anew, or None.

    The model of the plan is changed: it is the part of one device, in the type that is computed in.
    """
    if setting.divided > 1:
        leave_a_share(plan.model, setting.divided)
    weights = _count(plan.model)
    kept = weights // setting.shards * setting.keeps.itemsize
    outputs = sum(
        _bytes(wire.tensor, 4) for wire in plan.outputs.values() if wire.tensor is not None
    )
    whole, anew = activations(plan, setting.computes)
    return {
        "weights": kept,
        "gradients": kept,
        "optimizer": kept * setting.states,
        "gathered": _gathered(plan.model, setting),
        "activations": setting.batch * whole,
        "activations anew": setting.batch * anew,
        "outputs": 3
        * setting.batch
        * outputs,  # the loss keeps a copy, and its gradient is as large
    }


def total(found: Mapping[str, int], anew: bool) -> int:
    """What all of it takes, with activations computed anew or not."""
    return sum(
        size
        for name, size in found.items()
        if name != ("activations" if anew else "activations anew")
    )


def activations(plan: Built, computes: torch.dtype) -> tuple[int, int]:
    """Bytes that the backward pass needs of one sample: without, and with each repeat of the graph
    computed anew.

    Anew, the inputs of all repeats are kept, and what the one needs that is worked on.
    """
    parts = repeats(plan.model)
    plan.model.to(computes)
    for wire in plan.inputs.values():
        if wire.tensor is not None and wire.tensor.is_floating_point():
            wire.tensor.data = wire.tensor.data.to(computes)
    costs = measure(plan)
    whole = costs[""].memory
    inside = [costs[path].memory for path in parts if path in costs]
    if not inside:
        return whole, whole
    inputs: dict[str, int] = {}
    for row in plan.walk():
        if row.path not in parts:
            continue
        around = row.path.rpartition(".")[0]
        for number, (name, wire) in enumerate(row.flow.items()):
            key = (
                f"{around}.{name}" if number else row.path
            )  # what is not carried through is one for all repeats
            if wire.tensor is not None:
                inputs[key] = _bytes(wire.tensor, _size(wire.tensor, computes))
    return whole, whole - sum(inside) + sum(inputs.values()) + max(inside)


def leave_a_share(model: nn.Module, devices: int) -> None:
    """Make of a network on the meta device what one of several devices has that divide its
    layers.
    """
    divided = divide(model, devices)  # type: ignore[arg-type]
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
    """The budget as a table, ending in what all of it takes and what it would take the other
    way.
    """
    cut = f", cut among {setting.shards}" * (setting.shards > 1)
    cut += f", layers divided among {setting.divided}" * (setting.divided > 1)
    gathered = (
        "the rest and up to three repeats, whole" if setting.shards > 1 else "copies of the weights"
    )
    chosen = "activations anew" if setting.anew else "activations"
    told = {
        "weights": f"{parameters:,} parameters in {_name(setting.keeps)}{cut}",
        "gradients": "as large as the weights",
        "optimizer": f"{setting.states} numbers for each weight",
        "gathered": f"{gathered}, in {_name(setting.computes)}",
        chosen: f"of a batch of {setting.batch} in {_name(setting.computes)}"
        + ", each repeat computed anew" * setting.anew,
        "outputs": "of that batch and of the loss, in float32",
    }
    rows = [
        (name.removesuffix(" anew"), size_of(found[name]), why)
        for name, why in told.items()
        if found[name]
    ]
    rows.append(("total", size_of(total(found, setting.anew)), "at most, of each device"))
    lines = align_columns(rows, left=(0, 2))
    rule = "-" * max(map(len, lines))
    other = "true" if not setting.anew else "false"
    last = f"trainer.checkpoint_activations={other}: {size_of(total(found, not setting.anew))}"
    same = found["activations"] == found["activations anew"]
    return "\n".join([*lines[:-1], rule, lines[-1], *([] if same else [last])])


def size_of(count: int) -> str:
    """Bytes as people say them: 27,000,000,000 -> "27.0 GB"."""
    return short(count, "B")


def _name(kind: torch.dtype) -> str:
    return str(kind).removeprefix("torch.")


def _gathered(model: nn.Module, setting: Setting) -> int:
    """Of shards: the rest of the network, two repeats and the gradients of one, whole. Else:
    short copies of all.
    """
    size = setting.computes.itemsize
    if setting.shards == 1:
        return _count(model) * size if size < setting.keeps.itemsize else 0
    sizes = [_count(part) for part in repeats(model).values()]
    rest = _count(model) - sum(sizes)
    return (rest + 3 * max(sizes, default=0)) * size


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _bytes(tensor: Tensor, each: int) -> int:
    return tensor.numel() * each // BATCH if tensor.numel() % BATCH == 0 else tensor.numel() * each


def _size(tensor: Tensor, computes: torch.dtype) -> int:
    return computes.itemsize if tensor.is_floating_point() else tensor.element_size()
