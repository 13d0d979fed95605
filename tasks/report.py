"""What a run leaves for people: curves, confusion matrix, predictions, and one page with all of it."""

import csv
from html import escape
from pathlib import Path
from typing import Any

import torch
import yaml

from blocks.graph import plan
from blocks.graph.draw import svg
from blocks.graph.explain import describe, lines
from tasks import draw, page

MISTAKES = 12  # pictures of mistakes on the page
SHARES = 20  # with more classes the predictions list no share for each


def write(place: Path, composed: Any, record: dict[str, Any], data: Any, task: Any) -> None:
    """Write curves.svg, confusion.svg, predictions.csv and report.html into the run folder."""
    index, label, share = task.predicted()
    counts = task.counts
    rows = read_metrics(place / "metrics.csv")
    curves, matrix = draw.curves(rows, record.get("best epoch")), draw.confusion(counts, data.classes)
    (place / "curves.svg").write_text(curves)
    (place / "confusion.svg").write_text(matrix)
    write_predictions(place / "predictions.csv", index, label, share, data)
    title = " on ".join(composed.choices.get(part, part) for part in ("model", "data"))
    sections = [
        ("Learning curves", page.fit(curves)),
        ("Confusion matrix", page.fit(matrix)),
        ("Classes", page.table(*class_table(counts, data.classes))),
        ("Mistakes", mistakes(index, label, share, data)),
        ("Architecture", architecture(composed, record["facts"])),
        ("Run it again", page.code(record["command"]) + page.pairs(provenance(record))),
        ("Configuration", page.folded("config.yaml", page.code(yaml.safe_dump(composed.config, sort_keys=False)))),
    ]
    notes = "".join(f'<p class="note">{escape(note)}</p>' for note in record["notes"])
    head = page.headline(title, score(record["test"]), summary(record)) + notes
    (place / "report.html").write_text(page.html(title, head, [section for section in sections if section[1]]))


def read_metrics(path: Path) -> list[dict[str, float]]:
    """The rows of metrics.csv, without empty entries."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]


def write_predictions(path: Path, index: Any, label: Any, share: Any, data: Any) -> None:
    """One line for each test sample: what it is, what it was taken for, and how surely."""
    names, classes = data.names("test"), data.classes
    few = len(classes) <= SHARES
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        file_column, share_columns = ["file"] if names else [], [f"p({name})" for name in classes] if few else []
        writer.writerow(["index", *file_column, "label", "prediction", "correct", "share", *share_columns])
        for number, true, row in zip(index.tolist(), label.tolist(), share, strict=True):
            taken = int(row.argmax())
            shares = [f"{value:.4f}" for value in row.tolist()] if few else []
            name = [names[number]] if names else []
            right = int(taken == true)
            writer.writerow([number, *name, classes[true], classes[taken], right, f"{float(row[taken]):.4f}", *shares])


def class_table(counts: list[list[int]], classes: list[str]) -> tuple[list[str], list[list[str]]]:
    """Precision and recall of each class, and what it was most often mistaken for."""
    rows = []
    columns = [sum(column) for column in zip(*counts, strict=True)]
    for number, line in enumerate(counts):
        hit, total = line[number], sum(line)
        wrong = [(count, name) for count, name in zip(line, classes, strict=True) if count and name != classes[number]]
        most = max(wrong, default=None)
        rows.append(
            [
                classes[number],
                str(total),
                f"{hit / columns[number]:.3f}" if columns[number] else "-",
                f"{hit / total:.3f}" if total else "-",
                f"{most[1]} ({most[0]})" if most else "",
            ]
        )
    return ["class", "samples", "precision", "recall", "mistaken for"], rows


def mistakes(index: Any, label: Any, share: Any, data: Any) -> str:
    """Pictures of the test samples that were taken for something else most surely."""
    taken = share.argmax(1)
    wrong = (taken != label).nonzero()[:, 0]
    if not len(wrong):
        return "<p>None.</p>"
    worst = wrong[share[wrong].max(1).values.argsort(descending=True)][:MISTAKES].tolist()
    figures = []
    for number in worst:
        true, guess = data.classes[int(label[number])], data.classes[int(taken[number])]
        words = f"{true} taken for {guess}, {float(share[number].max()):.0%}"
        figures.append(page.figure(draw.png(as_picture(data.picture("test", int(index[number])))), words))
    more = f"<p>The {len(worst)} surest of {len(wrong)}, of {len(label)} test samples.</p>"
    return more + f'<div class="pictures">{"".join(figures)}</div>'


def as_picture(image: Any) -> Any:
    """A tensor in [0, 1] with one or three channels, as a PIL image of at most 224 pixels."""
    from PIL import Image

    pixels = (image * 255).round().to(torch.uint8)
    array = pixels[0].numpy() if len(pixels) != 3 else pixels.permute(1, 2, 0).numpy()
    picture = Image.fromarray(array)
    picture.thumbnail((224, 224))
    return picture


def architecture(composed: Any, facts: dict[str, Any]) -> str:
    """The network as a picture, and the table of nodes: what stands there, what comes out, how heavy it is."""
    planned = plan(composed, facts)
    described = describe(planned.model, planned.rows, {name: wire.shape for name, wire in planned.outputs.items()})
    total = max(described["parameters"], 1)
    found = list(lines(described["nodes"]))
    rows = [
        [
            line.name,
            line.block,
            line.output,
            *((f"{line.parameters:,}", f"{line.parameters / total:.1%}") if line.parameters else ("", "")),
        ]
        for line in found
    ]
    table = page.table(["node", "block", "output", "parameters", "share"], rows, indents=[line.depth for line in found])
    drawn = page.wide(svg(planned, composed.choices.get("model", "model")))
    return drawn + (table if len(rows) <= 60 else page.folded(f"{len(rows)} nodes", table))


def score(metrics: dict[str, float]) -> tuple[str, str]:
    """The number to show largest, and its name."""
    name = next((name for name in metrics if name.endswith("accuracy")), next(iter(metrics), ""))
    value = f"{metrics[name]:.2%}" if name.endswith("accuracy") else f"{metrics.get(name, float('nan')):.4f}"
    return value, name.replace("/", " ")


def summary(record: dict[str, Any]) -> list[tuple[str, str]]:
    """The facts at the top of the page."""
    image, samples = record["facts"].get("image", {}), record["samples"]
    size = f"{image.get('channels')} × {image.get('height')} × {image.get('width')}" if image else ""
    told = {
        "parameters": f"{record['parameters']:,}",
        "samples": ", ".join(f"{count:,} {part}" for part, count in samples.items()),
        "image": size,
        "classes": f"{record['facts'].get('classes', '')}",
        "test loss": f"{record['test'].get('test/loss', float('nan')):.4f}",
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
