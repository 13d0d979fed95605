"""How large gradients and updates of each node were over a training, as a section of the report."""

from pathlib import Path

import numpy as np

from tasks.callbacks import gradient_stats
from tasks.report import matrices, page


def sections(place: Path) -> list[tuple[str, str]]:
    """How large gradients and updates of each node were; writes gradients.svg and updates.svg."""
    rows = gradient_stats.read_nodes(place / "nodes.csv")
    if not rows:
        return []
    names, steps = (
        list(dict.fromkeys(row["node"] for row in rows)),
        sorted({int(row["step"]) for row in rows}),
    )
    titles = {"gradient": "gradient norm", "update": "update / weight"}
    pictures = []
    for column, title in titles.items():
        values = np.full((len(names), len(steps)), np.nan)
        for row in rows:
            if row[column]:
                values[names.index(row["node"]), steps.index(int(row["step"]))] = float(row[column])
        pictures.append(
            matrices.draw_over_training(
                names, steps, values, title, f"{title} of each node over training"
            )
        )
        (place / f"{column}s.svg").write_text(pictures[-1], encoding="utf-8")
    words = (
        '<p class="soft">The norm of the gradients before clipping, and how far one step moves '
        "the weights as a share "
        "of their norm: about 1e-3 where training goes well. A dark row learns little.</p>"
    )
    return [("Gradients and updates", words + page.beside(pictures))]
