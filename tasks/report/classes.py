"""What a run writes about its classes: confusion matrix, predictions, and the most confident
mistakes.
"""

import csv
from pathlib import Path
from typing import Any

from torch import Tensor

from tasks.report import matrices, overlays, page

MISTAKES = 12  # on the page
SHARES = 20  # classes up to which the predictions list the probability of each


def sections(
    folder: Path,
    data: Any,
    counts: list[list[int]],
    index: Tensor,
    label: Tensor,
    probabilities: Tensor,
) -> list[tuple[str, str]]:
    """Write confusion.svg and predictions.csv into the run folder, and return the sections of the
    report.

    Args:
        folder: of the run.
        data: the data module.
        counts: the confusion matrix, a row for each true class.
        index: (samples,), the number of each test sample.
        label: (samples,), its true class.
        probabilities: (samples, classes).
    """
    matrix = matrices.draw_confusion(counts, data.classes)
    path = folder / "confusion.svg"
    path.write_text(matrix, encoding="utf-8", errors="backslashreplace")
    write_predictions(folder / "predictions.csv", index, label, probabilities, data)
    return [
        ("Confusion matrix", page.fit(matrix)),
        ("Classes", page.table(*class_table(counts, data.classes))),
        ("Mistakes", draw_mistakes(index, label, probabilities, data)),
    ]


def write_predictions(
    path: Path, index: Tensor, label: Tensor, probabilities: Tensor, data: Any
) -> None:
    """Write one line for each test sample: true class, prediction and probability.

    Args: as for `sections`.
    """
    names = data.names("test")
    classes = data.classes
    lists_all = len(classes) <= SHARES
    header = ["index", "label", "prediction", "correct", "share"]
    if names:
        header.insert(1, data.noun)
    if lists_all:
        header += [f"p({name})" for name in classes]
    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        for number, true, row in zip(index.tolist(), label.tolist(), probabilities, strict=True):
            predicted = int(row.argmax())
            share = f"{float(row[predicted]):.4f}"
            cells = [number, classes[true], classes[predicted], int(predicted == true), share]
            if names:
                cells.insert(1, names[number])
            if lists_all:
                cells += [f"{value:.4f}" for value in row.tolist()]
            writer.writerow(cells)


def class_table(counts: list[list[int]], classes: list[str]) -> tuple[list[str], list[list[str]]]:
    """Return header and rows of the table of classes: precision, recall, and the class that each is
    most often mistaken for.
    """
    rows = []
    predicted = [sum(column) for column in zip(*counts, strict=True)]
    for number, line in enumerate(counts):
        correct, total = line[number], sum(line)
        wrong = [pair for pair in zip(line, classes, strict=True) if pair[1] != classes[number]]
        count, name = max(wrong, default=(0, ""))
        rows.append(
            [
                classes[number],
                str(total),
                format_ratio(correct, predicted[number]),
                format_ratio(correct, total),
                f"{name} ({count})" if count else "",
            ]
        )
    return ["class", "samples", "precision", "recall", "mistaken for"], rows


def format_ratio(part: int, whole: int) -> str:
    """Return a ratio with three decimals; a dash where the whole is zero."""
    return f"{part / whole:.3f}" if whole else "-"


def draw_mistakes(index: Tensor, label: Tensor, probabilities: Tensor, data: Any) -> str:
    """Return the wrong predictions with the highest probability."""
    predicted = probabilities.argmax(1)
    wrong = (predicted != label).nonzero()[:, 0]
    if not len(wrong):
        return "<p>None.</p>"
    order = probabilities[wrong].max(1).values.argsort(descending=True)
    worst = wrong[order][:MISTAKES].tolist()
    figures = []
    for number in worst:
        true = data.classes[int(label[number])]
        guess = data.classes[int(predicted[number])]
        caption = f"{true} taken for {guess}, {float(probabilities[number].max()):.0%}"
        sample = data.raw_sample("test", int(index[number]))
        figures.append(overlays.draw_sample(sample, caption))
    counts = f"The {len(worst)} most confident of {len(wrong)}, of {len(label)} test samples."
    return f'<p>{counts}</p><div class="pictures">{"".join(figures)}</div>'
