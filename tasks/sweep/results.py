"""The end of a sweep: one row for each run, mean and spread over seeds, as a table and as CSV."""

import contextlib
import csv
import json
import math
import signal
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from blocks.graph import ConfigError, Problem
from blocks.support.files import read_file
from blocks.support.text_table import align_columns, column_widths
from tasks.config import secrets
from tasks.run import run_folder

PLAN = "sweep.json"
MEASURES = (
    "train/loss",
    "train/step seconds",
    "parameters",
    "macs",
    "seconds",
    "cpu seconds",
)  # besides test metrics

Row = dict[str, Any]


def write_plan(place: Path, jobs: Sequence[dict[str, Any]], command: Sequence[str] = ()) -> None:
    """Write down what shall run before it runs, so that a job that dies is still known.

    Args:
        place: the folder of the sweep.
        jobs: each with "overrides", and "folder" or, if it could not be composed, "error".
        command: the words of the command line that the jobs come from.
    """
    place.mkdir(parents=True, exist_ok=True)
    plan = {"command": list(map(secrets.hidden_override, command)), "jobs": written(jobs)}
    content = json.dumps(plan, indent=2, ensure_ascii=False)
    (place / PLAN).write_text(content + "\n", encoding="utf-8", errors="backslashreplace")


def written(jobs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Jobs as the plan has them: without secrets."""
    overrides = [
        list(map(secrets.hidden_override, job["overrides"])) for job in jobs
    ]  # which remembers what to hide
    return [
        {**secrets.hidden(job), "overrides": told}
        for job, told in zip(jobs, overrides, strict=True)
    ]


def planned(place: Path) -> dict[str, Any]:
    """What `write_plan` wrote."""
    return json.loads(read_file(place / PLAN))


def latest(runs: Path, command: Sequence[str]) -> Path | None:
    """The newest sweep below `runs` that the same command started."""
    for file in sorted(runs.rglob(PLAN), key=lambda file: file.stat().st_mtime, reverse=True):
        with contextlib.suppress(
            ValueError, KeyError, OSError
        ):  # a sweep that was killed while it wrote its plan
            if planned(file.parent)["command"] == list(map(secrets.hidden_override, command)):
                return file.parent
    return None


def missing(
    place: Path, jobs: Sequence[dict[str, Any]], configs: Mapping[int, dict[str, Any]]
) -> list[int]:
    """The jobs of a sweep that are still to be run: those that did not finish, or finished with
    other values.

    Args:
        place: the folder of the sweep.
        jobs: its plan, as composed now.
        configs: what each job is composed to now.

    Raises:
        ConfigError: the folder holds a sweep with other jobs.
    """
    if planned(place)["jobs"] != written(jobs):
        text, fix = (
            f"{run_folder.near(place)} holds a sweep with other jobs",
            "another hydra.sweep.dir, or no resume=true",
        )
        raise ConfigError([Problem(text, "the command line", "resume", fix=fix)])
    return [
        row["job"]
        for row in read(place)
        if row["folder"]
        and (
            row["status"] != "finished"
            or undrawn(composed(place / row["folder"]))
            != undrawn(secrets.hidden(configs[row["job"]]))
        )
    ]


def undrawn(config: Any) -> Any:
    """A configuration without what decides about the picture alone."""
    return (
        {name: value for name, value in config.items() if name != "picture"}
        if isinstance(config, dict)
        else config
    )


def composed(place: Path) -> Any:
    """The configuration that a run wrote down; None where it did not."""
    with contextlib.suppress(OSError, yaml.YAMLError):
        return yaml.safe_load(read_file(place / "config.yaml"))
    return None


def stretches(numbers: Sequence[int]) -> list[list[int]]:
    """Numbers that follow each other stand together: [1, 2, 5] is [[1, 2], [5]]."""
    found: list[list[int]] = []
    for number in numbers:
        if found and found[-1][-1] == number - 1:
            found[-1].append(number)
        else:
            found.append([number])
    return found


def read(place: Path) -> list[Row]:
    """One row for each job of the sweep in `place`, in the order of the sweep."""
    return [row(number, job, place) for number, job in enumerate(planned(place)["jobs"])]


def row(number: int, job: dict[str, Any], place: Path) -> Row:
    """What became of one job."""
    found: Row = {"job": number, "overrides": job["overrides"], "folder": job.get("folder") or ""}
    if "error" in job:
        return found | {"status": "failed", "error": job["error"]}
    record = run_folder.read(place / job["folder"])
    if record is None:
        return found | {"status": "not run", "error": "it left no record"}
    if record["status"] == "running":
        return found | {
            "status": "died",
            "error": "it was killed: its record says that it is still running",
        }
    scores = {}
    if record["status"] == "finished":
        measured = {name: record[name] for name in MEASURES if record.get(name) is not None}
        scores = {
            **record.get("test", {}),
            **validated(place / job["folder"], record.get("best epoch")),
            **measured,
        }
    return found | {"status": record["status"], "error": record.get("error", ""), **scores}


def validated(place: Path, epoch: int | None) -> dict[str, float]:
    """The figures of the validation at the epoch that a run kept, else at its last."""
    path = place / "metrics.csv"
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        lines = [
            line
            for line in csv.DictReader(file)
            if any(line[name] for name in line if name.startswith("val/"))
        ]
    kept = [line for line in lines if line["epoch"] == str(epoch)] or lines[-1:]
    return {
        name: float(value)
        for line in kept[:1]
        for name, value in line.items()
        if name[:4] == "val/" and value
    }


def note_end(place: Path, status: int | None) -> None:
    """Write into the record of a run that could not do it itself how its process ended."""
    record = run_folder.read(place)
    if record is None or record["status"] != "running":
        return
    how = (
        f"the process was ended by {signal_name(-status)}"
        if status and status < 0
        else f"it left with status {status}"
    )
    if status == -signal.SIGKILL:
        how += "; where nobody did it, the system was out of memory"
    if status is None:
        how = (
            "it went without a word: its time or memory was up, its machine failed, or the "
            "queue ended it"
        )
    ended = {**record, "status": "died", "error": how, "ended": run_folder.now()}
    run_folder.Record(place, **ended)


def signal_name(number: int) -> str:
    """SIGKILL for 9."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def one_line(number: int, place: Path, overrides: Sequence[str], status: int | None) -> str:
    """How a run of several at once ended, for the terminal."""
    record = run_folder.read(place) or {
        "status": "failed",
        "error": f"it left with status {status}",
    }
    scores = "  ".join(
        f"{name.replace('/', ' ')} {value:.4f}" for name, value in record.get("test", {}).items()
    )
    why = (
        (str(record.get("error")).splitlines() or [""])[0]
        if record["status"] != "finished"
        else scores
    )
    return f"job {number} {record['status']}: {' '.join(overrides)}  {why}"


def settings(rows: Sequence[Row]) -> list[str]:
    """The keys that differ between the runs."""
    values: dict[str, set[str]] = {}
    for row in rows:
        for text in row["overrides"]:
            key, _, value = text.partition("=")
            values.setdefault(key.lstrip("+"), set()).add(value)
    return [key for key, found in values.items() if len(found) > 1] or list(values)


def value_of(row: Row, key: str) -> str:
    """What a run set a key to."""
    return next(
        (
            text.partition("=")[2]
            for text in row["overrides"]
            if text.partition("=")[0].lstrip("+") == key
        ),
        "",
    )


def metrics(rows: Sequence[Row]) -> list[str]:
    """The columns with test metrics, accuracy first."""
    found = dict.fromkeys(name for row in rows for name in row if name.startswith("test/"))
    return sorted(found, key=lambda name: (not name.endswith("accuracy"), name))


def measures(rows: Sequence[Row]) -> list[str]:
    """The columns with metrics of test and validation, and what else was measured."""
    validation = sorted({name for row in rows for name in row if name.startswith("val/")})
    measured = (name for name in MEASURES if name != "seconds" and any(name in row for row in rows))
    return [*metrics(rows), *validation, *measured]


def is_measure(name: str) -> bool:
    return name in MEASURES or name.startswith(("test/", "val/"))


def groups(rows: Sequence[Row]) -> list[Row]:
    """Runs that differ only in their seed, with mean and standard deviation of each metric."""
    keys = [key for key in settings(rows) if key != "seed"]
    gathered: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        gathered.setdefault(tuple(value_of(row, key) for key in keys), []).append(row)
    out = []
    for values, members in gathered.items():
        done = [row for row in members if row["status"] == "finished"]
        group: Row = {
            **dict(zip(keys, values, strict=True)),
            "runs": len(done),
            "failed": len(members) - len(done),
        }
        for name in measures(rows):
            numbers = [row[name] for row in done if name in row]
            group[f"{name} mean"] = statistics.fmean(numbers) if numbers else math.nan
            group[f"{name} std"] = statistics.stdev(numbers) if len(numbers) > 1 else math.nan
        out.append(group)
    return out


def write_csv(place: Path, rows: Sequence[Row]) -> None:
    """Write sweep.csv, one line for each run, and sweep_mean.csv, one for each setting."""
    keys, scores = settings(rows), measures(rows)
    with (place / "sweep.csv").open(
        "w", newline="", encoding="utf-8", errors="backslashreplace"
    ) as file:
        writer = csv.writer(file)
        writer.writerow(["job", *keys, "status", *scores, "seconds", "folder", "error"])
        for row in rows:
            numbers = [row.get(name, "") for name in (*scores, "seconds")]
            error = " ".join(row["error"].split())
            set_to = [value_of(row, key) for key in keys]
            writer.writerow([row["job"], *set_to, row["status"], *numbers, row["folder"], error])
    means = groups(rows)
    with (place / "sweep_mean.csv").open(
        "w", newline="", encoding="utf-8", errors="backslashreplace"
    ) as file:
        table = csv.DictWriter(file, list(means[0]))
        table.writeheader()
        table.writerows(
            {name: "" if value != value else value for name, value in mean.items()}
            for mean in means
        )


def table(rows: Sequence[Row]) -> str:
    """What to print: every run, then mean and spread where there are several seeds, then what
    failed and why.
    """
    keys, scores = settings(rows), metrics(rows)
    head = ["job", *keys, "status", *(name.replace("/", " ") for name in scores), "seconds"]
    lines = [
        [
            str(row["job"]),
            *(value_of(row, key) for key in keys),
            row["status"],
            *(f"{row[name]:.4f}" if name in row else "" for name in scores),
            f"{row['seconds']:.0f}" if "seconds" in row else "",
        ]
        for row in rows
    ]
    parts = [aligned(head, lines)]
    if "seed" in keys and len(rows) > 1 and scores:
        parts.append(
            aligned(*mean_lines(groups(rows), [key for key in keys if key != "seed"], scores))
        )
    failed = [row for row in rows if row["status"] != "finished"]
    parts += [
        f"job {row['job']} {row['status']}: {' '.join(row['overrides'])}\n{indented(row['error'])}"
        for row in failed
    ]
    return "\n\n".join(parts)


def mean_lines(
    means: Sequence[Row], keys: Sequence[str], scores: Sequence[str]
) -> tuple[list[str], list[list[str]]]:
    """Head and lines of the table of means."""
    head = [*keys, "runs", *(f"{name.replace('/', ' ')} (mean ± std)" for name in scores)]
    lines = []
    for mean in means:
        cells = []
        for name in scores:
            centre, spread = mean[f"{name} mean"], mean[f"{name} std"]
            cells.append(
                ""
                if math.isnan(centre)
                else f"{centre:.4f}" + ("" if math.isnan(spread) else f" ± {spread:.4f}")
            )
        lines.append([*(mean[key] for key in keys), str(mean["runs"]), *cells])
    return head, lines


def aligned(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Columns of text, numbers to the right."""
    rule = ["-" * width for width in column_widths([head, *lines])]
    left = [
        number
        for number in range(len(head))
        if any(line[number].strip("0123456789.-± ") for line in lines)
    ]
    return "\n".join(align_columns([head, rule, *lines], left))


def indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())
