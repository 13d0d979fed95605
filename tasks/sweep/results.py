"""The results of a sweep as rows: settings, status and figures of each run."""

import math
import signal
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tasks.run import run_folder

MEASURES = (  # besides test metrics
    "train/loss",
    "train/steps",
    "train/step seconds",
    "train/samples per second",
    "train/tokens per second",
    "train/waiting",
    "train/mfu",
    "parameters",
    "macs",
    "seconds",
    "cpu seconds",
)
MAIN = ("/miou", "/map")  # metrics of the first column
FIRST = ("accuracy", "/r2")  # and of the next ones

Row = dict[str, Any]


def read_row(number: int, job: dict[str, Any], folder: Path) -> Row:
    """Return the row of one job.

    Args:
        number: of the job.
        job: its entry in the plan.
        folder: of the sweep.
    """
    row: Row = {"job": number, "overrides": job["overrides"], "folder": job.get("folder") or ""}
    if "error" in job:
        return row | {"status": "failed", "error": job["error"]}
    record = run_folder.read_record(folder / job["folder"])
    if record is None:
        return row | {"status": "not run", "error": "it left no record"}
    if record["status"] == "running":
        text = "it was killed: its record says that it is still running"
        return row | {"status": "died", "error": text}
    row |= {"status": record["status"], "error": record.get("error", "")}
    if record["status"] == "finished":
        row |= record.get("test", {})
        row |= read_validation(folder / job["folder"], record.get("best epoch"))
        row |= {name: record[name] for name in MEASURES if record.get(name) is not None}
    return row


def read_validation(folder: Path, epoch: int | None) -> dict[str, float]:
    """Return the validation metrics of a run at an epoch, or at the last one that was
    validated.
    """
    chosen: dict[str, float] = {}
    for row in run_folder.read_metrics(folder):
        metrics = {name: value for name, value in row.items() if name.startswith("val/")}
        if metrics:
            chosen = metrics
        if metrics and row["epoch"] == epoch:
            break
    return chosen


def record_end(folder: Path, status: int | None) -> None:
    """Record how the process of a run ended, if the run could not do so itself.

    Args:
        folder: of the run.
        status: the exit status, -n after signal n; None where it is unknown.
    """
    record = run_folder.read_record(folder)
    if record is None or record["status"] != "running":
        return
    if status is None:
        text = (
            "it ended without a message: its time or memory was up, its machine failed, or the "
            "queue ended it"
        )
    elif status < 0:
        text = f"the process was ended by {signal_name(-status)}"
        if status == -signal.SIGKILL:
            text += "; if nobody did so, the system was out of memory"
    else:
        text = f"it exited with status {status}"
    ending = {"status": "died", "error": text, "ended": run_folder.current_time()}
    run_folder.Record(folder, **{**record, **ending})


def signal_name(number: int) -> str:
    """Return the name of a signal: SIGKILL for 9."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def format_job(number: int, folder: Path, overrides: Sequence[str], status: int | None) -> str:
    """Return the line that the terminal shows when one of several jobs ends."""
    record = run_folder.read_record(folder)
    if record is None:
        record = {"status": "failed", "error": f"it exited with status {status}"}
    if record["status"] == "finished":
        scores = record.get("test", {}).items()
        text = "  ".join(f"{name.replace('/', ' ')} {value:.4f}" for name, value in scores)
    else:
        text = str(record.get("error")).partition("\n")[0]
    return f"job {number} {record['status']}: {' '.join(overrides)}  {text}"


# Columns ------------------------------------------------------------------------------------------


def list_settings(rows: Sequence[Row]) -> list[str]:
    """Return the keys that differ between the runs; all keys where none differs."""
    values: dict[str, set[str]] = {}
    for row in rows:
        for text in row["overrides"]:
            key, _, value = text.partition("=")
            values.setdefault(key.lstrip("+"), set()).add(value)
    differing = [key for key, found in values.items() if len(found) > 1]
    return differing or list(values)


def value_of(row: Row, key: str) -> str:
    """Return the value that a run set a key to; empty where it did not."""
    for text in row["overrides"]:
        name, _, value = text.partition("=")
        if name.lstrip("+") == key:
            return value
    return ""


def list_metrics(rows: Sequence[Row]) -> list[str]:
    """Return the columns with test metrics, `MAIN` and then `FIRST` at the front."""
    names = {name: None for row in rows for name in row if name.startswith("test/")}
    return sorted(names, key=lambda name: (not name.endswith(MAIN), not name.endswith(FIRST), name))


def list_measures(rows: Sequence[Row]) -> list[str]:
    """Return the columns with metrics of test and validation, and other measures but seconds."""
    present = {name for row in rows for name in row}
    validation = sorted(name for name in present if name.startswith("val/"))
    others = [name for name in MEASURES if name != "seconds" and name in present]
    return [*list_metrics(rows), *validation, *others]


def is_measure(name: str) -> bool:
    """Return whether a name is that of a metric or another measure of a run."""
    return name in MEASURES or name.startswith(("test/", "val/"))


def group_by_seed(rows: Sequence[Row]) -> list[Row]:
    """Group runs that differ only in their seed, with mean and standard deviation of each
    measure.
    """
    keys = [key for key in list_settings(rows) if key != "seed"]
    members: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        members.setdefault(tuple(value_of(row, key) for key in keys), []).append(row)
    groups = []
    for values, group_rows in members.items():
        finished = [row for row in group_rows if row["status"] == "finished"]
        group: Row = dict(zip(keys, values, strict=True))
        group["runs"] = len(finished)
        group["failed"] = len(group_rows) - len(finished)
        for name in list_measures(rows):
            numbers = [row[name] for row in finished if name in row]
            group[f"{name} mean"] = statistics.fmean(numbers) if numbers else math.nan
            group[f"{name} std"] = statistics.stdev(numbers) if len(numbers) > 1 else math.nan
        groups.append(group)
    return groups
