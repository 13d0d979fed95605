"""`python -m tasks probe`: what the frozen features of a run know of the classes."""

import argparse
import json
from typing import Any

from tasks.commands.common import OK, add_run_argument

DESCRIPTION = """\
Fit a logistic regression and nearest neighbours (by cosine) on frozen features of a run, and on its
raw input as a baseline. Both are fitted on the training part; the penalty (C) and the number of
neighbours (k) are chosen on the validation part; the accuracies are those of the test part."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_run_argument(parser)
    parser.add_argument(
        "data", nargs="*", metavar="KEY=VALUE", help="changes of the section data: path=FILE"
    )
    parser.add_argument(
        "--node",
        metavar="PATH",
        help="the node whose output is probed, e.g. layers.2; default: what the head takes",
    )
    parser.add_argument(
        "--pool",
        choices=("mean", "first", "all"),
        default="mean",
        help="how tokens or cells become one vector: their mean, the first, or all (mean)",
    )
    parser.add_argument(
        "--samples", type=int, default=10_000, help="the most training samples (10000)"
    )
    parser.add_argument("--json", action="store_true", help="print an object: run, probes, samples")


def run(arguments: argparse.Namespace) -> int:
    """Print a row for the features, and one for the raw input."""
    from blocks.graph import parse_changes
    from tasks.probe import probe_run
    from tasks.run.load_run import open_run

    changes = parse_changes(arguments.data, "data")
    run = open_run(arguments.run, tuple(arguments.library), tuple(arguments.trust))
    found = probe_run(
        run, changes, node=arguments.node, pool=arguments.pool, samples=arguments.samples
    )
    if arguments.json:
        print(json.dumps({"run": str(arguments.run), **describe(found)}, indent=1))
    else:
        print("\n".join(tabulate(found)))
    return OK


def describe(found: Any) -> dict[str, Any]:
    """Return the probes, a `ProbedRun`, as plain values."""
    probes = []
    for row in found.rows:
        probes.append(
            {
                "features": row.features,
                "size": row.size,
                "linear": row.probed.linear,
                "C": row.probed.strength,
                "knn": row.probed.knn,
                "k": row.probed.neighbours,
            }
        )
    return {"probes": probes, "samples": found.samples, "classes": found.classes}


def tabulate(found: Any) -> list[str]:
    """Return the probes, a `ProbedRun`, as the lines of a table."""
    width = max(len("features"), *(len(row.features) for row in found.rows))
    lines = [f"{'features':<{width}}    size  linear      C    k-NN    k"]
    for row in found.rows:
        probed = row.probed
        lines.append(
            f"{row.features:<{width}}  {row.size:>6,}  {probed.linear:.4f}  {probed.strength:>5g}  "
            f"{probed.knn:.4f}  {probed.neighbours:>3}"
        )
    counts = [f"{count:,} {part}" for part, count in found.samples.items()]
    lines.append(f"{', '.join(counts)}; {found.classes:,} classes")
    if found.samples["train"] < found.available:
        lines.append(f"{found.available:,} training samples are there: --samples takes more")
    return lines
