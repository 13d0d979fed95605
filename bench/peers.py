"""The libraries to measure against, made importable beside our own packages.

`make bench` installs `bench/peers.txt` into `.peers/`, without what the environment has already;
the variable `DOUGONG_PEERS` names another folder of packages. It comes last on the path, so that
both sides run on one torch.
"""

import importlib.util
import os
import sys
from pathlib import Path

import torch

FOLDER = Path(__file__).resolve().parents[1] / ".peers"
OPERATORS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_declared: list[torch.library.Library] = []  # what is declared goes when its library does


def admit() -> None:
    """Put the peers on the path."""
    folder = os.environ.get("DOUGONG_PEERS", str(FOLDER))
    if folder not in sys.path:
        sys.path.append(folder)
    if torch.version.cuda is None and not _declared and has("torchvision"):
        # There is no torchvision for the CPU build; its CUDA wheel imports once these two of its
        # operators are there.
        library = torch.library.Library("torchvision", "DEF")
        for schema in OPERATORS:
            library.define(schema)
        _declared.append(library)


def has(package: str) -> bool:
    """Whether a package can be imported."""
    return importlib.util.find_spec(package) is not None
