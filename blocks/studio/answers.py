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

SOON, LATER = 0.05, 1.0  # seconds without a question, after which there is time to collect
MANY, FULL = 20, 400  # answers without the shorter and the longer pause
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
    collector = Collector()
    waiting: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(questions, waiting), daemon=True).start()
    while line := collector.wait(waiting):
        with suppress(BrokenPipeError):  # the server was killed; its questions end, too
            answers.write(json.dumps(pages.answer(json.loads(line))) + "\n")
            answers.flush()


class Collector:
    """Collects garbage when nothing is asked: a model is one web of references.

    What survives a pause is frozen, so that between two keystrokes only what is newer is looked
    through.
    """

    def __init__(self) -> None:
        gc.freeze()
        gc.disable()
        # answers since the newer was looked through, and since all was: first in the first pause
        self.young, self.old = 0, FULL

    def wait(self, waiting: "queue.SimpleQueue[str]") -> str:
        """Return the next question; meanwhile there is time to collect."""
        line = self._wait(waiting)
        self.young, self.old = self.young + 1, self.old + 1
        return line

    def _wait(self, waiting: "queue.SimpleQueue[str]") -> str:
        with suppress(queue.Empty):
            if self.young < MANY:
                return waiting.get(timeout=SOON if self.young else None)
        self._collect()
        with suppress(queue.Empty):
            if self.old < FULL:
                return waiting.get(timeout=LATER)
        self._collect_all()
        return waiting.get()

    def _collect(self) -> None:
        gc.collect()
        self.young = 0

    def _collect_all(self) -> None:
        gc.unfreeze()
        self._collect()
        gc.freeze()
        self.old = 0


def _read(questions: IO[str], waiting: "queue.SimpleQueue[str]") -> None:
    """Put each question into a queue; an empty one at the end."""
    for line in questions:
        waiting.put(line)
    waiting.put("")


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
