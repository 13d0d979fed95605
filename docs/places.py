"""The loss at each place of a text, of a trained decoder: given the whole text, as in training,
and given only what comes before, as in generation.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from readings import Difference, Figures, mean_of
from torch import Tensor, nn

from tasks.data.sequences.base import IGNORED
from tasks.report import plots
from tasks.run.evaluate import reopen_data
from tasks.run.load_run import open_run

LINES = {  # the mask and the way of each line
    "mask": ("true", "whole"),
    "no mask, whole text given": ("false", "whole"),
    "no mask, beginning given": ("false", "before"),
}
SHOWN = (1, 2, 3, 4, 6, 8, 12, 16, 24)  # places of the table, besides the last
TEXTS = 20  # a place that fewer texts of the validation reach is left out


@torch.no_grad()
def measure_places(folder: Path) -> dict[str, list[float]]:
    """Return the mean loss of the validation at each place, by way.

    Args:
        folder: of a finished run that translates.
    """
    run = open_run(folder)
    sums = {way: torch.zeros(0) for way in ("whole", "before")}
    counts = torch.zeros(0)
    _, data = reopen_data(run, {})
    for batch in data.val_dataloader():
        label = batch["label"]
        counts = add(counts, (label != IGNORED).sum(0).float())
        for way, losses in losses_of(run.network, batch).items():
            sums[way] = add(sums[way], losses.sum(0))
    reached = int((counts >= TEXTS).sum())
    return {way: (total / counts)[:reached].tolist() for way, total in sums.items()}


def add(total: Tensor, more: Tensor) -> Tensor:
    """Return the sum of two vectors, the shorter one filled with zeros."""
    length = max(len(total), len(more))
    return F.pad(total, (0, length - len(total))) + F.pad(more, (0, length - len(more)))


def losses_of(network: nn.Module, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the losses of a batch, (texts, places), by way; 0 where there is no label."""
    inputs = {name: batch[name] for name in ("source", "source_mask")}
    target, mask, label = batch["target"], batch["target_mask"], batch["label"]
    whole = network(**inputs, target=target, target_mask=mask)["logits"]
    before = []
    for end in range(1, target.shape[1] + 1):
        seen = {"target": target[:, :end], "target_mask": mask[:, :end]}
        before.append(network(**inputs, **seen)["logits"][:, -1])
    logits = {"whole": whole, "before": torch.stack(before, 1)}
    return {
        way: F.cross_entropy(each.transpose(1, 2), label, ignore_index=IGNORED, reduction="none")
        for way, each in logits.items()
    }


def read_places(f: Figures) -> dict[str, list[Difference]]:
    """Return the mean over the seeds at each place, with its interval, by line.

    Places that a run has not are left out.
    """
    found = {}
    for name, (mask, way) in LINES.items():
        runs = [row["places"][way] for row in f.runs(causal=mask)]
        found[name] = [mean_of(losses) for losses in zip(*runs, strict=False)]
    return found


def draw_places(f: Figures) -> str:
    """Return the picture: the loss at each place, a line with its intervals each."""
    series = {
        name: [plots.Point(place, *found) for place, found in enumerate(line, 1)]
        for name, line in read_places(f).items()
    }
    panel = plots.Panel(series=series, x="place in the text", y="loss", ends=list(series), wide=420)
    return plots.draw_panels([panel], "Loss at each place of the texts of the validation")


def describe_places(f: Figures) -> list[str]:
    """Return the figures of some places, a line of Markdown each."""
    lines = read_places(f)
    last = min(map(len, lines.values()))
    shown = [place for place in SHOWN if place < last] + [last]
    apart = max(
        abs(whole - before)
        for row in f.runs(causal="true")
        for whole, before in zip(row["places"]["whole"], row["places"]["before"], strict=True)
    )
    rows = [
        f"The loss at each place of the texts of the validation, up to the last that {TEXTS} texts "
        "reach. A network is given the whole text, as in training, or its beginning alone, as in "
        f"generation. With the mask both are the same, but for {apart:.1g} at most.",
        "",
        "| place | " + " | ".join(lines) + " |",
        "|---:|" + "---:|" * len(lines),
    ]
    for place in shown:
        cells = (line[place - 1] for line in lines.values())
        texts = [f"{found.mean:.3f} ± {found.high - found.mean:.3f}" for found in cells]
        rows.append(f"| {place} | " + " | ".join(texts) + " |")
    return rows
