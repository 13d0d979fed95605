"""What a trained classifier says to new input: `python -m tasks predict`."""

import argparse
import csv
import itertools
import json
import sys
import textwrap
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import torch

from tasks.data.readers.base import Item
from tasks.data.tables.wanted import Header
from tasks.data.walk import shown
from tasks.errors import ArgumentError, must_be_positive
from tasks.run.load_run import Finished, open_run

FINE, BAD = 0, 1
HEADERS: dict[str, Header] = {"auto": "auto", "true": True, "false": False}

Answer = tuple[Item, list[tuple[str, float]]]  # and its likeliest classes, none for a bad item


def predict(arguments: argparse.Namespace) -> int:
    """One row for each item; a bad one is told, keeps its row and does not stop the rest."""
    must_be_positive("top", arguments.top)
    must_be_positive("batch_size", arguments.batch_size)
    run = open_run(arguments.run, tuple(arguments.library))
    if "classes" not in run.facts:
        raise ArgumentError(
            "run", f"{arguments.run} names no classes", fits="a run of task=classify"
        )
    if arguments.question is not None:
        run.reader.ask(arguments.question)
    if arguments.text is not None or arguments.header != "auto":
        run.reader.choose(arguments.text, HEADERS[arguments.header])
    top = min(arguments.top, len(run.classes))
    size = arguments.batch_size
    if from_keyboard(arguments.input):
        print("one item a line; Ctrl-D ends", file=sys.stderr)
        size = 1
    bad = 0
    with written_to(arguments.output) as file:
        write = objects(file) if arguments.json else rows(file, top)
        for item, found in answers(run, items(run, arguments.input), top, size):
            if item.note and not item.error:
                tell(item, item.note)
            if item.error:
                bad += 1
                tell(item, item.error)
            write(item, found)
    return BAD if bad else FINE


def items(run: Finished, given: list[str]) -> Iterator[Item]:
    """The items of all arguments, and of standard input where `-` or nothing is given."""
    for text in given or ["-"]:
        found = run.reader.lines(sys.stdin) if text == "-" else run.reader.items(text)
        try:
            yield from found
        except (
            OSError,
            ValueError,
            RuntimeError,
        ) as error:  # a file that goes away, a folder that may not be read
            yield Item(
                text, error=str(error).splitlines()[0] if str(error) else type(error).__name__
            )


def answers(run: Finished, given: Iterable[Item], top: int, size: int) -> Iterator[Answer]:
    """Each item with its likeliest classes, in batches, in the order of the items."""
    given = iter(given)
    while chunk := list(itertools.islice(given, size)):
        good = [item.sample for item in chunk if not item.error]
        try:
            found = iter(likeliest(run, good, top) if good else [])
        except (ValueError, RuntimeError) as error:
            if len(chunk) > 1:  # one of them: each alone, so that the others have their rows
                for item in chunk:
                    yield from answers(run, [item], top, 1)
            else:
                why = f"the network fails: {error}".splitlines()[0]
                yield replace(chunk[0], error=why), []
            continue
        for item in chunk:
            yield item, [] if item.error else next(found)


def likeliest(run: Finished, samples: list[Any], top: int) -> list[list[tuple[str, float]]]:
    """The `top` likeliest classes of each sample with their probabilities, the likeliest first."""
    batch = run.reader.batch(samples)
    with torch.no_grad():
        result = run.network(
            **{name: batch[name] for name in run.network.input_names if name in batch}
        )
    logits = result["logits"] if isinstance(result, dict) else result
    share, number = logits.float().softmax(1).topk(top)
    return [
        [(run.classes[place], value) for place, value in zip(*pair, strict=True)]
        for pair in zip(number.tolist(), share.tolist(), strict=True)
    ]


def rows(file: IO[str], top: int) -> Any:
    """Writes answers as CSV: input, the classes with their probabilities, error."""
    writer = csv.writer(file, lineterminator="\n")
    ends = ["", *(f"_{place}" for place in range(2, top + 1))]
    writer.writerow(
        [
            "input",
            *(f"{name}{end}" for end in ends for name in ("prediction", "probability")),
            "error",
        ]
    )

    def write(item: Item, found: list[tuple[str, float]]) -> None:
        cells = [cell for name, share in found for cell in (name, f"{share:.6f}")]
        writer.writerow([shown(item.name), *(cells or [""] * 2 * top), item.error or ""])
        file.flush()

    return write


def objects(file: IO[str]) -> Any:
    """Writes answers as JSON, one object a line."""

    def write(item: Item, found: list[tuple[str, float]]) -> None:
        predictions = [{"class": name, "probability": round(share, 6)} for name, share in found]
        answer = {"error": item.error} if item.error else {"predictions": predictions}
        print(
            json.dumps({"input": shown(item.name), **answer}, ensure_ascii=False),
            file=file,
            flush=True,
        )

    return write


def tell(item: Item, what: str) -> None:
    """What is wrong with an item, or what was decided about it, on standard error."""
    name = shown(item.name)
    name = name if len(name) <= 60 else f"{name[:57]}..."
    text = f"{name or repr(name)}: {what}"
    lines = textwrap.wrap(
        text, 80, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )
    print("\n".join(lines), file=sys.stderr)


def written_to(path: Path | None) -> Any:
    """The file to write to, or standard output; raises ArgumentError."""
    if path is None:
        return nullcontext(sys.stdout)
    try:
        return path.open("w", newline="", encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise ArgumentError(
            "output", f"{path} cannot be written: {error.strerror}", fix="-o FILE"
        ) from error


def from_keyboard(given: list[str]) -> bool:
    """Whether somebody types the items, and waits for each answer."""
    return (not given or "-" in given) and sys.stdin.isatty()
