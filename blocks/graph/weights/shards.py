"""Checkpoints whose tensors lie in shards: safetensors files in a folder beside the checkpoint.

The processes of a training write them together (`tasks/resume/shards.py`), each its own part of
every tensor. The checkpoint itself, an archive of `torch.save`, names the folder and the checksum
of each file under `shards`. Nothing here needs the number of processes, or runs code of a file.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

import torch
from torch import Tensor

from blocks.graph.weights.safe_load import read_archive
from blocks.support.files import check_kind, check_memory, kind_of, open_file

KEY = "shards"  # of a checkpoint: the folder and its files
WEIGHTS, OPTIMIZER = "state_dict", "optimizer_states"  # first parts of the names of tensors
OFFSETS = "DCP_SHARDING_INFO"  # of torch.distributed.checkpoint, in the header of a file
CHUNK = 1 << 22  # bytes read at once


@dataclass
class Layout:
    """Where one tensor lies.

    Args:
        shape: of the whole tensor.
        pieces: of each piece its file, and its first row, column, ... in the whole.
        held: numbers in all pieces.
    """

    shape: list[int]
    pieces: list[tuple[Path, list[int]]] = field(default_factory=list)
    held: int = 0


def read_whole(file: Path, *, values: bool = True) -> Any:
    """Return the content of a checkpoint with all of its tensors, as one process would save it.

    Args:
        file: of the checkpoint; its shards lie beside it.
        values: of tensors in shards; otherwise these are on the meta device, and nothing is read.

    Raises:
        ValueError: the shards are missing, or are no parts of whole tensors.
        Exception: whatever `read_archive` raises.
    """
    content = read_archive(file)
    if not is_sharded(content):
        return content
    files = shard_files(content, file)
    layouts = read_layouts(files)
    if values:
        check_memory(file, sum(path.stat().st_size for path in files))
        whole = _read_pieces(layouts)
    else:
        whole = {name: torch.empty(each.shape, device="meta") for name, each in layouts.items()}
    return _put_back(content, whole)


def is_sharded(content: Any) -> bool:
    """Return whether the tensors of a checkpoint lie in shards."""
    return isinstance(content, Mapping) and isinstance(content.get(KEY), Mapping)


def shard_files(content: Mapping[str, Any], file: Path) -> list[Path]:
    """Return the files with the tensors of a checkpoint.

    Raises:
        ValueError: a name leads elsewhere, or a file is missing or no regular file.
    """
    shards = content[KEY]
    names = [shards.get("folder"), *shards.get("files", ())]
    for name in names:
        if not isinstance(name, str) or PurePath(name).name != name or name.startswith("."):
            raise ValueError(f"{name!r} is no name of a file beside the checkpoint")
    files = [file.parent / names[0] / name for name in names[1:]]
    for path in files:
        check_kind(path, kind_of(path))
        if not path.is_file():
            raise ValueError(f"its shard {names[0]}/{path.name} is missing")
    return files


def find_shard_damage(file: Path) -> str | None:
    """Return what is wrong with the shards of a checkpoint, or None."""
    content = read_archive(file)
    try:
        files = shard_files(content, file)
    except (OSError, ValueError) as error:
        return str(error)
    for path in files:
        if checksum(path) != content[KEY]["files"][path.name]:
            return f"the checksum of its shard {path.parent.name}/{path.name} does not fit"
    return None


def checksum(path: Path) -> str:
    """Return the SHA-256 of a file."""
    found = hashlib.sha256()
    with open_file(path) as file:
        while data := file.read(CHUNK):
            found.update(data)
    return found.hexdigest()


def read_layouts(files: Iterable[Path]) -> dict[str, Layout]:
    """Return where each tensor lies, by name.

    Raises:
        ValueError: the pieces of a tensor are not as many numbers as the whole.
    """
    from safetensors import safe_open

    found: dict[str, Layout] = {}
    for path in files:
        with safe_open(path, "pt") as file:
            offsets = json.loads((file.metadata() or {}).get(OFFSETS, "{}"))
            for name in file.keys():  # noqa: SIM118 - no mapping
                shape = list(file.get_slice(name).get_shape())
                first = list(map(int, offsets.get(name, {}).get("saved_offsets", [0] * len(shape))))
                layout = found.setdefault(name, Layout([0] * len(shape)))
                ends = [start + size for start, size in zip(first, shape, strict=True)]
                pairs = zip(layout.shape, ends, strict=True)
                layout.shape = [max(size, end) for size, end in pairs]
                layout.pieces.append((path, first))
                layout.held += _count(shape)
    for name, layout in found.items():
        if _count(layout.shape) != layout.held:
            raise ValueError(f"the pieces of {name} are not the whole tensor")
    return found


def _count(shape: Iterable[int]) -> int:
    return math.prod(shape)


def _read_pieces(layouts: Mapping[str, Layout]) -> dict[str, Tensor]:
    from safetensors import safe_open

    whole: dict[str, Tensor] = {}
    of_file: dict[Path, list[tuple[str, list[int]]]] = {}
    for name, layout in layouts.items():
        for path, first in layout.pieces:
            of_file.setdefault(path, []).append((name, first))
    for path, pieces in of_file.items():
        with safe_open(path, "pt") as file:
            for name, first in pieces:
                piece = file.get_tensor(name)
                if name not in whole:
                    whole[name] = piece.new_zeros(layouts[name].shape)
                pairs = zip(first, piece.shape, strict=True)
                place = tuple(slice(start, start + size) for start, size in pairs)
                whole[name][place] = piece
    return whole


def _put_back(content: Mapping[str, Any], whole: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return a checkpoint with its tensors where a single process has them."""
    weights: dict[str, Tensor] = {}
    optimizers = [dict(each) for each in content.get(OPTIMIZER, ())]
    states = [
        {number: dict(entry) for number, entry in each["state"].items()} for each in optimizers
    ]
    for name, value in whole.items():
        kind, _, own = name.partition(".")
        if kind == WEIGHTS:
            weights[own] = value
        elif kind == OPTIMIZER:
            which, number, key = own.split(".", 2)
            states[int(which)].setdefault(int(number), {})[key] = value
    for alias, name in content[KEY].get("ties", {}).items():
        weights[alias] = weights[name]
    for each, state in zip(optimizers, states, strict=True):
        each["state"] = state
    rest = {name: value for name, value in content.items() if name != KEY}
    return {**rest, WEIGHTS: weights, OPTIMIZER: optimizers}
