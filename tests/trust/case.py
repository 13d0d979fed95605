"""One hostile configuration: its files, the command that reads them, and what happened."""

import contextlib
import importlib
import io
import logging
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib.font_manager  # noqa: F401 - its first import lists the user's fonts in the cache

from tests.trust.watch import ROOT, watching

MARK = "EXECUTED"
SECRET = "canary-4f1c-environment"  # in the environment; must not be in any file
TYPED = "canary-77aa-typed"  # on the command line, as a key
EVIL = """
import os
open("@MARK@", "w").close()
os.environ["CANARY_SET"] = "1"
class Evil:
    def __init__(self, *positional, **keywords): ...
"""
SMALL = [
    "trainer=debug",
    "model.params.depth=1",
    "model.params.dim=16",
    "callbacks.progress.style=none",
]
LIMIT = 60  # seconds; what takes longer has hung

File = str | bytes | Callable[[Path], None]


@dataclass(frozen=True)
class Case:
    """A command, and what a stranger has put where it looks.

    Args:
        family: what kind of attack it is.
        name: which of them.
        command: ["train", ...], ["blocks", "explain", ...] or ["tasks", "evaluate", ...]; @RUN@ is
            the run folder, @CONF@ the stranger's YAML.
        files: path below the case's folder -> text, bytes, or what writes it. `conf/` is the
            stranger's YAML, `here/` where the user stands, `run/` a run folder; @MARK@ stands for
            the file that shows execution.
        refused: whether the answer is exit status 2, rather than anything harmless.
        says: a part of what is told.
    """

    family: str
    name: str
    command: list[str]
    files: dict[str, File] = field(default_factory=dict)
    refused: bool = True
    says: str = ""

    def __str__(self) -> str:
        return f"{self.family}: {self.name}"


@dataclass
class Outcome:
    """What came of a case. `harm` is empty if nothing was executed, written outside or leaked."""

    status: int
    out: str
    err: str
    harm: list[str]

    def faults(self, case: Case) -> list[str]:
        """Everything that is not as it should be."""
        found = list(self.harm)
        if "Traceback" in self.err or self.status not in (0, 1, 2):
            found.append(f"crashed: {self.err[-300:]}")
        if case.refused and self.status != 2:
            found.append(f"not refused: {self.status} {self.err[-200:]}")
        if case.says and case.says not in self.out + self.err:
            found.append(f"does not say {case.says!r}: {(self.out + self.err)[-300:]}")
        return found


def play(
    case: Case, folder: Path, run: Callable[[list[str], Path], tuple[int, str, str]] | None = None
) -> Outcome:
    """Lay the files of a case out in an empty folder, run its command there, and look what
    happened.
    """
    mark, here = folder / MARK, folder / "here"
    for name in ("here/runs", "conf", "run"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for name in ("here/evil.py", "conf/evil.py", "run/evil.py"):
        (folder / name).write_text(EVIL.replace("@MARK@", str(mark)), encoding="utf-8")
    for name, content in case.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if callable(content):
            content(path)
        else:
            raw = content.replace("@MARK@", str(mark)) if isinstance(content, str) else content
            path.write_bytes(raw.encode() if isinstance(raw, str) else raw)
    words = {
        "@RUN@": str(folder / "run"),
        "@CONF@": str(folder / "conf"),
        "@MARK@": str(mark),
        "@HERE@": str(here),
    }
    command = [_filled(word, words) for word in case.command]
    inside = (
        here / "runs"
        if command[0] == "train"
        else folder / "run"
        if command[0] == "tasks"
        else here
    )
    inside = folder / "run" if "resume=@RUN@" in case.command else inside
    before = {path for path in folder.rglob("*") if path.is_file()}
    if run is not None:
        (status, out, err), events = run(command, here), []
    else:
        with watching(inside, (folder / "here", folder / "conf")) as events:
            status, out, err = call(command, here)
    harm = list(events)
    new = {path for path in folder.rglob("*") if path.is_file()} - before
    harm += [f"executed: {mark.name}"] if mark.exists() else []
    harm += [
        f"wrote {path}"
        for path in new
        if inside not in path.parents and path != mark and "evil.pyc" not in str(path)
    ]
    harm += [f"leaked into {path.name}" for path in new if _leaks(path)]
    harm += [
        f"leaked to the terminal: {part}"
        for part in (SECRET[:12], SECRET[-12:])
        if part in out + err
    ]
    return Outcome(status, out, err, harm)


def _filled(word: str, words: dict[str, str]) -> str:
    for key, value in words.items():
        word = word.replace(key, value)
    return word


def _leaks(path: Path) -> bool:
    content = path.read_bytes()
    return any(secret.encode() in content for secret in (SECRET, TYPED))


def call(command: list[str], here: Path) -> tuple[int, str, str]:
    """Run a command inside this process, as a user who stands in `here` does."""
    out, err = io.StringIO(), io.StringIO()
    with _as_a_user(here), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = DOORS[command[0]](command[1:])
        except SystemExit as error:
            status = error.code if isinstance(error.code, int) else 99
        except BaseException:
            traceback.print_exc()
            status = 99
    return status, out.getvalue(), err.getvalue()


def _train(words: list[str]) -> int:
    train = importlib.import_module("train")
    sys.argv = ["train.py", *words]
    train.main()
    return 0


def _blocks(words: list[str]) -> int:
    return importlib.import_module("blocks.__main__").main(words)


def _tasks(words: list[str]) -> int:
    sys.argv = ["tasks", *words]
    return importlib.import_module("tasks.__main__").main()


DOORS: dict[str, Callable[[list[str]], Any]] = {"train": _train, "blocks": _blocks, "tasks": _tasks}


@contextlib.contextmanager
def _as_a_user(here: Path) -> Iterator[None]:
    """The working directory, the arguments and the log as they were; a hang ends."""
    from hydra.core.global_hydra import GlobalHydra

    folder, argv, path, modules = os.getcwd(), list(sys.argv), list(sys.path), set(sys.modules)
    handlers, level = list(logging.root.handlers), logging.root.level
    os.environ["CANARY_SECRET"] = SECRET
    os.chdir(here)
    sys.path[:] = [
        *({str(ROOT)} - set(path)),
        *path,
        str(here),
    ]  # a stranger's module would be found
    old = signal.signal(signal.SIGALRM, _late)
    signal.alarm(LIMIT)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, old)
        GlobalHydra.instance().clear()
        os.chdir(folder)
        sys.argv, sys.path[:] = argv, path
        os.environ.pop("CANARY_SECRET", None)
        for handler in [handler for handler in logging.root.handlers if handler not in handlers]:
            logging.root.removeHandler(handler)
            handler.close()
        logging.root.setLevel(level)
        for name in set(sys.modules) - modules:
            if name == "evil" or name.startswith("dougong_library"):
                del sys.modules[name]


def _late(*_: Any) -> None:
    raise TimeoutError(f"hangs: more than {LIMIT} s")
