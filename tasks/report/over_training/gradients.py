"""Gradients and updates of each node over the training, as a section of the report."""

from pathlib import Path

import numpy as np

from tasks.callbacks import gradient_stats
from tasks.report import matrices, page

TITLES = {"gradient": "gradient norm", "update": "update / weight"}
ABOUT = (
    '<p class="soft">The norm of the gradients before clipping, and the change of the weights in '
    "one step relative to their norm: about 1e-3 where training goes well. A dark row learns "
    "little.</p>"
)


def sections(folder: Path) -> list[tuple[str, str]]:
    """Return the section on nodes.csv, none without the file; write gradients.svg and updates.svg.

    Args:
        folder: of the run.
    """
    rows = gradient_stats.read_nodes(folder / "nodes.csv")
    if not rows:
        return []
    names = list(dict.fromkeys(row["node"] for row in rows))
    steps = sorted({int(row["step"]) for row in rows})
    drawings = []
    for column, title in TITLES.items():
        values = np.full((len(names), len(steps)), np.nan)
        for row in rows:
            if row[column]:
                values[names.index(row["node"]), steps.index(int(row["step"]))] = float(row[column])
        label = f"{title} of each node over training"
        drawing = matrices.draw_over_training(names, steps, values, title, label)
        (folder / f"{column}s.svg").write_text(drawing, encoding="utf-8")
        drawings.append(drawing)
    return [("Gradients and updates", ABOUT + page.beside(drawings))]
