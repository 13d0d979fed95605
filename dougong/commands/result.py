"""Print how a run ended: its scores, and the last epochs of its metrics."""

import argparse
import json
from pathlib import Path
from typing import Any

NUMBERS = {"epoch": "d", "step": "d", "seconds": ".0f"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("run", type=Path, metavar="RUN", help="the folder of a run")
    parser.add_argument("--rows", type=int, default=5, metavar="N", help="show N epochs (5)")
    parser.add_argument("--json", action="store_true", help="print an object")


def run(arguments: argparse.Namespace) -> int:
    """Print the result.

    Raises:
        ConfigError: the folder holds no run.
    """
    found = read_result(arguments.run, arguments.rows)
    if arguments.json:
        print(json.dumps(found, indent=1, ensure_ascii=False))
        return 0
    for key in ("status", "command", "error"):
        if found[key]:
            print(f"{key:<8} {found[key]}")
    for row in found["metrics"]:
        print(format_scores(row))
    if found["test"]:
        print(f"test: {format_scores(found['test'])}")
    return 0


def read_result(folder: Path, rows: int) -> dict[str, Any]:
    """Return what the record and the metrics of a run say.

    Args:
        folder: of the run.
        rows: how many epochs, from the last.
    """
    from blocks.graph import ConfigError, Problem
    from tasks.run.run_folder import read_metrics, read_record

    record = read_record(folder)
    if record is None:
        problem = "this folder holds no run"
        fix = "the folder that the training named in its first line"
        raise ConfigError(Problem(problem, f"the command line: {folder}", fix=fix, code="bad-run"))
    metrics = read_metrics(folder)
    found: dict[str, Any] = {"run": str(folder), "epochs": len(metrics)}
    for key in ("status", "command", "seconds", "best epoch", "checkpoint", "test", "error"):
        found[key.replace(" ", "_")] = record.get(key)
    return {**found, "metrics": metrics[max(len(metrics) - rows, 0) :]}


def format_scores(scores: dict[str, float]) -> str:
    """Return one line: "val loss 0.1234  val accuracy 0.9500"."""
    parts = []
    for name, value in scores.items():
        text = f"{value:.4f}"
        if name in NUMBERS:
            text = format(value if name == "seconds" else int(value), NUMBERS[name])
        parts.append(f"{name.replace('/', ' ')} {text}")
    return "  ".join(parts)
