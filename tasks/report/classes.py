"""Results of a test as sections: tables, samples, confusion matrix, predictions and mistakes."""

import csv
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor
from torchmetrics.functional.classification import binary_average_precision

from tasks.data.readers.mask import class_colours
from tasks.report import matrices, overlays, page, plots
from tasks.report.galleries.neighbours import draw_neighbours, draw_similarity
from tasks.report.galleries.reconstructions import draw_reconstructions
from tasks.report.samples import (
    Gallery,
    Labels,
    Masked,
    Masks,
    Neighbours,
    Numbers,
    Predictions,
    Reconstructions,
    Result,
    Table,
)

MISTAKES = 12  # on the page
LEGEND = 40  # classes whose colours are listed
SHARES = 20  # classes up to which the predictions list the probability of each


def draw_results(folder: Path, data: Any, results: list[Result]) -> list[tuple[str, str]]:
    """Return the results of a test as sections of the report: (title, HTML)."""
    sections = []
    for result in results:
        if isinstance(result, Predictions):
            sections += draw_predictions(folder, data, result)
        elif isinstance(result, Numbers):
            sections += draw_numbers(folder, data, result)
        elif isinstance(result, Labels):
            sections += draw_labels(folder, data, result)
        elif isinstance(result, Masks):
            sections += draw_masks(folder, data, result)
        elif isinstance(result, Reconstructions):
            sections.append(("Reconstructions", draw_reconstructions(result, data)))
        elif isinstance(result, Neighbours):
            sections.append(("Nearest neighbours", draw_neighbours(result, data)))
            sections.append(("Similarity", draw_similarity(result)))
        elif isinstance(result, Gallery):
            sections.append((result.title, draw_gallery(data, result)))
        else:
            sections.append((result.title, draw_table(result)))
    return sections


def draw_table(table: Table) -> str:
    """Return a table as HTML."""
    if not table.rows:
        return "<p>None.</p>"
    return page.table(table.columns, table.rows)


def draw_gallery(data: Any, gallery: Gallery) -> str:
    """Return samples of the test with their captions as HTML."""
    figures = []
    for index, caption in gallery.samples:
        figures.append(overlays.draw_sample(data.raw_sample("test", index), caption))
    return f'<div class="pictures">{"".join(figures)}</div>'


def draw_predictions(folder: Path, data: Any, result: Predictions) -> list[tuple[str, str]]:
    """Write confusion.svg and predictions.csv into the run folder; return their sections."""
    counts = list(map(list, result.counts))
    index, label, probabilities = result.index, result.label, result.probabilities
    matrix = matrices.draw_confusion(counts, data.classes)
    path = folder / "confusion.svg"
    path.write_text(matrix, encoding="utf-8", errors="backslashreplace")
    write_predictions(folder / "predictions.csv", index, label, probabilities, data)
    return [
        ("Confusion matrix", page.fit(matrix)),
        ("Classes", page.table(*class_table(counts, data.classes))),
        ("Mistakes", draw_mistakes(index, label, probabilities, data)),
    ]


def draw_numbers(folder: Path, data: Any, result: Numbers) -> list[tuple[str, str]]:
    """Write predicted.svg and predictions.csv into the run folder; return their sections."""
    picture = plots.draw_predicted(result)
    path = folder / "predicted.svg"
    path.write_text(picture, encoding="utf-8", errors="backslashreplace")
    write_numbers(folder / "predictions.csv", result, data)
    error = result.predicted - result.target
    rows = []
    for number, name in enumerate(result.names):
        residual, target = error[:, number].double(), result.target[:, number].double()
        spread = (target - target.mean()).square().sum()
        share = "-"
        if spread > 0:
            share = f"{float(1 - residual.square().sum() / spread):.3f}"
        mae, rmse = residual.abs().mean(), residual.square().mean().sqrt()
        rows.append([name, f"{float(mae):.4g}", f"{float(rmse):.4g}", share])
    worst = error.abs().sum(1).argsort(descending=True)[:MISTAKES].tolist()
    samples = []
    for row in worst:
        pairs = zip(result.target[row].tolist(), result.predicted[row].tolist(), strict=True)
        caption = "; ".join(f"{true:.4g}, predicted {guess:.4g}" for true, guess in pairs)
        samples.append((int(result.index[row]), caption))
    return [
        ("Predicted and true", page.fit(picture)),
        ("Targets", page.table(["target", "MAE", "RMSE", "R2"], rows)),
        ("Largest errors", draw_gallery(data, Gallery("Largest errors", samples))),
    ]


def draw_labels(folder: Path, data: Any, result: Labels) -> list[tuple[str, str]]:
    """Write predictions.csv into the run folder; return the sections on several labels."""
    write_labels(folder / "predictions.csv", result, data)
    predicted = result.probabilities >= result.threshold
    wrong = (predicted != result.label.bool()).sum(1)
    samples = []
    for row in wrong.argsort(descending=True, stable=True)[:MISTAKES].tolist():
        if wrong[row]:
            true = join_labels(result.label[row], data.classes)
            found = join_labels(predicted[row], data.classes)
            samples.append((int(result.index[row]), f"{true}; predicted {found}"))
    whole = int((wrong == 0).sum())
    about = f"<p>All labels of {whole} of {len(wrong)} test samples are right.</p>"
    header = ["class", "samples", "threshold", "precision", "recall", "F1", "average precision"]
    return [
        ("Classes", page.table(header, label_table(result, data.classes))),
        ("Mistakes", about + draw_gallery(data, Gallery("Mistakes", samples))),
    ]


def label_table(result: Labels, classes: Sequence[str]) -> list[list[str]]:
    """Return a row for each class: samples that have it, threshold, precision, recall, F1 and
    average precision; a dash where a ratio has no meaning.
    """
    rows = []
    predicted = result.probabilities >= result.threshold
    for number, name in enumerate(classes):
        true, guess = result.label[:, number].bool(), predicted[:, number]
        right, have, found = int((true & guess).sum()), int(true.sum()), int(guess.sum())
        average = "-"
        if have:
            score = binary_average_precision(result.probabilities[:, number], true.long())
            average = f"{float(score):.3f}"
        rows.append(
            [
                name,
                f"{have:,}",
                f"{float(result.threshold[number]):.2f}",
                format_ratio(right, found),
                format_ratio(right, have),
                format_ratio(2 * right, have + found),
                average,
            ]
        )
    return rows


def join_labels(held: Tensor, classes: Sequence[str]) -> str:
    """Return the names of the labels that a sample has: (classes,), 1 for each."""
    return ", ".join(classes[number] for number in held.nonzero()[:, 0].tolist()) or "none"


def draw_masks(folder: Path, data: Any, result: Masks) -> list[tuple[str, str]]:
    """Write confusion.svg and predictions.csv into the run folder; return their sections."""
    counts = np.array(result.counts, dtype=float)
    share = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
    matrix = matrices.draw_confusion(share.round().astype(int).tolist(), data.classes)
    path = folder / "confusion.svg"
    path.write_text(matrix, encoding="utf-8", errors="backslashreplace")
    write_scores(folder / "predictions.csv", result, data)
    header = ["class", "pixels", "IoU", "Dice", "precision", "recall"]
    rows = mask_table(result.counts, data.classes)
    pictures = draw_pairs(result.first, "First test images", data)
    pictures += draw_pairs(result.worst, "Fewest pixels right", data)
    about = '<p class="soft">Per cent of the pixels of each true class.</p>'
    return [
        ("Masks", draw_legend(data.classes) + pictures),
        ("Classes", page.table(header, rows)),
        ("Confusion matrix", about + page.fit(matrix)),
    ]


def mask_table(counts: Sequence[Sequence[int]], classes: list[str]) -> list[list[str]]:
    """Return a row for each class: pixels, IoU, Dice, precision and recall; a dash where a class
    has no pixels.

    Args:
        counts: number of pixels by true class and predicted class.
        classes: their names.
    """
    rows = []
    predicted = [sum(column) for column in zip(*counts, strict=True)]
    for number, line in enumerate(counts):
        right, true, found = line[number], sum(line), predicted[number]
        rows.append(
            [
                classes[number],
                f"{true:,}",
                format_ratio(right, true + found - right),
                format_ratio(2 * right, true + found),
                format_ratio(right, found),
                format_ratio(right, true),
            ]
        )
    return rows


def draw_pairs(masks: Sequence[Masked], title: str, data: Any) -> str:
    """Return the image, the true and the predicted mask of some test samples."""
    figures = []
    colours = class_colours(len(data.classes))
    names = data.names("test")
    for found in masks:
        image = data.raw_sample("test", found.index).image
        name = f"test image {found.index}"
        if names:
            name = names[found.index]
        truth = overlays.masked(image, found.truth, colours)
        predicted = overlays.masked(image, found.predicted, colours)
        figures += [
            page.figure(overlays.plain(image), name),
            page.figure(truth, "true mask"),
            page.figure(predicted, f"predicted, {found.accuracy():.1%} of the pixels right"),
        ]
    return f'<h3>{escape(title)}</h3><div class="triples">{"".join(figures)}</div>'


def draw_legend(classes: Sequence[str]) -> str:
    """Return the colour of each class in an overlay; the first class has none."""
    colours = class_colours(len(classes)).tolist()
    shown = [f'<span class="soft">no colour: {escape(classes[0])}</span>']
    for name, (red, green, blue) in list(zip(classes, colours, strict=True))[1:LEGEND]:
        chip = f'<i class="chip" style="background:rgb({red},{green},{blue})"></i>'
        shown.append(f"<span>{chip}{escape(name)}</span>")
    return f'<p class="legend">{" ".join(shown)}</p>'


def write_scores(path: Path, result: Masks, data: Any) -> None:
    """Write one line for each test sample: the pixels that are judged, and those that are right."""
    names = data.names("test")
    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        writer = csv.writer(file)
        header = ["index", "pixels", "right"]
        if names:
            header.insert(1, data.noun)
        writer.writerow(header)
        for index, right, judged in result.scores:
            cells: list[Any] = [index, judged, right]
            if names:
                cells.insert(1, names[index])
            writer.writerow(cells)


def write_numbers(path: Path, result: Numbers, data: Any) -> None:
    """Write one line for each test sample: the target and the prediction of each name."""
    names = data.names("test")
    header = ["index"]
    if names:
        header.append(data.noun)
    for name in result.names:
        header += [name, f"predicted {name}"]
    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        for row, number in enumerate(result.index.tolist()):
            cells = [number]
            if names:
                cells.append(names[number])
            pairs = zip(result.target[row].tolist(), result.predicted[row].tolist(), strict=True)
            for pair in pairs:
                cells += [f"{value:.6g}" for value in pair]
            writer.writerow(cells)


def write_labels(path: Path, result: Labels, data: Any) -> None:
    """Write one line for each test sample: its labels, the predicted ones, the probabilities."""
    names = data.names("test")
    header = ["index", "labels", "predictions", "wrong"]
    if names:
        header.insert(1, data.noun)
    lists_all = len(data.classes) <= SHARES
    if lists_all:
        header += [f"p({name})" for name in data.classes]
    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        rows = zip(result.index.tolist(), result.label.bool(), result.probabilities, strict=True)
        for number, true, probability in rows:
            predicted = probability >= result.threshold
            cells: list[Any] = [number]
            if names:
                cells.append(names[number])
            for held in (true, predicted):
                chosen = held.nonzero()[:, 0].tolist()
                cells.append(";".join(data.classes[label] for label in chosen))
            cells.append(int((true != predicted).sum()))
            if lists_all:
                cells += [f"{value:.4f}" for value in probability.tolist()]
            writer.writerow(cells)


def write_predictions(
    path: Path, index: Tensor, label: Tensor, probabilities: Tensor, data: Any
) -> None:
    """Write one line for each test sample: true class, prediction and probability."""
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
    samples = []
    for number in worst:
        true = data.classes[int(label[number])]
        guess = data.classes[int(predicted[number])]
        caption = f"{true} taken for {guess}, {float(probabilities[number].max()):.0%}"
        samples.append((int(index[number]), caption))
    counts = f"The {len(worst)} most confident of {len(wrong)}, of {len(label)} test samples."
    return f"<p>{counts}</p>" + draw_gallery(data, Gallery("Mistakes", samples))
