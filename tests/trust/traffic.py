"""What processes send each other in a training step, beside what `explain --devices` says.

python -m tests.trust.traffic

Each case trains a step over gloo on the processor, cut as `trainer=...` cuts it. The tensors that
reach a collective are counted as they reach it.
"""

import os
import sys
import tempfile
from collections import Counter
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel
from torch.utils._python_dispatch import TorchDispatchMode

from blocks.graph import compose, plan, plan_tensor_parallel
from blocks.graph.describe.answers.scale import place_all
from blocks.graph.describe.memory_budget import Setting
from tasks.parallel.strategy import shard_weights, split_layers

BATCH, TOKENS, VOCAB = 3, 23, 101
FACTS = {"tokens": {"tokens": TOKENS, "dtype": "int", "vocab": VOCAB}, "vocab": VOCAB}
LLAMA = ["model=llama", "data=text"]
LLAMA += [
    f"model.params.{name}" for name in ("dim=32", "heads=4", "kv_heads=4", "depth=3", "hidden=88")
]
GPT = ["model=gpt2", "data=text"]
GPT += [f"model.params.{name}" for name in ("dim=24", "heads=2", "depth=2", f"length={TOKENS}")]
SETTING = Setting(BATCH, 1, 1, torch.float32, torch.float32, 2, False)
CASES = [
    (GPT, "ddp", 2),
    (LLAMA, "ddp", 3),
    (LLAMA, "fsdp", 2),
    (GPT, "fsdp", 3),
    (GPT, "tensor_parallel", 2),
    (LLAMA, "tensor_parallel", 4),
    (LLAMA, "fsdp+tensor_parallel", 4),
]
# operations of torch.distributed: collective, and whether the whole tensor is its output
NAMES = {
    "allreduce_": ("all-reduce", False),
    "all_reduce": ("all-reduce", False),
    "_allgather_base_": ("all-gather", True),
    "all_gather_into_tensor": ("all-gather", True),
    "_reduce_scatter_base_": ("reduce-scatter", False),
    "reduce_scatter_tensor": ("reduce-scatter", False),
    "broadcast_": ("broadcast", False),
}


class Count(TorchDispatchMode):
    """Counts the bytes of the whole tensor of each collective."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes: Counter[str] = Counter()

    def __torch_dispatch__(
        self, operation: Any, types: Any, arguments: Any = (), keywords: Any = None
    ) -> Any:
        if any(issubclass(kind, DTensor) for kind in types):
            return NotImplemented
        out = operation(*arguments, **(keywords or {}))
        name = operation._schema.name.partition("::")[2]
        if operation._schema.name.startswith(("c10d", "_c10d")) and name in NAMES:
            collective, is_output = NAMES[name]
            if name.startswith("_"):  # output and input, in this order
                whole = arguments[0] if is_output else arguments[1]
            else:
                whole = out if is_output else arguments[0]
            tensors = whole if isinstance(whole, list | tuple) else [whole]
            self.bytes[collective] += sum(each.nbytes for each in tensors)
        return out


def train(rank: int, world: int, words: list[str], strategy: str, folder: str) -> None:
    """A step of one process; the first one writes what was counted."""
    torch.set_num_threads(1)
    store = f"file://{folder}/store"
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=world)
    torch.manual_seed(0)
    network: Any = plan(compose(words), FACTS).materialise()
    divided = {"tensor_parallel": world, "fsdp+tensor_parallel": 2}.get(strategy, 1)
    names = ("data_parallel", "tensor_parallel")
    mesh = dist.init_device_mesh("cpu", (world // divided, divided), mesh_dim_names=names)
    if divided > 1:
        split_layers(network, plan_tensor_parallel(network, divided), mesh["tensor_parallel"])
    if strategy.startswith("fsdp"):
        shard_weights(network, mesh["data_parallel"], None)
    if strategy == "ddp":
        network = DistributedDataParallel(network)
    tokens = torch.randint(VOCAB, (BATCH, TOKENS))
    for _ in range(3):  # in the second step ddp sends the order of its gradients
        counted = Count()
        with counted:
            logits = network(tokens=tokens)["logits"]
            F.cross_entropy(logits.flatten(0, 1), tokens.flatten()).backward()
    if rank == 0:
        torch.save(dict(counted.bytes), f"{folder}/counted")
    dist.destroy_process_group()


def compare(words: list[str], strategy: str, world: int) -> tuple[dict[str, int], dict[str, int]]:
    """Return bytes by collective: as said, and as counted."""
    found = place_all(lambda: plan(compose(words), FACTS), SETTING, [world], [strategy], size=None)
    said: Counter[str] = Counter()
    for each in found[0].traffic:
        said[each.collective] += each.bytes
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(train, (world, words, strategy, folder), nprocs=world)
        counted = torch.load(f"{folder}/counted", weights_only=True)
    return dict(said), counted


def main() -> int:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    good = True
    for words, strategy, world in CASES:
        said, counted = compare(words, strategy, world)
        good &= said == counted
        print(f"{words[0]}, {strategy}, {world}: said {said}, counted {counted}", flush=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
