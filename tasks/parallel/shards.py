"""The tensors of a checkpoint, written and read by all processes of a training together, each its
part (`torch.distributed.checkpoint`).

The files are safetensors, so that reading them runs no code. `blocks/graph/weights/shards.py` reads
them in one process.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import Tensor
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner, DefaultSavePlanner
from torch.distributed.tensor import DTensor, distribute_tensor

from blocks.graph import ConfigError, Problem
from blocks.graph.weights.shards import OPTIMIZER, WEIGHTS, checksum
from tasks.resume import checkpoint_file
from tasks.resume.checkpoint_file import SaveError

FILE_SIZE = 1 << 26  # bytes of a process in a file, about


def take_tensors(checkpoint: dict[str, Any], ties: Mapping[str, str]) -> dict[str, Tensor]:
    """Take the tensors of weights and optimizers out of a checkpoint, and return them by name.

    Args:
        checkpoint: loses them, and its entry `state_dict`.
        ties: names of weights that are another one -> the name of that one.
    """
    tensors = {}
    for name, value in checkpoint.pop(WEIGHTS).items():
        if name not in ties:
            tensors[f"{WEIGHTS}.{name}"] = value
    for which, optimizer in enumerate(checkpoint.get(OPTIMIZER, ())):
        found = flatten_state(which, optimizer["state"])
        tensors |= found
        kept = {}
        for number, entry in optimizer["state"].items():
            kept[number] = {key: each for key, each in entry.items() if not is_tensor(each)}
        optimizer["state"] = kept
    return tensors


def flatten_state(which: int, state: Mapping[int, Mapping[str, Any]]) -> dict[str, Tensor]:
    """Return the tensors in the state of an optimizer, by name in the shards."""
    found = {}
    for number, entry in state.items():
        for key, value in entry.items():
            if is_tensor(value):
                found[f"{OPTIMIZER}.{which}.{number}.{key}"] = value
    return found


def is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor)


def write_shards(tensors: Mapping[str, Tensor], folder: Path) -> dict[str, str]:
    """Write tensors into a new folder; every process calls this, with its part of each.

    Returns:
        The checksum of each file, by name.

    Raises:
        SaveError: in all processes, where one of them could not write.
    """
    rank, processes = dist.get_rank(), dist.get_world_size()
    writer = dcp.HuggingFaceStorageWriter(
        str(folder), fqn_to_index_mapping=choose_files(tensors, processes), save_distributed=True
    )
    # what is whole in every process is that of the first one, as in a checkpoint of one file
    planner = DefaultSavePlanner(dedup_save_to_lowest_rank=True)
    error: BaseException | None = None
    try:
        dcp.save(dict(tensors), storage_writer=writer, planner=planner)
    except dcp.CheckpointException as failed:
        error = next(iter(failed.failures.values()))[0]
    own: dict[str, str] = {}
    if error is None:
        try:
            for path in sorted(folder.iterdir())[rank::processes]:
                own[path.name] = checksum(path)
            checkpoint_file.flush_folder(folder)
        except OSError as failed:
            error = failed
    reports: list[Any] = [None] * processes
    text = None if error is None else checkpoint_file.disk_error(error)
    dist.all_gather_object(reports, (own, text))
    for _, problem in reports:
        if problem is not None:
            if rank == 0:
                shutil.rmtree(folder, ignore_errors=True)
            raise SaveError(f"the shards {folder} could not be saved: {problem}")
    files: dict[str, str] = {}
    for found, _ in reports:
        files |= found
    return files


def choose_files(tensors: Mapping[str, Tensor], processes: int) -> dict[str, int]:
    """Return the number of the file of each tensor, from 1: a file is held in memory while it is
    written.
    """
    files: dict[str, int] = {}
    number, size = 1, 0
    for name, value in tensors.items():
        files[name] = number
        size += value.nbytes
        if size >= FILE_SIZE * processes:
            number, size = number + 1, 0
    return files


def read_shards(tensors: Mapping[str, Tensor], folder: Path) -> None:
    """Fill tensors from the shards in a folder; every process calls this, with its part of each.

    Raises:
        ConfigError: the folder lacks one of them.
    """
    reader = dcp.HuggingFaceStorageReader(str(folder))
    try:
        dcp.load(dict(tensors), storage_reader=reader, planner=DefaultLoadPlanner())
    except dcp.CheckpointException as failed:
        error = next(iter(failed.failures.values()))[0]
        raise ConfigError(
            Problem(
                "these shards do not fit the network",
                str(folder),
                got=str(error),
                code="unreadable-file",
            )
        ) from failed


def permute_rows(value: Tensor, order: Tensor) -> Tensor:
    """Return a tensor with its rows in another order; of one that is cut among devices, one whole
    copy exists for a moment.
    """
    if not isinstance(value, DTensor):
        return value[order.to(value.device)]
    whole = value.full_tensor()
    with torch.no_grad():
        whole = whole[order.to(whole.device)]
    mesh, placements = value.device_mesh, value.placements
    return distribute_tensor(whole, mesh, placements, src_data_rank=None)
