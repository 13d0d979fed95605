"""What all pictures of the course share: files, trained networks, digits."""

import json
import re
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import torch
from drawing.chinese import in_chinese
from torch import Tensor, nn

COURSE = Path(__file__).resolve().parents[1]
PICTURES, WIDGETS = COURSE / "pictures", COURSE / "widgets"
COMMENT = re.compile("<!--.*-->")
COLOURS = ["#2f6fdb", "#d9730d", "#3a9d5d", "#8e44ad", "#7f7f7f", "#c0392b"]


def save(figure: Any, name: str) -> None:
    """Write a figure in both languages: NAME.svg and NAME.zh.svg.

    The time of day is left out, so that equal figures are equal files; words stay words, so that
    they can be searched and read aloud.
    """
    file = PICTURES / f"{name}.svg"
    with plt.rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}):
        figure.savefig(file, bbox_inches="tight", facecolor="white", metadata={"Date": None})
    plt.close(figure)
    lines = file.read_text(encoding="utf-8").splitlines()
    text = "\n".join(line.rstrip() for line in lines if not COMMENT.fullmatch(line.strip()))
    file.write_text(f"{text}\n", encoding="utf-8")
    file.with_suffix(".zh.svg").write_text(f"{in_chinese(text)}\n", encoding="utf-8")


def write_numbers(name: str, numbers: dict[str, Any]) -> None:
    """Write the numbers of an interactive part."""
    text = json.dumps(numbers, separators=(",", ":"), ensure_ascii=False)
    (WIDGETS / f"{name}.json").write_text(f"{text}\n", encoding="utf-8")


def rounded(values: Tensor, digits: int = 4) -> Any:
    """Return a tensor as lists of short numbers."""
    return json.loads(json.dumps(values.double().round(decimals=digits).tolist()))


def hide_ticks(axes: Any) -> None:
    """Remove the ticks of all axes of a figure."""
    for axis in axes.flat:
        axis.set_xticks([])
        axis.set_yticks([])


def put_title(axis: Any, *lines: str, size: float = 11) -> None:
    """Write a title of several lines, each a text of its own, so that each stays centred."""
    for up, line in enumerate(reversed(lines)):
        lift = (0, 6 + 1.25 * size * up)
        axis.annotate(
            line, (0.5, 1), lift, "axes fraction", "offset points", ha="center", fontsize=size
        )


def open_network(folder: str) -> nn.Module:
    """Return the network of a run with the weights of its best epoch."""
    from tasks.run.load_run import open_run

    return open_run(Path(folder)).network


def digit_images(count: int) -> Tensor:
    """Return one image of each of the first classes: (count, 1, 8, 8) between 0 and 1."""
    from sklearn.datasets import load_digits

    found = load_digits()
    chosen = [int((found.target == label).argmax()) for label in range(count)]
    return torch.tensor(found.images[chosen] / 16, dtype=torch.float32)[:, None]


def all_digits() -> tuple[Tensor, Tensor]:
    """Return all images, with mean 0 and deviation 1 as in training, and their labels."""
    from sklearn.datasets import load_digits

    found = load_digits()
    images = torch.tensor(found.images / 16, dtype=torch.float32)[:, None]
    return scaled(images), torch.tensor(found.target)


def scaled(images: Tensor) -> Tensor:
    """Return images with the mean and deviation that the digits have in training."""
    from sklearn.datasets import load_digits

    everything = torch.tensor(load_digits().images / 16, dtype=torch.float32)
    return (images - everything.mean()) / everything.std()
