"""Optimizer states of a sharded network, converted to those of a single device and back.

A checkpoint can therefore be resumed on any number of devices. A single device numbers the
parameters group by group; the sharded state is keyed by their names, with rows in the order of
the devices.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.distributed.tensor import DeviceMesh, DTensor
from torch.optim import Optimizer

from tasks.parallel.shards import permute_rows

KERNELS = ("foreach", "fused")  # options that depend on how the network is sharded

Names = Mapping[int, str]  # id() of a parameter -> its name
Orders = Mapping[str, Tensor]  # name of a parameter -> the order that its rows are to have


def mesh_of(parameter: Tensor) -> DeviceMesh | None:
    """Return the device mesh of a sharded parameter, None for a whole one.

    One kernel can update several parameters only where all of them have the same mesh.
    """
    if isinstance(parameter, DTensor):
        return parameter.device_mesh
    return None


def disable_grouped_kernels(optimizer: Optimizer) -> None:
    """Update parameters one by one in groups whose parameters have different meshes."""
    for group in optimizer.param_groups:
        if len(set(map(mesh_of, group["params"]))) > 1:
            group["foreach"] = False
            if "fused" in group:
                group["fused"] = None


def to_single_device(
    state: Mapping[str, Any], optimizer: Optimizer, names: Names, orders: Orders
) -> dict[str, Any]:
    """Return the state dictionary of a single device for one that is keyed by names."""
    defaults = {name: optimizer.defaults[name] for name in KERNELS if name in optimizer.defaults}
    number_of: dict[str, int] = {}
    groups = []
    for group in optimizer.param_groups:
        numbers = []
        for name in parameter_names(group, names):
            number_of[name] = len(number_of)
            numbers.append(number_of[name])
        groups.append({**group, **defaults, "params": numbers})
    values = {}
    for name, entry in state["state"].items():
        values[number_of[name]] = reorder_rows(entry, orders.get(name))
    return {"state": values, "param_groups": groups}


def to_named(
    state: Mapping[str, Any], optimizer: Optimizer, names: Names, orders: Orders
) -> dict[str, Any]:
    """Return the state dictionary keyed by names for that of a single device."""
    ordered: list[str] = []
    groups = []
    for saved, group in zip(state["param_groups"], optimizer.param_groups, strict=True):
        members = parameter_names(group, names)
        ordered += members
        kernels = {name: group[name] for name in KERNELS if name in group}
        groups.append({**saved, **kernels, "params": members})
    values = {}
    for number, entry in state["state"].items():
        name = ordered[number]
        values[name] = reorder_rows(entry, orders.get(name))
    return {"state": values, "param_groups": groups}


def parameter_names(group: Mapping[str, Any], names: Names) -> list[str]:
    """Return the names of the parameters of a group."""
    return [names[id(parameter)] for parameter in group["params"]]


def reorder_rows(entry: Mapping[str, Any], order: Tensor | None) -> dict[str, Any]:
    """Return the state of one parameter with its rows in another order; scalars stay."""
    if order is None:
        return dict(entry)
    reordered = {}
    for name, value in entry.items():
        if isinstance(value, Tensor) and value.dim():
            value = permute_rows(value, order)
        reordered[name] = value
    return reordered
