"""The report of a run: curves.svg, and report.html with everything there is to see."""

import logging
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import Any

import yaml

from blocks.graph import Built, Composed, plan
from blocks.graph.describe.draw import draw_svg
from blocks.graph.describe.table import describe_group, walk_folded
from blocks.graph.record.record import count_parameters
from blocks.support.files import read_file
from tasks.config import secrets
from tasks.parallel import strategy
from tasks.report import classes, inspection, page, plots
from tasks.report.over_training import gradients, routers
from tasks.run import run_folder

log = logging.getLogger(__name__)

Section = tuple[str, str]  # title and content

SEARCH = "find_lr.svg"  # of trainer.find_lr
TABLE_ROWS = 60  # a longer table is folded
SHARES = (
    "accuracy",
    "exact",
    "exact_match",
    "map",
    "miou",
    "linear_accuracy",
    "knn_accuracy",
)  # metrics that are shown in per cent


def write(folder: Path, composed: Composed, record: dict[str, Any], data: Any, task: Any) -> None:
    """Write curves.svg, report.html and the files of the task's own sections into the run folder.

    The page is complete before the network is inspected, and is written again with the results of
    the inspection.

    Args:
        folder: of the run.
        record: the entries of `run.json`.
    """
    curves = plots.draw_curves(run_folder.read_metrics(folder), record.get("best epoch"))
    (folder / "curves.svg").write_text(curves, encoding="utf-8")
    built = plan(composed, record["facts"])
    config = yaml.safe_dump(secrets.hidden(composed.config), sort_keys=False, allow_unicode=True)
    before = [("Learning curves", page.fit(curves))]
    if (folder / SEARCH).is_file():
        before.append(("Learning rate", page.fit(read_file(folder / SEARCH).decode("utf-8"))))
    if record["test"]:
        before.append(("Test", page.table(["metric", "value"], list_metrics(record["test"]))))
        before += classes.draw_results(folder, data, task.results(data))
    after = [
        ("Architecture", describe_architecture(built, composed.choices.get("model", "model"))),
        ("Run it again", page.code(record["command"]) + page.pairs(list_provenance(record))),
        ("Configuration", page.folded("config.yaml", page.code(config))),
    ]
    title = " on ".join(composed.choices.get(part, part) for part in ("model", "data"))
    head = page.headline(title, headline_score(record["test"], task.headline), list_facts(record))
    for note in record["notes"]:
        head += f'<p class="note">{escape(note)}</p>'
    write_page(folder, title, head, [*before, *after])
    inspected = inspect_network(folder, task, data, built)
    write_page(folder, title, head, [*before, *inspected, *after])


def write_page(folder: Path, title: str, head: str, sections: Sequence[Section]) -> None:
    """Write report.html, without empty sections and without secrets."""
    content = secrets.hide(page.html(title, head, sections))
    path = folder / "report.html"
    path.write_text(content, encoding="utf-8", errors="backslashreplace")


def inspect_network(folder: Path, task: Any, data: Any, built: Built) -> list[Section]:
    """Return the sections on attention, feature maps and gradients; an error is reported in its
    section and does not end the run.
    """

    def inspect_samples() -> list[Section]:
        if strategy.is_sharded(task.trainer):
            return []
        return inspection.sections(task.network, task.samples(data), name_axes(built))

    parts: dict[str, Callable[[], list[Section]]] = {
        "Inside the network": inspect_samples,
        "Gradients and updates": lambda: gradients.sections(folder),
        "Routers": lambda: routers.sections(folder),
    }
    sections: list[Section] = []
    for title, make_sections in parts.items():
        try:
            sections += make_sections()
        except Exception as error:  # a block of the user's own may raise anything
            log.exception("not drawn: %s", title)
            text = f"This could not be drawn: {type(error).__name__}: {error}."
            text += " train.log has the traceback."
            print(f"note: {title}: {text}", flush=True)
            sections.append((title, f'<p class="note">{escape(text)}</p>'))
    return sections


def name_axes(built: Built) -> dict[str, tuple[str | None, ...]]:
    """Return the names of the axes of each node's first output, by path."""
    found = {}
    for node in built.walk():
        for value in list(node.outputs.values())[:1]:
            found[node.path] = value.names
    return found


def describe_architecture(built: Built, name: str) -> str:
    """Return the drawing of the network, and the table of its nodes."""
    total, tied = count_parameters(built.model), built.find_tied()
    rows = []
    indents = []
    header = ["node", "block", "output", "parameters", "share"]
    for depth, group, every in walk_folded(built.nodes):
        cells = describe_group(group, total, every=every, tied=tied)
        rows.append([cells[name] for name in header])
        indents.append(depth)
    table = page.table(header, rows, indents=indents)
    if len(rows) > TABLE_ROWS:
        table = page.folded(f"{len(rows)} nodes", table)
    return page.wide(draw_svg(built, name)) + table


def list_metrics(metrics: dict[str, float]) -> list[list[str]]:
    """Return a row for each metric of the test."""
    return [[name.removeprefix("test/"), f"{value:.4f}"] for name, value in metrics.items()]


def headline_score(metrics: dict[str, float], headline: str) -> tuple[str, str]:
    """Return the number to show largest, and its name.

    Args:
        metrics: of the test.
        headline: the name of the task's main metric.
    """
    value = metrics.get(f"test/{headline}")
    if value is None:
        return "-", "not tested"
    shown = f"{value:.2%}" if headline in SHARES else f"{value:.4f}"
    return shown, f"test {headline.replace('_', ' ')}"


def list_facts(record: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the facts at the top of the page."""
    data = record["facts"]
    sizes = [f"{count:,} {part}" for part, count in record["samples"].items()]
    facts = [("parameters", f"{record['parameters']:,}"), ("samples", ", ".join(sizes))]
    if image := data.get("image"):
        facts.append(("image", "{channels} × {height} × {width}".format(**image)))
    for name, fact in (("classes", "classes"), ("vocabulary", "vocab")):
        if fact in data:
            facts.append((name, str(data[fact])))
    if "test/loss" in record["test"]:
        facts.append(("test loss", f"{record['test']['test/loss']:.4f}"))
    for unit in ("samples", "tokens"):
        if speed := record.get(f"train/{unit} per second"):
            facts.append((f"{unit} per second", f"{speed:,.0f}"))
    for name, share in (("waiting for data", "train/waiting"), ("MFU", "train/mfu")):
        if share in record:
            facts.append((name, f"{record[share]:.0%}"))
    return [*facts, ("time", f"{record['seconds']:.0f} s"), ("seed", str(record["seed"]))]


def list_provenance(record: dict[str, Any]) -> list[tuple[str, str]]:
    """Return where a run comes from: commit, directory, machine, versions, checkpoint."""
    commit = "not in a git checkout"
    git = record.get("git")
    if git:
        commit = git["commit"]
        if git.get("changed"):
            commit += f", {len(git['changed'])} files changed"
    return [
        ("started", record["started"]),
        ("git commit", commit),
        ("directory", record["directory"]),
        ("machine", join_items(record.get("machine", {}))),
        ("versions", join_items(record["versions"])),
        ("checkpoint", str(record.get("checkpoint"))),
    ]


def join_items(values: dict[str, Any]) -> str:
    """Return names and values in one line: "torch 2.13, numpy 2.3"."""
    return ", ".join(f"{name} {value}" for name, value in values.items())
