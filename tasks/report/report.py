"""What a run leaves for people: learning curves, and one page with all there is to see."""

import csv
import logging
from html import escape
from pathlib import Path
from typing import Any

import yaml

from blocks.graph import Built, plan
from blocks.graph.describe.draw import draw_svg
from blocks.graph.describe.table import lines
from blocks.graph.record.record import count_parameters
from tasks.config import secrets
from tasks.parallel import strategy
from tasks.report import gradients, inspection, page, plots

log = logging.getLogger(__name__)

MISTAKES = 12  # pictures of mistakes on the page
SHARES = 20  # with more classes the predictions list no share for each


def write(place: Path, composed: Any, record: dict[str, Any], data: Any, task: Any) -> None:
    """Write curves.svg, report.html and what the task shows of itself into the run folder.

    The page is whole before anybody looks inside the network, and is written again with what was
    seen there.
    """
    curves = plots.draw_curves(read_metrics(place / "metrics.csv"), record.get("best epoch"))
    (place / "curves.svg").write_text(curves, encoding="utf-8")
    planned = plan(composed, record["facts"])
    kept = yaml.safe_dump(secrets.hidden(composed.config), sort_keys=False, allow_unicode=True)
    before = [("Learning curves", page.fit(curves))]
    if record["test"]:
        before += task.sections(place, data)
    after = [
        ("Architecture", architecture(planned, composed.choices.get("model", "model"))),
        ("Run it again", page.code(record["command"]) + page.pairs(provenance(record))),
        (
            "Configuration",
            page.folded("config.yaml", page.code(kept)),
        ),
    ]
    title = " on ".join(composed.choices.get(part, part) for part in ("model", "data"))
    notes = "".join(f'<p class="note">{escape(note)}</p>' for note in record["notes"])
    head = page.headline(title, score(record["test"], task.headline), summary(record)) + notes
    for seen in ([], look_inside(place, task, data, planned)):
        found = [section for section in (*before, *seen, *after) if section[1]]
        shown = secrets.hide(page.html(title, head, found))
        (place / "report.html").write_text(shown, encoding="utf-8", errors="backslashreplace")


def look_inside(place: Path, task: Any, data: Any, planned: Built) -> list[tuple[str, str]]:
    """Attention, feature maps and how the nodes learned. What fails is told in its place: the
    run is what counts.
    """

    def seen() -> list[tuple[str, str]]:
        if strategy.is_sharded(task.trainer):
            return []
        return inspection.sections(task.network, task.samples(data), axes(planned))

    found = []
    for title, part in (
        ("Inside the network", seen),
        ("Gradients and updates", lambda: gradients.sections(place)),
    ):
        try:
            found += part()
        except Exception as error:  # a block of the user's own may do anything when it is looked at
            log.exception("no picture: %s", title)
            told = (
                f"This could not be drawn: {type(error).__name__}: {error}. train.log has "
                "the traceback."
            )
            print(f"note: {title}: {told}", flush=True)
            found.append((title, f'<p class="note">{escape(told)}</p>'))
    return found


def axes(built: Built) -> dict[str, tuple[str | None, ...]]:
    """The names of the axes of what each node gives first, by path."""
    found = {}
    for node in built.walk():
        for value in list(node.outputs.values())[:1]:
            found[node.path] = value.names
    return found


def read_metrics(path: Path) -> list[dict[str, float]]:
    """The rows of metrics.csv, without empty entries."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [
            {name: float(value) for name, value in row.items() if value}
            for row in csv.DictReader(file)
        ]


def architecture(planned: Built, name: str) -> str:
    """The network as a picture, and the table of nodes: what stands there, what comes out, how
    heavy it is.
    """
    total = count_parameters(planned.model)
    found = list(lines(planned.nodes))
    rows = []
    for line in found:
        cells = [line.name, line.label, line.output, "", ""]
        if line.parameters:
            cells[3:] = [f"{line.parameters:,}", f"{line.parameters / total:.1%}"]
        rows.append(cells)
    table = page.table(
        ["node", "block", "output", "parameters", "share"],
        rows,
        indents=[line.depth for line in found],
    )
    drawn = page.wide(draw_svg(planned, name))
    return drawn + (table if len(rows) <= 60 else page.folded(f"{len(rows)} nodes", table))


def score(metrics: dict[str, float], headline: str) -> tuple[str, str]:
    """The number to show largest, and its name."""
    if f"test/{headline}" not in metrics:
        return "-", "not tested"
    value = metrics[f"test/{headline}"]
    share = headline in ("accuracy", "exact", "exact_match")
    return f"{value:.2%}" if share else f"{value:.4f}", f"test {headline.replace('_', ' ')}"


def summary(record: dict[str, Any]) -> list[tuple[str, str]]:
    """The facts at the top of the page."""
    image, samples = record["facts"].get("image", {}), record["samples"]
    size = (
        f"{image.get('channels')} × {image.get('height')} × {image.get('width')}" if image else ""
    )
    told = {
        "parameters": f"{record['parameters']:,}",
        "samples": ", ".join(f"{count:,} {part}" for part, count in samples.items()),
        "image": size,
        "classes": f"{record['facts'].get('classes', '')}",
        "vocabulary": f"{record['facts'].get('vocab', '')}",
        "test loss": f"{record['test']['test/loss']:.4f}" if "test/loss" in record["test"] else "",
        "time": f"{record['seconds']:.0f} s",
        "seed": str(record["seed"]),
    }
    return [(name, value) for name, value in told.items() if value]


def provenance(record: dict[str, Any]) -> list[tuple[str, str]]:
    """Where a run comes from."""
    git = record.get("git") or {}
    changed = f", {len(git['changed'])} files changed" if git.get("changed") else ""
    machine = record.get("machine", {})
    return [
        ("started", record["started"]),
        ("git commit", f"{git['commit']}{changed}" if git else "not in a git checkout"),
        ("directory", record["directory"]),
        ("machine", ", ".join(f"{name} {value}" for name, value in machine.items())),
        ("versions", ", ".join(f"{name} {value}" for name, value in record["versions"].items())),
        ("checkpoint", str(record.get("checkpoint"))),
    ]
