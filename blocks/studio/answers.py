"""The process that answers: a line of JSON for each question, and one for its answer."""

import gc
import json
import os
import queue
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Protocol

from blocks.studio.engine import Studio
from blocks.support.answers import error_entries
from blocks.watch.engine import Engine

IDLE = 1.0  # seconds without a question, after which there is time to collect
PAUSE = "pause"  # no question
FULL = 40  # answers without such a pause
MOST = 8  # pages whose models are kept


class Answering(Protocol):
    """What answers."""

    def answer(self, question: dict[str, Any]) -> dict[str, Any]:
        """Answer a question."""


def serve(make: Callable[[Path], Answering]) -> None:
    """Answer the questions on standard input until it ends; the first line says that it begins.

    Args:
        make: makes what answers for a project, in the working directory.
    """
    questions = os.fdopen(os.dup(0), encoding="utf-8")
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)  # what else is printed is no answer
    pages = make(Path.cwd())
    answers.write("{}\n")
    answers.flush()
    gc.freeze()
    gc.disable()  # a model is one web of references: collected when nothing is asked
    waiting: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(questions, waiting), daemon=True).start()
    since = 0  # answers, since it was collected
    while line := _next(waiting, since):
        if line == PAUSE:
            gc.collect()
            since = 0
            continue
        with suppress(BrokenPipeError):  # the server was killed; its questions end, too
            answers.write(json.dumps(pages.answer(json.loads(line))) + "\n")
            answers.flush()
        since += 1


def _read(questions: IO[str], waiting: "queue.SimpleQueue[str]") -> None:
    """Put each question into a queue; an empty one at the end."""
    for line in questions:
        waiting.put(line)
    waiting.put("")


def _next(waiting: "queue.SimpleQueue[str]", since: int) -> str:
    """Return the next question; a pause where none comes soon, or none came for long."""
    if since >= FULL:
        return PAUSE
    try:
        return waiting.get(timeout=IDLE if since else None)
    except queue.Empty:
        return PAUSE


class Pages:
    """What each page that is open asks about.

    Args:
        project: its folder.
    """

    def __init__(self, project: Path):
        self.project, self.engine = project, Engine()
        self.studios: dict[str, Studio] = {}

    def answer(self, question: dict[str, Any]) -> dict[str, Any]:
        """Answer a question of a page; a mistake of ours is an error of the answer, and printed."""
        page = question.pop("page", "")
        studio = self.studios.pop(page, None) or Studio(self.project, self.engine)
        self.studios[page] = studio  # the last one is the latest
        if len(self.studios) > MOST:
            del self.studios[next(iter(self.studios))]
        try:
            return studio.answer(question)
        except Exception as error:
            traceback.print_exc()
            return {"errors": error_entries(error)}
