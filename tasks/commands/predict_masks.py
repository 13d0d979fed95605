"""Predict the class of each pixel of images, and write masks."""

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from blocks.graph import Graph
from tasks.commands.common import FAILED, OK
from tasks.data.readers.base import Item
from tasks.data.walk import escape_name
from tasks.errors import ArgumentError
from tasks.run.load_run import Finished

FOLDER = Path("masks")


def gives_masks(run: Finished) -> bool:
    """Return whether a run predicts the class of each pixel."""
    if "classes" not in run.facts or not isinstance(run.network, Graph):
        return False
    (output,) = run.network.graph.find_nodes(op="output")
    return len(output.meta["inputs"][0].shape) == 4 and hasattr(run.reader, "write_mask")


def write_masks(run: Finished, items: Iterable[Item], arguments: argparse.Namespace) -> int:
    """Write a PNG file for each image into the folder `-o`, and a line on standard output: the
    image, its mask, and the share of each class that is there.

    Returns:
        The exit status: 1 if an image is bad.

    Raises:
        ArgumentError: the folder cannot be made.
    """
    folder = arguments.output or FOLDER
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArgumentError(
            "output", f"{folder} is no folder for masks", got=error.strerror, fix="-o FOLDER"
        ) from error
    status, taken = OK, set[str]()
    for item, mask in predict_masks(run, items):
        if mask is None:
            status = FAILED
            print(f"{escape_name(item.name)}: {item.error}")
            continue
        path = folder / f"{find_free_name(item.name, taken)}.png"
        run.reader.write_mask(path, mask)  # type: ignore[attr-defined]
        print(f"{escape_name(item.name)} -> {path}: {describe_shares(mask, run.classes)}")
    return status


def predict_masks(run: Finished, items: Iterable[Item]) -> Iterator[tuple[Item, Tensor | None]]:
    """Yield each item with the class of each of its pixels, (height, width) of its file; None for a
    bad item.
    """
    for item in items:
        if item.error:
            yield item, None
            continue
        batch = run.reader.batch([item.sample])
        inputs = {name: batch[name] for name in run.network.input_names if name in batch}
        with torch.no_grad():
            result: Any = run.network(**inputs)
        logits = result["logits"] if isinstance(result, dict) else result
        size = read_size(item.name) or tuple(batch["image"].shape[2:])
        logits = F.interpolate(logits.float(), size=size, mode="bilinear", align_corners=False)
        yield item, logits[0].argmax(0)


def read_size(name: str) -> tuple[int, int] | None:
    """Return height and width of an image file; None for what is no file."""
    path = Path(name)
    if not path.is_file():
        return None
    with Image.open(path) as image:
        return image.height, image.width


def find_free_name(name: str, taken: set[str]) -> str:
    """Return the stem of a name, with a number where several items share it."""
    stem = Path(name).stem or "mask"
    found, number = stem, 2
    while found in taken:
        found, number = f"{stem}_{number}", number + 1
    taken.add(found)
    return found


def describe_shares(mask: Tensor, classes: list[str]) -> str:
    """Return the share of each class of a mask, the largest first."""
    counts = torch.bincount(mask.flatten(), minlength=len(classes))
    parts = []
    for index in counts.argsort(descending=True, stable=True).tolist():
        if counts[index]:
            parts.append(f"{classes[index]} {float(counts[index]) / mask.numel():.1%}")
    return ", ".join(parts)
