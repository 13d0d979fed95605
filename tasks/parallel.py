"""One network on several devices: `trainer=fsdp` cuts its weights into shards, `trainer=tensor_parallel` its layers.

Both are Lightning's ModelParallelStrategy; what is cut where is read from the graph. A shard holds a part of every
weight, gradient and optimiser state; the weights of one repeat of the graph at a time are gathered to compute with it
(FSDP: Zhao et al. 2023, arXiv:2304.11277; ZeRO stage 3: Rajbhandari et al. 2020, arXiv:1910.02054). Dividing layers
leaves each device a share of the heads and of the width of the MLPs (Shoeybi et al. 2019, arXiv:1909.08053). The two go
together: groups of devices divide each layer, and shards are cut between the groups.
"""

import logging
from collections.abc import Iterable, Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import ModelParallelStrategy
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.fsdp import FullyShardedDataParallel, MixedPrecisionPolicy, OptimStateKeyType, fully_shard
from torch.distributed.tensor import DTensor
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

from blocks.graph import Columns, ConfigError, Divided, Problem, divide, repeats

KINDS = ("fsdp", "tensor_parallel")
WORDS = ("compile", "checkpoint_activations", "tensor_parallel_size")  # of the section `trainer`, and not Lightning's
FULL = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True)
COMPUTED_IN = {"bf16-mixed": torch.bfloat16}


class Parallel(ModelParallelStrategy):
    """Lightning's strategy with a network that says itself how it is cut. Checkpoints are those of one process.

    Args:
        kind: "fsdp" or "tensor_parallel".
        tensor_parallel_size: how many devices divide each layer; None is all of a machine, and one for "fsdp".
    """

    def __init__(self, kind: str, tensor_parallel_size: int | None = None):
        super().__init__(save_distributed_checkpoint=False)
        self.kind, self.divided = kind, Divided()
        self.together = tensor_parallel_size or (1 if kind == "fsdp" else None)

    def sizes(self) -> tuple[int, int]:
        """How many groups of devices there are, and how many devices divide a layer in each."""
        together = self.together or self.num_processes
        return self.num_nodes * self.num_processes // together, together

    def setup_environment(self) -> None:
        self._data_parallel_size, self._tensor_parallel_size = self.sizes()
        super().setup_environment()

    def distribute(self, network: nn.Module) -> None:
        """Cut the network, once: `configure_model` of a task calls this before every fit and test."""
        if any(isinstance(parameter, DTensor) for parameter in network.parameters()):
            return
        groups, together = self.sizes()
        if groups > 1 and together > 1:  # torch wonders why sums over both are not one: nothing a user could do
            logging.getLogger("torch.distributed.tensor._redistribute").setLevel(logging.ERROR)
        if together > 1:
            self.divided = divide(network, together)  # type: ignore[arg-type]
            share_out(network, self.divided, self.device_mesh["tensor_parallel"])
        if groups > 1 or together == 1:
            cut(network, self.device_mesh["data_parallel"], COMPUTED_IN.get(str(self.precision_plugin.precision)))

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """All weights on the first process, in the order of one device."""
        found = super().lightning_module_state_dict()
        back = {name: order.argsort() for name, order in self._orders().items()}
        return {name: value[back[name]] if name in back else value for name, value in found.items()}

    def optimizer_state(self, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        """All states of the optimiser on the first process, in the order of one device."""
        found = super().optimizer_state(optimizer)
        return self._ordered(found, {name: order.argsort() for name, order in self._orders().items()})

    def load_checkpoint(self, checkpoint_path: Any, weights_only: bool | None = None) -> dict[str, Any]:
        """Give each process its part of a checkpoint of one process."""
        path = self.broadcast(checkpoint_path)
        checkpoint = self.checkpoint_io.load_checkpoint(path, map_location="cpu", weights_only=weights_only)
        orders, module = self._orders(), self.model
        assert module is not None
        state = {
            name: value[orders[name]] if name in orders else value for name, value in checkpoint["state_dict"].items()
        }
        set_model_state_dict(module, state, options=FULL)
        for optimizer, kept in zip(self.optimizers, checkpoint.get("optimizer_states", ()), strict=False):
            ordered = self._ordered(kept, orders)
            named = FullyShardedDataParallel.rekey_optim_state_dict(ordered, OptimStateKeyType.PARAM_NAME, module)
            set_optimizer_state_dict(module, optimizer, named, options=FULL)
        return checkpoint

    def _orders(self) -> dict[str, Tensor]:
        """For each weight of which a device has several pieces: its rows in the order of the devices."""
        together, module = self.sizes()[1], self.lightning_module
        assert module is not None
        names = {id(parameter): name for name, parameter in module.named_parameters()}
        found = {}
        for path, share in self.divided.layers.items():
            if isinstance(share, Columns) and len(share.parts) > 1:
                layer = module.network.get_submodule(path)  # type: ignore[union-attr]
                found.update({names[id(each)]: share.order(together) for each in layer.parameters()})
        return found

    def _ordered(self, state: Mapping[str, Any], orders: Mapping[str, Tensor]) -> dict[str, Any]:
        """The state of an optimiser with the rows of some parameters in another order."""
        assert self.model is not None
        names = [name for name, _ in self.model.named_parameters()]
        moved = {}
        for number, values in state.get("state", {}).items():
            order = orders.get(names[number] if isinstance(number, int) else number)
            same = order is None
            moved[number] = {key: v if same or v.dim() == 0 else v[order] for key, v in values.items()}
        return {**state, "state": moved} if state else {}


def cut(network: nn.Module, mesh: Any, computed_in: torch.dtype | None) -> None:
    """Cut every weight into shards; each repeat of the graph is gathered by itself, and the rest as one.

    Args:
        computed_in: the type of what is gathered; the shards and the sums of gradients stay as they are.
    """
    policy = MixedPrecisionPolicy(computed_in, torch.float32 if computed_in else None)
    for part in (*repeats(network).values(), network):
        fully_shard(part, mesh=mesh, mp_policy=policy)


def share_out(network: nn.Module, divided: Divided, mesh: Any) -> None:
    """Leave each device its share of the layers in `divided`."""
    for path, share in divided.layers.items():
        layer = network.get_submodule(path)
        if isinstance(share, Columns) and len(share.parts) > 1:
            order = share.order(mesh.size())
            for parameter in layer.parameters():
                parameter.data = parameter.data[order.to(parameter.device)]
        parallelize_module(layer, mesh, ColwiseParallel() if isinstance(share, Columns) else RowwiseParallel())
    for path, names in divided.counts.items():
        block = network.get_submodule(path)
        for name in names:
            setattr(block, name, getattr(block, name) // mesh.size())


def strategy(values: Mapping[str, Any]) -> dict[str, Parallel]:
    """The strategy that a section `trainer` names, where it is one of ours."""
    kind = values.get("strategy")
    return {"strategy": Parallel(kind, values.get("tensor_parallel_size"))} if kind in KINDS else {}


def copies(trainer: pl.Trainer) -> int:
    """How many processes in a row see the same data, because they divide each layer among them."""
    return trainer.strategy.sizes()[1] if isinstance(trainer.strategy, Parallel) else 1


def check(network: Any, trainer: pl.Trainer) -> None:
    """Raise a ConfigError, before any process is started, where the network cannot be cut as asked."""
    found = trainer.strategy
    if not isinstance(found, Parallel):
        return
    world, together = found.num_nodes * found.num_processes, found.sizes()[1]
    if world % together:
        fits = ", ".join(str(count) for count in range(1, world + 1) if world % count == 0)
        text, got = "tensor_parallel_size must divide the number of devices", f"{together} of {world}"
        raise ConfigError([Problem(text, path="trainer.tensor_parallel_size", got=got, fits=fits)])
    if together > 1:
        divide(network, together)


def clip_norm(parameters: Iterable[nn.Parameter], most: float) -> Tensor:
    """As `torch.nn.utils.clip_grad_norm_`, where some gradients are cut in one way and some in another; the norm."""
    together: dict[Any, list[nn.Parameter]] = {}
    for parameter in parameters:
        if parameter.grad is not None:
            together.setdefault(kind_of(parameter), []).append(parameter)
    norms = [nn.utils.get_total_norm([p.grad for p in group if p.grad is not None]) for group in together.values()]
    whole = [norm.full_tensor() if isinstance(norm, DTensor) else norm for norm in norms]
    total = torch.stack(whole).norm()
    for group in together.values():
        nn.utils.clip_grads_with_norm_(group, most, total)
    return total


def kind_of(parameter: Tensor) -> Any:
    """Parameters of one kind can be worked on in one stroke: whole ones, and those cut over the same devices."""
    return parameter.device_mesh if isinstance(parameter, DTensor) else None
