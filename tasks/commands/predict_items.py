"""Predict the classes or the numbers of items in batches, and write them as CSV or JSON."""

import argparse
import csv
import itertools
import json
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor, nn

from blocks.graph import Graph
from tasks.commands.common import FAILED, OK
from tasks.commands.predict_captions import choose_captions, compare_texts, compares_texts
from tasks.commands.predict_masks import gives_masks, write_masks
from tasks.data.readers.base import Item
from tasks.data.tables.wanted import Header
from tasks.data.walk import escape_name
from tasks.errors import ArgumentError, must_be_positive
from tasks.run.load_run import Finished, open_run

HEADERS: dict[str, Header] = {"auto": "auto", "true": True, "false": False}
NAME_WIDTH = 60  # of an item in a message

Value = tuple[str, float]  # a class and its probability, or a target and its number
Answer = tuple[Item, list[Value]]  # the most probable classes or all targets, none for a bad item
Writer = Callable[[Item, list[Value]], None]


def write_predictions(arguments: argparse.Namespace) -> int:
    """Write one row for each item; a bad item is reported, keeps its row and does not stop the
    rest.

    Returns:
        The exit status: 1 if an item is bad.
    """
    if arguments.top is not None:
        must_be_positive("top", arguments.top)
    must_be_positive("batch_size", arguments.batch_size)
    run = open_predictor(arguments)
    if gives_masks(run):
        return write_masks(run, read_items(run, arguments.input), arguments)
    top = 1
    if "classes" in run.facts or arguments.caption:
        top = min(arguments.top or 1, len(run.classes))
    batch_size = arguments.batch_size
    if is_interactive(arguments.input):
        print("one item a line; Ctrl-D ends", file=sys.stderr)
        batch_size = 1
    status = OK
    with open_output(arguments.output) as file:
        write = choose_writer(run, file, top, json_lines=arguments.json)
        for item, values in predict_items(run, read_items(run, arguments.input), top, batch_size):
            if item.error:
                status = FAILED
                report_item(item, item.error)
            elif item.note:
                report_item(item, item.note)
            write(item, values)
    return status


def choose_writer(run: Finished, file: IO[str], top: int, *, json_lines: bool) -> Writer:
    """Return the function that writes an answer of a run."""
    if names := list_numbers(run):
        return number_writer(file, names, json_lines=json_lines)
    if run.thresholds is not None and not json_lines:
        return label_writer(file)
    return json_writer(file) if json_lines else csv_writer(file, top)


def open_predictor(arguments: argparse.Namespace) -> Finished:
    """Open the run, and set the question or the columns that its reader uses."""
    run = open_run(arguments.run, tuple(arguments.library))
    if arguments.caption:
        choose_captions(run, arguments.caption)
    elif "classes" not in run.facts and compares_texts(run):
        raise ArgumentError(
            "caption",
            f"{arguments.run} compares images with texts, and its data have no classes",
            fix="--caption TEXT for each text to compare with",
        )
    elif "classes" not in run.facts and not list_numbers(run):
        raise ArgumentError(
            "run",
            f"{arguments.run} predicts neither classes nor numbers",
            fits="a run of task=classify, answer or regress, or outputs (batch, features)",
        )
    if arguments.top is not None and run.thresholds is not None:
        raise ArgumentError(
            "top",
            "a run with several labels predicts those above their thresholds",
            got=f"--top {arguments.top}",
            fix="leave it out",
        )
    if arguments.question is not None:
        run.reader.ask(arguments.question)
    if arguments.text is not None or arguments.header != "auto":
        run.reader.choose(arguments.text, HEADERS[arguments.header])
    return run


def list_numbers(run: Finished) -> Sequence[str]:
    """Return the names of the numbers that a run predicts; none for one that predicts classes."""
    if "targets" in run.facts:
        return run.reader.targets
    if compares_texts(run):
        return ()
    names = []
    for name, size in find_vectors(run.network).items():
        names += [f"{name}.{number}" for number in range(size)]
    return names


def find_vectors(network: nn.Module) -> dict[str, int]:
    """Return the outputs (batch, features) of a network without logits, and their sizes."""
    if not isinstance(network, Graph):
        return {}
    if "logits" in network.output_names or network.output_names == ("out",):
        return {}
    (output,) = network.graph.find_nodes(op="output")
    found = {}
    for name, value in zip(network.output_names, output.meta["inputs"], strict=True):
        if len(value.shape) == 2:
            found[name] = value.shape[1]
    return found


def read_items(run: Finished, given: list[str]) -> Iterator[Item]:
    """Yield the items of all arguments; `-`, or no argument, reads standard input."""
    for text in given or ["-"]:
        try:
            if text == "-":
                yield from run.reader.lines(sys.stdin)
            else:
                yield from run.reader.items(text)
        except (OSError, ValueError, RuntimeError) as error:  # e.g. a folder that is not readable
            yield Item(text, error=first_line(error))


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, or its type where it has none."""
    if not str(error):
        return type(error).__name__
    return str(error).splitlines()[0]


def predict_items(
    run: Finished, items: Iterable[Item], top: int, batch_size: int
) -> Iterator[Answer]:
    """Yield each item with its most probable classes, in the order of the items."""
    items = iter(items)
    while chunk := list(itertools.islice(items, batch_size)):
        samples = [item.sample for item in chunk if not item.error]
        try:
            found = predict_batch(run, samples, top) if samples else []
        except (ValueError, RuntimeError) as error:
            if len(chunk) == 1:
                text = f"the network fails: {error}".splitlines()[0]
                yield replace(chunk[0], error=text), []
                continue
            for item in chunk:  # one of them fails: predict each alone, so that the rest succeed
                yield from predict_items(run, [item], top, 1)
            continue
        remaining = iter(found)
        for item in chunk:
            yield item, [] if item.error else next(remaining)


def predict_batch(run: Finished, samples: list[Any], top: int) -> list[list[Value]]:
    """Return the `top` most probable classes of each sample, in descending order, all labels above
    their thresholds, or its targets in the units of the data.
    """
    batch = run.reader.batch(samples)
    inputs = {name: batch[name] for name in run.network.input_names if name in batch}
    with torch.no_grad():
        if compares_texts(run):
            result: Any = compare_texts(run, inputs)
        else:
            result = run.network(**inputs)
    if names := list_numbers(run):
        if "targets" in run.facts:
            numbers = run.reader.to_units(take_logits(result))
        else:
            numbers = torch.cat([result[name] for name in find_vectors(run.network)], 1).float()
        return [list(zip(names, row, strict=True)) for row in numbers.tolist()]
    if run.thresholds is not None:
        return choose_labels(take_logits(result).float().sigmoid(), run.thresholds, run.classes)
    probabilities, chosen = take_logits(result).float().softmax(1).topk(top)
    rows = []
    for row, values in zip(chosen.tolist(), probabilities.tolist(), strict=True):
        names = [run.classes[number] for number in row]
        rows.append(list(zip(names, values, strict=True)))
    return rows


def take_logits(result: Any) -> Tensor:
    """Return the logits of a network that gives them alone, or by name."""
    if isinstance(result, dict):
        return result["logits"]
    return result


def choose_labels(
    probabilities: Tensor, thresholds: Sequence[float], classes: Sequence[str]
) -> list[list[Value]]:
    """Return the labels of each sample with their probabilities, the most probable first.

    Args:
        probabilities: (samples, classes).
        thresholds: from which probability on a sample has each label.
        classes: their names.
    """
    rows = []
    for row in probabilities.tolist():
        pairs = zip(classes, row, thresholds, strict=True)
        held = [(name, value) for name, value, least in pairs if value >= least]
        rows.append(sorted(held, key=lambda pair: -pair[1]))
    return rows


def label_writer(file: IO[str]) -> Writer:
    """Return a function that writes an answer as a CSV row: input, labels, probabilities, error;
    several are separated by semicolons.
    """
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["input", "labels", "probabilities", "error"])

    def write(item: Item, labels: list[Value]) -> None:
        names = ";".join(name for name, _ in labels)
        shares = ";".join(f"{share:.6f}" for _, share in labels)
        writer.writerow([escape_name(item.name), names, shares, item.error or ""])
        file.flush()

    return write


def csv_writer(file: IO[str], top: int) -> Writer:
    """Return a function that writes an answer as a CSV row: input, classes with their
    probabilities, error.
    """
    writer = csv.writer(file, lineterminator="\n")
    header = ["input", "prediction", "probability"]
    for rank in range(2, top + 1):
        header += [f"prediction_{rank}", f"probability_{rank}"]
    writer.writerow([*header, "error"])

    def write(item: Item, classes: list[Value]) -> None:
        cells: list[str] = []
        for name, probability in classes:
            cells += [name, f"{probability:.6f}"]
        if not cells:
            cells = [""] * 2 * top
        writer.writerow([escape_name(item.name), *cells, item.error or ""])
        file.flush()

    return write


def json_writer(file: IO[str]) -> Writer:
    """Return a function that writes an answer as a JSON object on a line."""

    def write(item: Item, classes: list[Value]) -> None:
        answer: dict[str, Any] = {"input": escape_name(item.name)}
        if item.error:
            answer["error"] = item.error
        else:
            answer["predictions"] = [
                {"class": name, "probability": round(probability, 6)}
                for name, probability in classes
            ]
        print(json.dumps(answer, ensure_ascii=False), file=file, flush=True)

    return write


def number_writer(file: IO[str], names: Sequence[str], *, json_lines: bool) -> Writer:
    """Return a function that writes an answer as input, the number of each target, error."""
    writer = csv.writer(file, lineterminator="\n")
    if not json_lines:
        writer.writerow(["input", *names, "error"])

    def write(item: Item, values: list[Value]) -> None:
        name = escape_name(item.name)
        if json_lines:
            answer: dict[str, Any] = {"input": name}
            if item.error:
                answer["error"] = item.error
            else:
                answer["predictions"] = {target: float(f"{value:.6g}") for target, value in values}
            print(json.dumps(answer, ensure_ascii=False), file=file)
        else:
            cells = [f"{value:.6g}" for _, value in values] or [""] * len(names)
            writer.writerow([name, *cells, item.error or ""])
        file.flush()

    return write


def report_item(item: Item, text: str) -> None:
    """Print an error or a note about an item to standard error."""
    name = escape_name(item.name)
    if len(name) > NAME_WIDTH:
        name = f"{name[: NAME_WIDTH - 3]}..."
    lines = textwrap.wrap(
        f"{name or repr(name)}: {text}",
        80,
        subsequent_indent="  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    print("\n".join(lines), file=sys.stderr)


def open_output(path: Path | None) -> AbstractContextManager[IO[str]]:
    """Open the file to write to, or standard output.

    Raises:
        ArgumentError: the file cannot be written.
    """
    if path is None:
        return nullcontext(sys.stdout)
    try:
        return path.open("w", newline="", encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise ArgumentError(
            "output", f"{path} cannot be written: {error.strerror}", fix="-o FILE"
        ) from error


def is_interactive(given: list[str]) -> bool:
    """Return whether a person types the items and waits for each answer."""
    return (not given or "-" in given) and sys.stdin.isatty()
