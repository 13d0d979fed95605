"""What a run leaves of its classes: confusion matrix, predictions, and the mistakes it was surest
of.
"""

import csv
from pathlib import Path
from typing import Any

from tasks.report import matrices, overlays, page

MISTAKES = 12  # on the page
SHARES = 20  # with more classes the predictions list no share for each


def sections(
    place: Path, data: Any, counts: list[list[int]], index: Any, label: Any, share: Any
) -> list[tuple[str, str]]:
    """Write confusion.svg and predictions.csv into the run folder; the sections of the report."""
    matrix = matrices.draw_confusion(counts, data.classes)
    (place / "confusion.svg").write_text(matrix, encoding="utf-8", errors="backslashreplace")
    write_predictions(place / "predictions.csv", index, label, share, data)
    return [
        ("Confusion matrix", page.fit(matrix)),
        ("Classes", page.table(*class_table(counts, data.classes))),
        ("Mistakes", mistakes(index, label, share, data)),
    ]


def write_predictions(path: Path, index: Any, label: Any, share: Any, data: Any) -> None:
    """One line for each test sample: what it is, what it was taken for, and how surely."""
    names, classes = data.names("test"), data.classes
    few = len(classes) <= SHARES
    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        writer = csv.writer(file)
        name_column, share_columns = (
            [data.noun] if names else [],
            [f"p({name})" for name in classes] if few else [],
        )
        writer.writerow(
            ["index", *name_column, "label", "prediction", "correct", "share", *share_columns]
        )
        for number, true, row in zip(index.tolist(), label.tolist(), share, strict=True):
            taken = int(row.argmax())
            shares = [f"{value:.4f}" for value in row.tolist()] if few else []
            name = [names[number]] if names else []
            right = int(taken == true)
            writer.writerow(
                [
                    number,
                    *name,
                    classes[true],
                    classes[taken],
                    right,
                    f"{float(row[taken]):.4f}",
                    *shares,
                ]
            )


def class_table(counts: list[list[int]], classes: list[str]) -> tuple[list[str], list[list[str]]]:
    """Precision and recall of each class, and what it was most often mistaken for."""
    rows = []
    columns = [sum(column) for column in zip(*counts, strict=True)]
    for number, line in enumerate(counts):
        hit, total = line[number], sum(line)
        wrong = [
            (count, name)
            for count, name in zip(line, classes, strict=True)
            if count and name != classes[number]
        ]
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
    """The test samples that were taken for something else most surely."""
    taken = share.argmax(1)
    wrong = (taken != label).nonzero()[:, 0]
    if not len(wrong):
        return "<p>None.</p>"
    worst = wrong[share[wrong].max(1).values.argsort(descending=True)][:MISTAKES].tolist()
    figures = []
    for number in worst:
        true, guess = data.classes[int(label[number])], data.classes[int(taken[number])]
        words = f"{true} taken for {guess}, {float(share[number].max()):.0%}"
        sample = data.raw_sample("test", int(index[number]))
        figures.append(overlays.draw_sample(sample, words))
    more = f"<p>The {len(worst)} surest of {len(wrong)}, of {len(label)} test samples.</p>"
    return more + f'<div class="pictures">{"".join(figures)}</div>'
