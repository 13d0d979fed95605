"""The initial values of networks that several processes cut on the meta device, beside those of one
process.

python -m tests.trust.initial
python -m tests.trust.initial --quick      a Llama alone

Each case cuts a network over gloo on the processor, draws its values
(`tasks.parallel.delayed_init`) and gathers them again. Parameters, buffers and the state of torch's
generator must be equal to the bit to those that `materialise` gives.
"""

import logging
import os
import sys
import tempfile
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.distributed.tensor import DTensor

from blocks.graph import Columns, compose, plan, plan_tensor_parallel
from tasks.parallel.delayed_init import DelayedInit, gather
from tasks.parallel.strategy import shard_weights, split_layers
from tests.trust.traffic import FACTS, GPT, LLAMA

IMAGE = {"image": [3, 32, 32], "classes": 11}
VIT = ["model=vit", "data=digits", "model.params.depth=3", "model.params.dim=32"]
SWIN = ["model=swin", "data=digits", "model.params.dim=8"]
RESNET = ["model=resnet18"]
EXPERTS = ["model=mixtral_8x7b", "data=text"]
EXPERTS += [f"model.params.{name}" for name in ("dim=32", "heads=4", "kv_heads=4", "depth=2")]
EXPERTS += ["model.params.hidden=40"]
CASES: list[tuple[list[str], dict[str, Any], int, int]] = [
    (GPT, FACTS, 3, 1),  # words, facts, processes, of which divide layers
    (LLAMA, FACTS, 4, 2),
    (GPT, FACTS, 2, 2),
    (VIT, IMAGE, 4, 2),
    (SWIN, IMAGE, 2, 1),
    (RESNET, IMAGE, 2, 1),
    (EXPERTS, FACTS, 3, 1),
]


def cut(network: Any, world: int, size: int) -> dict[str, torch.Tensor]:
    """Cut a network; return the orders of rows among the devices, by name of the weight."""
    names = ("data_parallel", "tensor_parallel")
    mesh = dist.init_device_mesh("cpu", (world // size, size), mesh_dim_names=names)
    orders = {}
    if size > 1:
        divided = plan_tensor_parallel(network, size)
        split_layers(network, divided, mesh["tensor_parallel"])
        for path, share in divided.layers.items():
            if isinstance(share, Columns) and len(share.parts) > 1:
                for name, _ in network.get_submodule(path).named_parameters():
                    orders[f"{path}.{name}"] = share.order(size)
    if world > size or size == 1:
        shard_weights(network, mesh["data_parallel"], None)
    assert any(isinstance(value, DTensor) for value in network.parameters())
    return orders


def list_differing(single: Any, network: Any, orders: dict[str, torch.Tensor]) -> list[str]:
    """Return the names of parameters and buffers that differ."""
    differing = []
    found = dict(network.named_parameters(remove_duplicate=False))
    for name, value in single.named_parameters(remove_duplicate=False):
        if not gather(found[name], orders.get(name)).equal(value.detach()):
            differing.append(name)
    held = dict(network.named_buffers())
    for name, value in single.named_buffers():
        if not held[name].equal(value):
            differing.append(name)
    return differing


def compare(
    rank: int, world: int, words: list[str], facts: dict[str, Any], size: int, folder: str
) -> None:
    """Cut a network in one process, and write the names of what differs."""
    logging.getLogger("torch.distributed.tensor._redistribute").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    store = f"file://{folder}/store"
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=world)
    torch.manual_seed(0)
    single = plan(compose(words), facts).materialise()
    random = torch.get_rng_state()
    torch.manual_seed(0)
    built = plan(compose(words), facts)
    network, delayed = built.model, DelayedInit(built)
    torch.rand(5)  # what else is drawn before the processes are there
    orders = cut(network, world, size)
    delayed.fill(network, torch.device("cpu"), orders)
    differing = list_differing(single, network, orders)
    if not torch.get_rng_state().equal(random):
        differing.append("the generator")
    if rank == 0:
        torch.save([len(network.state_dict()), differing], f"{folder}/found")
    dist.destroy_process_group()


def main() -> int:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    good = True
    cases = CASES
    if "--quick" in sys.argv:
        cases = CASES[1:2]
    for words, facts, world, size in cases:
        with tempfile.TemporaryDirectory() as folder:
            mp.spawn(compare, (world, words, facts, size, folder), nprocs=world)
            count, differing = torch.load(f"{folder}/found", weights_only=True)
        good &= not differing
        text = f"{words[0]}, {world // size} x {size} processes: {count} tensors"
        print(f"{text}, of which differ {differing or 'none'}", flush=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
