"""The routers of mixtures of experts over the training, as a section of the report."""

from pathlib import Path

import numpy as np

from tasks.callbacks import router_stats
from tasks.report import matrices, page
from tasks.report.samples import shorten_paths

MOST = 64  # experts that are drawn; of more, the balance of each mixture
HEADER = ["mixture", "busiest expert", "idlest expert", "balance", "entropy", "dropped"]
ABOUT = (
    '<p class="soft">How each router divides the tokens of a batch. Balance is the largest share '
    "times the number of experts: 1 where all have the same. Entropy is 1 where the router is "
    "undecided, 0 where it is certain. Dropped are choices beyond the capacity, or tokens that no "
    "expert chose. The table is that of the last measured step.</p>"
)


def sections(folder: Path) -> list[tuple[str, str]]:
    """Return the section on routers.csv, none without the file; write routers.svg.

    Args:
        folder: of the run.
    """
    rows = router_stats.read_routers(folder / "routers.csv")
    if not rows:
        return []
    steps = sorted({int(row["step"]) for row in rows})
    nodes = list(dict.fromkeys(row["node"] for row in rows))
    loads = {}
    for row in rows:
        shares = list(map(float, row["load"].split()))
        loads[row["node"], int(row["step"])] = shares, float(row["balance"])
    experts = {row["node"]: len(row["load"].split()) for row in rows}
    alone = sum(experts.values()) > MOST
    short = shorten_paths(nodes)
    names, lines = [], []
    for node in nodes:
        for expert in range(1 if alone else experts[node]):
            line = np.full(len(steps), np.nan)
            for column, step in enumerate(steps):
                if (node, step) in loads:
                    shares, balance = loads[node, step]
                    line[column] = balance if alone else shares[expert]
            lines.append(line)
            names.append(short[node] if alone else f"{short[node]} [{expert}]")
    title = "balance" if alone else "share of the choices"
    label = f"{title} of each {'mixture' if alone else 'expert'} over training"
    drawing = matrices.draw_over_training(names, steps, np.array(lines), title, label)
    (folder / "routers.svg").write_text(drawing, encoding="utf-8")
    last = {row["node"]: row for row in rows}
    cells = []
    for node, row in last.items():
        shares = loads[node, int(row["step"])][0]
        busiest, idlest = f"{max(shares):.1%}", f"{min(shares):.1%}"
        dropped = f"{float(row['dropped']):.1%}"
        cells.append([short[node], busiest, idlest, row["balance"], row["entropy"], dropped])
    return [("Routers", ABOUT + page.beside([drawing]) + page.table(HEADER, cells))]
