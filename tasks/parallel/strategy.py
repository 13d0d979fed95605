"""One network on several devices: `trainer=fsdp` cuts its weights into shards,
`trainer=tensor_parallel` its layers.

Both are Lightning's ModelParallelStrategy; what is cut where is read from the graph. A shard holds
a part of every weight, gradient and optimiser state; the weights of one repeat of the graph at a
time are gathered to compute with it (FSDP: Zhao et al. 2023, arXiv:2304.11277; ZeRO stage 3:
Rajbhandari et al. 2020, arXiv:1910.02054). Dividing layers leaves each device a share of the heads
and of the width of the MLPs (Shoeybi et al. 2019, arXiv:1909.08053). The two go together: groups of
devices divide each layer, and shards are cut between the groups.
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
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
from torch.nn.parallel import DistributedDataParallel

from blocks.graph import (
    Columns,
    ConfigError,
    Problem,
    TensorParallelPlan,
    find_repeats,
    plan_tensor_parallel,
)
from tasks.parallel.optimizer_state import as_one, by_name, kind_of

KINDS = ("fsdp", "tensor_parallel")
FULL = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True)
COMPUTED_IN = {"bf16-mixed": torch.bfloat16}


class ParallelStrategy(ModelParallelStrategy):
    """Lightning's strategy with a network that says itself how it is cut. Checkpoints are those
    of one process.

    Args:
        kind: "fsdp" or "tensor_parallel".
        tensor_parallel_size: how many devices divide each layer; None is all of a machine, and one
            for "fsdp".
    """

    def __init__(self, kind: str, tensor_parallel_size: int | None = None):
        super().__init__(save_distributed_checkpoint=False)
        self.kind, self.divided = kind, TensorParallelPlan()
        self.together = tensor_parallel_size or (1 if kind == "fsdp" else None)

    def sizes(self) -> tuple[int, int]:
        """How many groups of devices there are, and how many devices divide a layer in each."""
        together = self.together or self.num_processes
        return self.num_nodes * self.num_processes // together, together

    def setup_environment(self) -> None:
        self._data_parallel_size, self._tensor_parallel_size = self.sizes()
        super().setup_environment()

    def distribute(self, network: nn.Module) -> None:
        """Cut the network, once: `configure_model` of a task calls this before every fit and
        test.
        """
        if any(isinstance(parameter, DTensor) for parameter in network.parameters()):
            return
        groups, together = self.sizes()
        if (
            groups > 1 and together > 1
        ):  # torch wonders why sums over both are not one: nothing a user could do
            logging.getLogger("torch.distributed.tensor._redistribute").setLevel(logging.ERROR)
        if together > 1:
            self.divided = plan_tensor_parallel(network, together)  # type: ignore[arg-type]
            share_out(network, self.divided, self.device_mesh["tensor_parallel"])
        if groups > 1 or together == 1:
            cut(
                network,
                self.device_mesh["data_parallel"],
                COMPUTED_IN.get(str(self.precision_plugin.precision)),
            )

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """All weights on the first process, in the order of one device."""
        back = self._orders(back=True)
        found = super().lightning_module_state_dict()
        return {name: value[back[name]] if name in back else value for name, value in found.items()}

    def optimizer_state(self, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        """All states of the optimiser on the first process, as one device would have them."""
        optimizer, module = getattr(optimizer, "optimizer", optimizer), self.model
        assert module is not None
        options = StateDictOptions(full_state_dict=True, cpu_offload=True)
        found = get_optimizer_state_dict(module, optimizer, options=options)
        return (
            as_one(found, optimizer, self._names(), self._orders(back=True))
            if self.global_rank == 0
            else {}
        )

    def load_checkpoint(
        self, checkpoint_path: Any, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint on the first process, and give each process its part."""
        path, first, module = self.broadcast(checkpoint_path), self.global_rank == 0, self.model
        assert module is not None
        checkpoint: dict[str, Any] = {}
        if first:
            checkpoint = self.checkpoint_io.load_checkpoint(
                path, map_location="cpu", weights_only=weights_only
            )
        state, kept = checkpoint.pop("state_dict", {}), checkpoint.pop("optimizer_states", ())
        checkpoint = self.broadcast(checkpoint)
        orders = self._orders()
        state = {
            name: value[orders[name]] if name in orders else value for name, value in state.items()
        }
        set_model_state_dict(module, state, options=FULL)
        for number, optimizer in enumerate(self.optimizers):
            named = by_name(kept[number], optimizer, self._names(), orders) if first else {}
            set_optimizer_state_dict(module, optimizer, named, options=FULL)
        return checkpoint | {"state_dict": state, "optimizer_states": list(kept)}

    def _names(self) -> dict[int, str]:
        assert self.lightning_module is not None
        return {id(parameter): name for name, parameter in self.lightning_module.named_parameters()}

    def _orders(self, back: bool = False) -> dict[str, Tensor]:
        """For each weight of which a device has several pieces: its rows in the order of the
        devices, or back.
        """
        names, found = self._names(), {}
        network: Any = self.lightning_module.network  # type: ignore[union-attr]
        for path, share in self.divided.layers.items():
            if isinstance(share, Columns) and len(share.parts) > 1:
                order = share.order(self.sizes()[1])
                layer = network.get_submodule(path)
                found.update(
                    {
                        names[id(each)]: order.argsort() if back else order
                        for each in layer.parameters()
                    }
                )
        return found


def cut(network: nn.Module, mesh: Any, computed_in: torch.dtype | None) -> None:
    """Cut every weight into shards; each repeat of the graph is gathered by itself, and the rest as
    one.

    Args:
        computed_in: the type of what is gathered; the shards and the sums of gradients stay as they
            are.
    """
    policy = MixedPrecisionPolicy(computed_in, torch.float32 if computed_in else None)
    for part in (*find_repeats(network).values(), network):
        fully_shard(part, mesh=mesh, mp_policy=policy)


def share_out(network: nn.Module, divided: TensorParallelPlan, mesh: Any) -> None:
    """Leave each device its share of the layers in `divided`."""
    for path, share in divided.layers.items():
        layer = network.get_submodule(path)
        if isinstance(share, Columns) and len(share.parts) > 1:
            order = share.order(mesh.size())
            for parameter in layer.parameters():
                parameter.data = parameter.data[order.to(parameter.device)]
        parallelize_module(
            layer, mesh, ColwiseParallel() if isinstance(share, Columns) else RowwiseParallel()
        )
    for path, names in divided.counts.items():
        block = network.get_submodule(path)
        for name in names:
            setattr(block, name, getattr(block, name) // mesh.size())


def strategy_options(values: Mapping[str, Any]) -> dict[str, ParallelStrategy]:
    """The strategy that a section `trainer` names, where it is one of ours."""
    kind = values.get("strategy")
    return (
        {"strategy": ParallelStrategy(kind, values.get("tensor_parallel_size"))}
        if kind in KINDS
        else {}
    )


def is_sharded(trainer: pl.Trainer) -> bool:
    """Return whether the weights are cut among devices, so that no process has whole ones."""
    return isinstance(trainer.strategy, ParallelStrategy)


def group_size(trainer: pl.Trainer) -> int:
    """How many processes in a row see the same data, because they divide each layer among them."""
    return trainer.strategy.sizes()[1] if isinstance(trainer.strategy, ParallelStrategy) else 1


def check_strategy(network: Any, trainer: pl.Trainer) -> None:
    """Raise a ConfigError, before any process is started, where the network cannot be cut as
    asked.
    """
    found = trainer.strategy
    if not isinstance(found, ParallelStrategy):
        return
    world, together = found.num_nodes * found.num_processes, found.sizes()[1]
    if world % together:
        fits = ", ".join(str(count) for count in range(1, world + 1) if world % count == 0)
        text, got = (
            "tensor_parallel_size must divide the number of devices",
            f"{together} of {world}",
        )
        raise ConfigError([Problem(text, path="trainer.tensor_parallel_size", got=got, fits=fits)])
    if together > 1:
        plan_tensor_parallel(network, together)


def start_evaluation(trainer: pl.Trainer) -> None:
    """Give all processes the buffers of the first one, e.g. the statistics of batch norm, before a
    validation or test.

    `DistributedDataParallel` would do so in every forward pass, and wait for a process that has one
    batch less.
    """
    if trainer.world_size == 1 or isinstance(trainer.strategy, ParallelStrategy):
        return
    for buffer in trainer.lightning_module.buffers():
        torch.distributed.broadcast(buffer, 0)
    if isinstance(trainer.strategy.model, DistributedDataParallel):
        trainer.strategy.model.require_forward_param_sync = False


def end_evaluation(trainer: pl.Trainer) -> None:
    """Let training share buffers in every forward pass again."""
    if isinstance(trainer.strategy.model, DistributedDataParallel):
        trainer.strategy.model.require_forward_param_sync = True


def clip_grad_norm(parameters: Iterable[nn.Parameter], most: float) -> Tensor:
    """As `torch.nn.utils.clip_grad_norm_`, where some gradients are cut in one way and some in
    another; the norm.
    """
    together: dict[Any, list[nn.Parameter]] = {}
    for parameter in parameters:
        if parameter.grad is not None:
            together.setdefault(kind_of(parameter), []).append(parameter)
    norms = [
        nn.utils.get_total_norm([p.grad for p in group if p.grad is not None])
        for group in together.values()
    ]
    whole = [norm.full_tensor() if isinstance(norm, DTensor) else norm for norm in norms]
    total = torch.stack(whole).norm()
    for group in together.values():
        nn.utils.clip_grads_with_norm_(group, most, total)
    return total
