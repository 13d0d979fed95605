"""Answers a question again whenever a file is saved that the answer depends on."""

import gc
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

from blocks.watch.client import may_ask
from blocks.watch.engine import Engine, Printed
from blocks.watch.place import find_version
from blocks.watch.server import Server, open_server

Command = Callable[[list[str]], int]
POLL = 0.005  # seconds between two looks at the files
SETTLE = 0.003  # seconds in which a file that is being written changes again
EMPTY = 0.1  # seconds that a file may be empty while an editor writes it
SOURCE = 0.5  # seconds between two looks at the Python source
CLEAR = "\x1b[H\x1b[2J"
INTERRUPTED = 130


def watch(question: Sequence[str], command: Command, program: str = "python -m blocks") -> int:
    """Answer a question until Ctrl-C.

    Args:
        question: the words of a command line: explain model=vit.
        command: runs a command line, as `blocks.__main__.main` does.
        program: how the user calls it.

    Returns:
        The exit status.
    """
    engine = Engine()

    def answer(words: list[str]) -> Printed | None:
        if not may_ask(words):
            return None
        with suppress(Exception):  # the client runs the command itself and reports why
            return engine.run(command, words)
        return None

    try:
        with open_server(program, answer) as server, _collecting_when_idle():
            _loop(engine, question, command, server)
    except KeyboardInterrupt:
        return INTERRUPTED


@contextmanager
def _collecting_when_idle() -> Iterator[None]:
    """Leave garbage to `gc.collect` between two answers; torch, which stays, is not searched."""
    enabled = gc.isenabled()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.unfreeze()
        if enabled:
            gc.enable()


def _loop(
    engine: Engine, question: Sequence[str], command: Command, server: Server | None
) -> NoReturn:
    source = _Source(question)
    changed: list[Path] = []
    while True:
        _show(engine, question, command, changed)
        gc.collect()
        changed = []
        while not changed:
            if server is None:
                time.sleep(POLL)
            elif server.serve(POLL):
                gc.collect()
            source.start_again_if_changed()
            changed = engine.take_changed()
        _let_settle(engine, changed)


def _let_settle(engine: Engine, changed: list[Path]) -> None:
    """Wait while the files are being written."""
    end = time.monotonic() + EMPTY
    while time.monotonic() < end:
        time.sleep(SETTLE)
        again = engine.take_changed()
        changed += [path for path in again if path not in changed]
        if not again and not any(map(_is_empty, changed)):
            return


def _is_empty(path: Path) -> bool:
    try:
        return path.stat().st_size == 0
    except OSError:
        return True  # an editor that writes another file and renames it


def _show(engine: Engine, question: Sequence[str], command: Command, changed: list[Path]) -> None:
    start = time.perf_counter()
    try:
        printed = engine.run(command, question)
    except Exception:  # a mistake of ours ends one answer, not the process
        printed = Printed(1, "", traceback.format_exc())
    seconds = time.perf_counter() - start
    names = ", ".join(map(_shorten, changed)) or "first answer"
    note = f"{names}: {1000 * seconds:.0f} ms"
    if sys.stdout.isatty():
        files = len(engine.list_files())
        status = f"\n{note}; watching {files} files, Ctrl-C ends\n"
        sys.stdout.write(f"{CLEAR}{printed.err}{printed.out}{status}")
    else:
        sys.stderr.write(f"{printed.err}{note}\n")
        sys.stderr.flush()
        sys.stdout.write(f"{printed.out}\n")
    sys.stdout.flush()


def _shorten(path: Path) -> str:
    with suppress(ValueError):
        return str(path.relative_to(Path.cwd()))
    return str(path)


class _Source:
    """The Python source of the program, and of the user's own blocks: code that was imported is not
    imported again, so a change starts the process again.
    """

    def __init__(self, question: Sequence[str]):
        self.folders = []
        for word in question:
            name, _, value = word.lstrip("+").partition("=")
            if name == "library":
                folders = value.strip("[]'\"").split(",")
                self.folders += [Path(folder.strip(" '\"")) for folder in folders]
        self.version = self._find_version()
        self.looked = time.monotonic()

    def _find_version(self) -> tuple[object, ...]:
        found: list[object] = [find_version()]
        for folder in self.folders:
            for file in sorted([folder, *folder.rglob("*.py")]):
                with suppress(OSError):
                    found.append((file, file.stat().st_mtime_ns))
        return tuple(found)

    def start_again_if_changed(self) -> None:
        """Start the process again where the source is not what it was."""
        if time.monotonic() - self.looked < SOURCE:
            return
        self.looked = time.monotonic()
        if self._find_version() == self.version:
            return
        sys.stdout.flush()
        if os.name == "nt":
            sys.exit(subprocess.call(sys.orig_argv))
        os.execv(sys.executable, sys.orig_argv)
