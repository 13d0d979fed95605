"""One network on several devices: `trainer=fsdp` shards its weights, `trainer=tensor_parallel`
splits its layers.

Both are Lightning's ModelParallelStrategy; what is cut where is read from the graph. A shard holds
a part of every weight, gradient and optimizer state; the weights of one repeat of the graph at a
time are gathered to compute with it (FSDP: Zhao et al. 2023, arXiv:2304.11277; ZeRO stage 3:
Rajbhandari et al. 2020, arXiv:1910.02054). Tensor parallelism leaves each device a share of the
heads and of the width of the MLPs (Shoeybi et al. 2019, arXiv:1909.08053). Both can be combined:
the devices of a group split each layer, and the weights are sharded between the groups.
"""

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import ModelParallelStrategy
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DeviceMesh, DTensor
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
from torch.nn.parallel import DistributedDataParallel

from blocks.graph import (
    Columns,
    ConfigError,
    Problem,
    TensorParallelPlan,
    find_repeats,
    plan_tensor_parallel,
    read_archive,
)
from blocks.graph.weights.shards import KEY as SHARDS
from blocks.graph.weights.shards import WEIGHTS
from tasks.parallel.delayed_init import DelayedInit
from tasks.parallel.optimizer_state import Orders, mesh_of, to_named, to_single_device
from tasks.parallel.shards import (
    flatten_state,
    permute_rows,
    read_shards,
    take_tensors,
    write_shards,
)
from tasks.resume import checkpoint_file

KINDS = ("fsdp", "tensor_parallel")
FULL = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True)
GATHERED_DTYPE = {"bf16-mixed": torch.bfloat16}


class ParallelStrategy(ModelParallelStrategy):
    """Lightning's strategy for a network whose graph determines how it is cut.

    All processes save their parts of a checkpoint together; the parts are those of the tensors of
    a single process, so that any other option can resume from them.

    Args:
        kind: "fsdp" or "tensor_parallel".
        tensor_parallel_size: number of devices that split each layer; None is all devices of a
            machine for "tensor_parallel" and one for "fsdp".
    """

    def __init__(self, kind: str, tensor_parallel_size: int | None = None):
        super().__init__()
        if tensor_parallel_size is None and kind == "fsdp":
            tensor_parallel_size = 1
        self.kind = kind
        self.divided = TensorParallelPlan()
        self.size_asked = tensor_parallel_size
        self.delayed: DelayedInit | None = None  # of a network that is on the meta device

    def sizes(self) -> tuple[int, int]:
        """Return the number of groups of devices, and the devices of a group that split layers."""
        size = self.size_asked or self.num_processes
        return self.num_nodes * self.num_processes // size, size

    def setup_environment(self) -> None:
        self._data_parallel_size, self._tensor_parallel_size = self.sizes()
        super().setup_environment()

    def distribute(self, network: nn.Module) -> None:
        """Cut the network once; `configure_model` of a task calls this before every fit and
        test.
        """
        if any(isinstance(parameter, DTensor) for parameter in network.parameters()):
            return
        groups, size = self.sizes()
        if groups > 1 and size > 1:
            # torch warns that sums over both meshes are not fused; no user could change that
            logging.getLogger("torch.distributed.tensor._redistribute").setLevel(logging.ERROR)
        if size > 1:
            self.divided = plan_tensor_parallel(network, size)  # type: ignore[arg-type]
            split_layers(network, self.divided, self.device_mesh["tensor_parallel"])
        if groups > 1 or size == 1:
            dtype = GATHERED_DTYPE.get(str(self.precision_plugin.precision))
            shard_weights(network, self.device_mesh["data_parallel"], dtype)
        if self.delayed is not None:
            orders = self._row_orders()
            own = {name.removeprefix("network."): order for name, order in orders.items()}
            self.delayed.fill(network, self.root_device, own)
            self.delayed = None

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """Return the part that this process has of each weight, with rows in the order of a single
        device.
        """
        assert self.model is not None
        weights = get_model_state_dict(self.model)
        return reorder(weights, self._row_orders(inverse=True))

    def optimizer_state(self, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        """Return the part that this process has of the state, numbered as on a single device."""
        optimizer, module = getattr(optimizer, "optimizer", optimizer), self.model
        assert module is not None
        state = get_optimizer_state_dict(module, optimizer)
        orders = self._row_orders(inverse=True)
        return to_single_device(state, optimizer, self._parameter_names(), orders)

    def save_checkpoint(
        self, checkpoint: dict[str, Any], filepath: Any, storage_options: Any = None
    ) -> None:
        """Write a folder of shards together, then, on the first process, the checkpoint that names
        it.
        """
        path = Path(self.broadcast(filepath))
        io: Any = self.checkpoint_io
        folder = self.broadcast(io.choose_shards(path, checkpoint["global_step"]))
        ties = self._tied_names()
        files = write_shards(take_tensors(checkpoint, ties), folder)
        checkpoint[SHARDS] = {"folder": folder.name, "files": files, "ties": ties}
        if self.is_global_zero:
            io.save_checkpoint(checkpoint, path)

    def load_checkpoint(
        self, checkpoint_path: Any, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Give each process its part of a checkpoint: of its shards, or of the one file that the
        first process reads.
        """
        path, module = Path(self.broadcast(checkpoint_path)), self.model
        assert module is not None
        checkpoint: dict[str, Any] = {}
        if self.is_global_zero:
            checkpoint = checkpoint_file.load_checkpoint(path, read_archive)
        folder = self.broadcast(checkpoint.get(SHARDS, {}).get("folder"))
        weights = checkpoint.pop("state_dict", {})
        states = checkpoint.pop("optimizer_states", [])
        checkpoint = self.broadcast(checkpoint)
        options = FULL
        if folder is not None:
            options = StateDictOptions()
            states = self.broadcast(states)
            weights = self._read_shards(path.parent / folder, states)
        orders = self._row_orders()
        set_model_state_dict(module, reorder(weights, orders), options=options)
        for number, optimizer in enumerate(self.optimizers):
            named: dict[str, Any] = {}
            if folder is not None or self.is_global_zero:
                named = to_named(states[number], optimizer, self._parameter_names(), orders)
            set_optimizer_state_dict(module, optimizer, named, options=options)
        return checkpoint | {"state_dict": {}, "optimizer_states": []}

    def _read_shards(self, folder: Path, states: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the part of this process of each weight, and add that of the state of each
        optimizer to `states`.
        """
        assert self.model is not None
        ties = self._tied_names()
        weights: dict[str, Any] = get_model_state_dict(self.model)
        tensors = {f"{WEIGHTS}.{name}": each for name, each in weights.items() if name not in ties}
        for number, optimizer in enumerate(self.optimizers):
            own = get_optimizer_state_dict(self.model, optimizer)
            found = to_single_device(own, optimizer, self._parameter_names(), {})["state"]
            tensors |= flatten_state(number, found)
            for parameter, entry in found.items():
                kept = states[number]["state"].get(parameter, {})
                states[number]["state"][parameter] = {**entry, **kept}
        read_shards(tensors, folder)
        return weights

    def _tied_names(self) -> dict[str, str]:
        """Return each name of a weight that is another one, with the name of that one."""
        assert self.lightning_module is not None
        first: dict[int, str] = {}
        ties = {}
        for name, value in self.lightning_module.named_parameters(remove_duplicate=False):
            own = first.setdefault(id(value), name)
            if own != name:
                ties[name] = own
        return ties

    def _parameter_names(self) -> dict[int, str]:
        assert self.lightning_module is not None
        return {id(parameter): name for name, parameter in self.lightning_module.named_parameters()}

    def _row_orders(self, inverse: bool = False) -> dict[str, Tensor]:
        """Return the order of rows among the devices of each weight of which a device has several
        pieces, or the inverse order.
        """
        names = self._parameter_names()
        network: Any = self.lightning_module.network  # type: ignore[union-attr]
        orders = {}
        for path, share in self.divided.layers.items():
            if isinstance(share, Columns) and len(share.parts) > 1:
                order = share.order(self.sizes()[1])
                if inverse:
                    order = order.argsort()
                for parameter in network.get_submodule(path).parameters():
                    orders[names[id(parameter)]] = order
        return orders


def reorder(weights: Mapping[str, Any], orders: Orders) -> dict[str, Any]:
    """Return the weights with rows in another order where `orders` has one."""
    reordered = dict(weights)
    for name in orders:
        if name in reordered:
            reordered[name] = permute_rows(reordered[name], orders[name])
    return reordered


def shard_weights(network: nn.Module, mesh: DeviceMesh, dtype: torch.dtype | None) -> None:
    """Shard every weight; each repeat of the graph is gathered by itself, and the rest as one.

    Args:
        network: sharded in place.
        mesh: the devices.
        dtype: type of the gathered weights; shards and sums of gradients keep theirs.
    """
    policy = MixedPrecisionPolicy()
    if dtype is not None:
        policy = MixedPrecisionPolicy(dtype, torch.float32)
    for module in (*find_repeats(network).values(), network):
        fully_shard(module, mesh=mesh, mp_policy=policy)


def split_layers(network: nn.Module, divided: TensorParallelPlan, mesh: DeviceMesh) -> None:
    """Leave each device its share of the layers in `divided`."""
    for path, share in divided.layers.items():
        layer = network.get_submodule(path)
        if not isinstance(share, Columns):
            parallelize_module(layer, mesh, RowwiseParallel())
            continue
        if len(share.parts) > 1:
            order = share.order(mesh.size())
            for parameter in layer.parameters():
                parameter.data = parameter.data[order.to(parameter.device)]
        parallelize_module(layer, mesh, ColwiseParallel())
    for path, names in divided.counts.items():
        block = network.get_submodule(path)
        for name in names:
            setattr(block, name, getattr(block, name) // mesh.size())


def strategy_options(section: Mapping[str, Any]) -> dict[str, ParallelStrategy]:
    """Return the argument `strategy` of a trainer whose section names one of ours, else {}."""
    kind = section.get("strategy")
    if kind not in KINDS:
        return {}
    return {"strategy": ParallelStrategy(kind, section.get("tensor_parallel_size"))}


def is_sharded(trainer: pl.Trainer) -> bool:
    """Return whether the weights are cut among devices, so that no process has whole ones."""
    return isinstance(trainer.strategy, ParallelStrategy)


def group_size(trainer: pl.Trainer) -> int:
    """Return how many successive processes read the same data because they split each layer."""
    if isinstance(trainer.strategy, ParallelStrategy):
        return trainer.strategy.sizes()[1]
    return 1


def check_strategy(network: Any, trainer: pl.Trainer) -> None:
    """Check, before any process is started, that the network can be cut as asked.

    Raises:
        ConfigError: `tensor_parallel_size` divides neither the devices nor the layers.
    """
    strategy = trainer.strategy
    if not isinstance(strategy, ParallelStrategy):
        return
    devices, size = strategy.num_nodes * strategy.num_processes, strategy.sizes()[1]
    if devices % size:
        divisors = [str(count) for count in range(1, devices + 1) if devices % count == 0]
        problem = Problem(
            "tensor_parallel_size must divide the number of devices",
            path="trainer.tensor_parallel_size",
            got=f"{size} of {devices}",
            fits=", ".join(divisors),
            code="bad-value",
        )
        raise ConfigError(problem)
    if size > 1:
        plan_tensor_parallel(network, size)


def start_evaluation(trainer: pl.Trainer) -> None:
    """Give all processes the buffers of the first one, e.g. the statistics of batch norm.

    `DistributedDataParallel` would do so in every forward pass, and wait for a process that has
    one batch less.
    """
    if trainer.world_size == 1 or is_sharded(trainer):
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
    """Clip gradients as `torch.nn.utils.clip_grad_norm_` does, also where they are sharded
    differently.

    Returns:
        The norm of all gradients before clipping, a scalar.
    """
    groups = group_by_mesh(parameters)
    norms = []
    for group in groups:
        norm = nn.utils.get_total_norm([p.grad for p in group if p.grad is not None])
        if isinstance(norm, DTensor):
            norm = norm.full_tensor()
        norms.append(norm)
    total = torch.stack(norms).norm()
    for group in groups:
        nn.utils.clip_grads_with_norm_(group, most, total)
    return total


def clip_grad_value(parameters: Iterable[nn.Parameter], most: float) -> None:
    """Clip gradients as `torch.nn.utils.clip_grad_value_` does, also where they are sharded
    differently.
    """
    for group in group_by_mesh(parameters):
        nn.utils.clip_grad_value_(group, most)


def group_by_mesh(parameters: Iterable[nn.Parameter]) -> list[list[nn.Parameter]]:
    """Return the parameters that have gradients, those with the same mesh together."""
    groups: dict[DeviceMesh | None, list[nn.Parameter]] = {}
    for parameter in parameters:
        if parameter.grad is not None:
            groups.setdefault(mesh_of(parameter), []).append(parameter)
    return list(groups.values())
