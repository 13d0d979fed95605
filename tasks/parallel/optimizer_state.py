"""The state of an optimiser of a network that is cut among devices, as one device has it, and back.

So one checkpoint goes on among any number of devices. One device numbers parameters, group by
group; here they are known by name, and each has its rows in the order of the devices.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

WAYS = ("foreach", "fused")  # how an optimiser goes about it, which hangs on how the network is cut

Names = Mapping[int, str]  # identity of a parameter -> its name
Orders = Mapping[str, Tensor]  # name of a parameter -> the order that its rows are to have


def kind_of(parameter: Tensor) -> Any:
    """Parameters of one kind can be worked on in one stroke: whole ones, and those cut over the
    same devices.
    """
    return parameter.device_mesh if isinstance(parameter, DTensor) else None


def go_one_by_one(optimizer: Optimizer) -> None:
    """Let an optimiser update each parameter by itself where those of a group are cut in different
    ways.
    """
    for group in optimizer.param_groups:
        if len({kind_of(parameter) for parameter in group["params"]}) > 1:
            group.update({"foreach": False, **({"fused": None} if "fused" in group else {})})


def as_one(
    state: Mapping[str, Any], optimizer: Optimizer, names: Names, orders: Orders
) -> dict[str, Any]:
    """The state as one device would have it, from one by name."""
    groups = [
        [names[id(parameter)] for parameter in group["params"]] for group in optimizer.param_groups
    ]
    place = {name: number for number, name in enumerate(name for group in groups for name in group)}
    values = {
        place[name]: ordered(found, orders.get(name)) for name, found in state["state"].items()
    }
    usual = {way: optimizer.defaults[way] for way in WAYS if way in optimizer.defaults}
    told = [
        {**group, **usual, "params": [place[name] for name in members]}
        for group, members in zip(optimizer.param_groups, groups, strict=True)
    ]
    return {"state": values, "param_groups": told}


def by_name(
    state: Mapping[str, Any], optimizer: Optimizer, names: Names, orders: Orders
) -> dict[str, Any]:
    """What `as_one` gave, by name again."""
    groups = [
        [names[id(parameter)] for parameter in group["params"]] for group in optimizer.param_groups
    ]
    order = [name for group in groups for name in group]
    values = {
        order[number]: ordered(found, orders.get(order[number]))
        for number, found in state["state"].items()
    }
    told = [
        {**saved, **{way: group[way] for way in WAYS if way in group}, "params": members}
        for saved, group, members in zip(
            state["param_groups"], optimizer.param_groups, groups, strict=True
        )
    ]
    return {"state": values, "param_groups": told}


def ordered(values: Mapping[str, Any], order: Tensor | None) -> dict[str, Any]:
    """What an optimiser keeps of one parameter, its rows in another order."""
    if order is None:
        return dict(values)
    return {
        name: value[order] if isinstance(value, Tensor) and value.dim() else value
        for name, value in values.items()
    }
