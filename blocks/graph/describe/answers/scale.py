"""A training on many devices: memory, messages and time of each, before there is one."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from blocks.graph.describe.answers.ceiling import Ceiling
from blocks.graph.describe.answers.communication import Traffic, count_rows, count_traffic
from blocks.graph.describe.answers.step_time import StepTime, estimate_step
from blocks.graph.describe.cost import Cost, measure
from blocks.graph.describe.memory_budget import (
    Setting,
    budget_share,
    count_activations,
    take_share,
    total,
)
from blocks.graph.describe.table import short
from blocks.graph.errors import ConfigError
from blocks.graph.record.record import Built, count_parameters
from blocks.graph.run.tensor_parallel import TensorParallelPlan, plan_tensor_parallel
from blocks.support.text_table import align_columns

STRATEGIES = ("ddp", "fsdp", "tensor_parallel", "fsdp+tensor_parallel")
MACHINE = 8  # devices of a machine, which divide layers among them
COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter")
HEAD = ("devices", "strategy", "memory", *COLLECTIVES, "step", "waiting")


@dataclass(frozen=True)
class Speed:
    """What a device can do.

    Args:
        ceiling: of its products and its memory.
        link: bytes a second that it sends to others.
    """

    ceiling: Ceiling
    link: float


@dataclass(frozen=True)
class Placed:
    """A training under one strategy on a number of devices.

    Args:
        devices: in all.
        strategy: one of `STRATEGIES`.
        divided: devices that share each layer.
        memory: bytes of each device, at most.
        traffic: what a step sends.
        time: of a step without what is sent; None without a speed.
        refused: why the network cannot be cut so; the rest is empty then.
    """

    devices: int
    strategy: str
    divided: int = 1
    memory: int = 0
    traffic: tuple[Traffic, ...] = ()
    time: StepTime | None = None
    refused: str = ""

    def sent(self, collective: str) -> float:
        """Bytes that a device sends by a collective in a step."""
        return sum(each.sent for each in self.traffic if each.collective == collective)

    def waits(self, link: float) -> float:
        """Seconds of a step in which a device waits for others.

        What overlaps is hidden behind the products of the step, of ddp behind those of the backward
        pass, two of three; the rest is waited for.
        """
        assert self.time is not None
        exposed = sum(each.sent for each in self.traffic if not each.overlaps) / link
        hidden = sum(each.sent for each in self.traffic if each.overlaps) / link
        room = self.time.products + self.time.memory
        if self.strategy == "ddp":
            room *= 2 / 3
        return exposed + max(0.0, hidden - room)


def choose_divided(strategy: str, devices: int, size: int | None) -> int:
    """Return how many devices share each layer: those of a machine, or `size`."""
    if "tensor_parallel" not in strategy:
        return 1
    if strategy == "tensor_parallel":
        return min(size or MACHINE, devices)
    return min(size or 2, devices)


def name_strategy(trainer: Mapping[str, Any]) -> str:
    """Return the strategy of a section `trainer`; ddp where it names none for several devices."""
    kind = trainer.get("strategy")
    if kind == "fsdp" and (trainer.get("tensor_parallel_size") or 1) > 1:
        return "fsdp+tensor_parallel"
    return str(kind) if kind in STRATEGIES else "ddp"


@dataclass(frozen=True)
class Share:
    """The model of one of the devices that divide its layers.

    Args:
        built: its part, in the dtype of the computation.
        cut: the divided layers, and how many rows of a sample each of them reads.
        activations: bytes that the backward pass of a sample needs, without and with recomputation.
        macs: multiply-adds of a sample.
    """

    built: Built
    cut: TensorParallelPlan
    rows: Mapping[str, int]
    activations: tuple[int, int]
    macs: int


def take_part(built: Built, divided: int, computes: torch.dtype) -> Share:
    """Return the part of one of several devices; the model is changed.

    Raises:
        ConfigError: the layers cannot be divided so.
    """
    cut = TensorParallelPlan()
    rows: dict[str, int] = {}
    if divided > 1:
        cut = plan_tensor_parallel(built.model, divided)
        rows = count_rows(built, cut)
        take_share(built.model, divided)
    activations = count_activations(built, computes)
    return Share(built, cut, rows, activations, measure(built)[""].macs)


def place_all(
    make: Callable[[], Built],
    setting: Setting,
    devices: Sequence[int],
    strategies: Sequence[str],
    size: int | None = None,
    speed: Speed | None = None,
) -> list[Placed]:
    """Return a row for each number of devices and each strategy.

    Args:
        make: builds the model on the meta device.
        setting: of the training on one device.
        devices: their numbers.
        strategies: of `STRATEGIES`.
        size: devices that share each layer; None for a machine, or two where shards are cut too.
        speed: of a device; None for no times.
    """
    shares: dict[int, Share] = {}
    found = []
    for count in devices:
        for strategy in strategies:
            divided = choose_divided(strategy, count, size)
            try:
                if divided not in shares:
                    shares[divided] = take_part(make(), divided, setting.computes)
                found.append(_place(shares[divided], setting, strategy, count, divided, speed))
            except ConfigError as error:
                why = error.problems[0].problem
                found.append(Placed(count, strategy, divided, refused=why))
    return found


def _place(
    share: Share, setting: Setting, strategy: str, devices: int, divided: int, speed: Speed | None
) -> Placed:
    copies, shards = devices, 1
    if strategy != "ddp":
        copies, shards = 1, devices // divided
    here = replace(setting, shards=shards, divided=divided)
    memory = total(budget_share(share.built, here, share.activations), here.recomputes)
    traffic = count_traffic(share.built.model, here, copies, share.rows, share.cut)
    time = None
    if speed is not None:
        # estimate_step takes the bytes of a sample in float32
        kept = share.activations[here.recomputes] * 4 // here.computes.itemsize
        macs = share.macs * (4 if here.recomputes else 3) // 3
        parameters = count_parameters(share.built.model) // shards
        time = estimate_step(Cost(macs, kept), parameters, here, speed.ceiling)
    return Placed(devices, strategy, divided, memory, tuple(traffic), time)


def describe_scale(found: Sequence[Placed], speed: Speed | None) -> dict[str, Any]:
    """Return the answer for programs."""
    rows = []
    for each in found:
        row: dict[str, Any] = {"devices": each.devices, "strategy": each.strategy}
        row |= {"divided": each.divided, "refused": each.refused or None}
        if not each.refused:
            row["memory"] = each.memory
            row["traffic"] = [
                {
                    "collective": one.collective,
                    "purpose": one.purpose,
                    "devices": one.devices,
                    "bytes": one.bytes,
                    "sent": round(one.sent),
                    "overlaps": one.overlaps,
                }
                for one in each.traffic
            ]
        if each.time is not None and speed is not None:
            row |= {"step": each.time.seconds, "waiting": each.waits(speed.link)}
        rows.append(row)
    return {"rows": rows}


def show_scale(found: Sequence[Placed], speed: Speed | None) -> str:
    """Return the answer as a table: bytes of a device and a step."""
    head: tuple[str, ...] = HEAD if speed is not None else HEAD[:-2]
    rows = [head]
    notes: dict[str, None] = {}
    for each in found:
        name = each.strategy
        if each.divided > 1:
            name += f" ({each.divided})"
        if each.refused:
            notes[each.refused] = None
            rows.append((str(each.devices), name, *["-"] * (len(head) - 2)))
            continue
        cells = [str(each.devices), name, short(each.memory, "B")]
        for collective in COLLECTIVES:
            sent = each.sent(collective)
            cells.append(short(round(sent), "B") if sent else "")
        if each.time is not None and speed is not None:
            waits = each.waits(speed.link)
            step = each.time.seconds + waits
            cells += [f"{step * 1e3:,.1f} ms", f"{waits / step:.0%}"]
        rows.append(tuple(cells))
    lines = align_columns(rows, left=(1,))
    lines.append("bytes that a device sends in a step; in brackets: devices that divide each layer")
    lines += [f"-: {note}" for note in notes]
    if speed is not None:
        lines.append(
            "a step with what is waited for: gathered weights and sums of gradients overlap the "
            "computation, sums of activations do not"
        )
    return "\n".join(lines)
