"""What happens to one input inside a network: its prediction, the output of each node, where each
head of attention looks, feature maps.
"""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from blocks.graph.run.inspect import Attention, record_activations, record_attention
from tasks.errors import ArgumentError
from tasks.look.given import Given, Inputs
from tasks.report import images, overlays
from tasks.report.samples import Sample
from tasks.run.load_run import Finished, open_run

TOP = 5  # classes of a prediction
LARGEST = 4_000_000  # weights of one layer that are sent
Found = dict[str, Any]


class Look:
    """One input in one network.

    Args:
        run: the network.
        given: the input.
    """

    def __init__(self, run: Finished, given: Given):
        self.run, self.given = run, given
        self.attention: Mapping[str, Attention] = {}
        if any(hasattr(module, "return_weights") for module in run.network.modules()):
            self.attention = record_attention(run.network, given.batch)
        self.outputs = record_activations(run.network, given.batch)

    def describe(self) -> Found:
        """Return the input, the prediction, the nodes and the layers of attention."""
        image = None
        if self.given.image is not None:
            image = overlays.png(overlays.thumbnail(self.given.image))
        return {
            "image": image,
            "tokens": self.given.tokens,
            "truth": self.given.truth,
            "prediction": self._predict(),
            "nodes": [describe_output(path, value) for path, value in self.outputs.items()],
            "layers": list(self.attention),
            "maps": self._draw_maps(),
        }

    def _predict(self) -> list[tuple[str, float]]:
        """Return the most probable classes, or the most probable next tokens."""
        names = self.run.network.input_names
        inputs = {name: self.given.batch[name] for name in names if name in self.given.batch}
        with torch.no_grad():
            result = self.run.network(**inputs)
        logits = result.get("logits") if isinstance(result, dict) else result
        if not isinstance(logits, Tensor) or logits.dim() not in (2, 3):
            return []
        row = logits[0].float()
        labels: Any = None
        if row.dim() == 2:
            row = row[-1]
            labels = self.run.tokenizer.name
        elif "classes" in self.run.facts:
            labels = self._name_class
        if labels is None:
            return []
        chances, numbers = row.softmax(-1).topk(min(TOP, len(row)))
        return [
            (labels(number), round(chance, 4))
            for number, chance in zip(numbers.tolist(), chances.tolist(), strict=True)
        ]

    def _name_class(self, number: int) -> str:
        try:
            return self.run.classes[number]
        except ArgumentError:
            return str(number)

    def _draw_maps(self) -> str:
        """Return the strongest channels of each stage as HTML; nothing for tokens."""
        if self.given.image is None:
            return ""
        sample = Sample("", self.given.batch, image=self.given.image)
        drawn = images.feature_maps(self.run.network, [sample], name_axes(self.run.network))
        return "".join(content for _, content in drawn)

    def describe_attention(self, path: str) -> Found:
        """Return the weights of one layer.

        Returns:
            heads, queries, keys, and `weights`: bytes in base64, (heads, queries, keys), each row
            from 0 to 255, its largest weight; `most`: these weights, (heads, queries). Where the
            keys lie on the image: `grid`, rows and columns, behind `extra` tokens.

        Raises:
            ArgumentError: there is no such layer, or it is too large.
        """
        if path not in self.attention:
            fits = ", ".join(self.attention) or "none"
            raise ArgumentError("layer", "no attention of this name", got=path, fits=fits)
        found = self.attention[path]
        if found.weights[0].numel() > LARGEST:
            raise ArgumentError("layer", "too many weights to show", got=path)
        weights, grid = spread(found)
        heads, queries, keys = weights.shape
        extra = 0
        if grid is None and self.given.image is not None:
            grid = images.patch_grid(keys, tuple(self.given.image.shape[1:]))
        if grid is not None:
            extra = keys - grid[0] * grid[1]
        most = weights.amax(-1).clamp_min(1e-12)
        packed = (weights / most[..., None] * 255).round().byte().numpy().tobytes()
        return {
            "path": path,
            "heads": heads,
            "queries": queries,
            "keys": keys,
            "grid": grid,
            "extra": extra,
            "most": [[round(value, 4) for value in row] for row in most.tolist()],
            "weights": base64.b64encode(packed).decode(),
        }


def spread(found: Attention) -> tuple[Tensor, tuple[int, int] | None]:
    """Return the weights (heads, queries, keys) of one sample, and rows and columns of a grid;
    those inside windows are put back to their places.
    """
    cells = found.tokens
    if found.places is None and found.weights.dim() == 4:
        grid = None
        if len(cells) == 2 and not found.cross:
            grid = (cells[0], cells[1])
        return found.weights[0], grid
    count = int(torch.tensor(cells).prod())
    if count * count * found.weights.shape[1] > LARGEST:
        raise ArgumentError("layer", "too many weights to show")
    rows = [found.sent_from(query)[0].flatten(1) for query in range(count)]
    grid = (cells[0], cells[1]) if len(cells) == 2 else None
    return torch.stack(rows, 1), grid


def describe_output(path: str, value: Tensor) -> Found:
    """Return the shape of an output of a node, and how its numbers spread."""
    numbers = value[0].float()
    if not numbers.numel():
        return {"path": path, "shape": list(value.shape[1:])}
    return {
        "path": path,
        "shape": list(value.shape[1:]),
        "mean": float(f"{numbers.mean():.4g}"),
        "std": float(f"{numbers.std(unbiased=False):.4g}"),
        "most": float(f"{numbers.abs().max():.4g}"),
        "zero": float(f"{(numbers == 0).float().mean():.4g}"),
    }


def name_axes(network: Any) -> dict[str, tuple[str | None, ...]]:
    """Return the names of the axes of each node's first output, by path."""
    found = {}
    for call in network.graph.nodes:
        node = call.meta.get("node")
        for inner in [] if node is None else node.walk():
            for value in list(inner.outputs.values())[:1]:
                found[inner.path] = value.names
    return found


class Looker:
    """Looks into a run, again whenever it has saved a newer checkpoint.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.saved = 0.0
        self.inputs: Inputs | None = None
        self.last: Look | None = None

    def refresh(self) -> bool:
        """Open the newest checkpoint; return whether it is another one than before.

        Raises:
            ArgumentError: there is none, or it cannot be read.
        """
        files = list((self.folder / "checkpoints").glob("*.ckpt"))
        saved = max((file.stat().st_mtime for file in files), default=0.0)
        if self.inputs is not None and saved == self.saved:
            return False
        before = self.inputs
        self.inputs, self.saved = Inputs(open_run(self.folder, newest=True)), saved
        if before is not None:
            self.inputs.keep_data(before)
        return True

    def look(self, what: Mapping[str, Any]) -> Look:
        """Look at what is given.

        Args:
            what: one of `pixels`, `sentence` and `index`.

        Raises:
            ArgumentError: the network takes no such input.
        """
        self.refresh()
        assert self.inputs is not None
        if what.get("pixels") is not None:
            given = self.inputs.draw(what["pixels"])
        elif what.get("sentence") is not None:
            given = self.inputs.read(str(what["sentence"]))
        else:
            given = self.inputs.sample(int(what.get("index", 0)))
        self.last = Look(self.inputs.run, given)
        return self.last
