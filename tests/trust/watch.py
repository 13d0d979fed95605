"""What must not happen while a stranger's file is read, seen from inside Python: an audit hook, and
canaries.
"""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# The commit of a run, the layout of emitted source, the name of the machine.
ALLOWED_COMMANDS = (["git", "-C"], [sys.executable, "-m", "ruff"], ["uname", "-p"])
STARTS = (
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.spawn",
    "os.startfile",
    "pty.spawn",
    "os.fork",
    "os.forkpty",
)
REMOTE = ("socket.connect", "socket.bind", "urllib.Request", "ftplib.connect", "smtplib.connect")
CHANGES = (
    "os.remove",
    "os.rename",
    "os.mkdir",
    "os.rmdir",
    "os.link",
    "os.symlink",
    "os.truncate",
    "os.chmod",
    "os.chown",
    "shutil.rmtree",
    "shutil.move",
    "os.putenv",
    "os.unsetenv",
)


class Watch:
    """What happened since `events` was emptied.

    The hook cannot be taken away, so there is one for each process.
    """

    def __init__(self) -> None:
        self.events: list[str] = []
        self.inside: Path | None = None  # the only folder that may change
        self.strange: tuple[
            Path, ...
        ] = ()  # folders of a stranger, from which nothing may be imported
        sys.addaudithook(self.hear)

    def hear(self, event: str, arguments: tuple) -> None:
        if self.inside is None:
            return
        inside, self.inside = self.inside, None  # what is done here is not watched
        try:
            told = self.judge(event, arguments, inside)
        finally:
            self.inside = inside
        if told:
            self.events.append(f"{event} {told}"[:200])

    def judge(self, event: str, arguments: tuple, inside: Path) -> str | None:
        if event in STARTS or event in REMOTE:
            return repr(arguments)
        if event == "subprocess.Popen":
            command = (
                [str(word) for word in arguments[1]]
                if isinstance(arguments[1], list | tuple)
                else []
            )
            return (
                None
                if any(command[: len(start)] == start for start in ALLOWED_COMMANDS)
                else repr(arguments[:2])
            )
        if event == "open":
            path, mode, flags = arguments
            writes = any(mark in (mode or "") for mark in "wax+") or bool(
                (flags or 0) & (os.O_WRONLY | os.O_RDWR)
            )
            return (
                str(path)
                if writes and not isinstance(path, int) and self.is_outside(path, inside)
                else None
            )
        if event in ("os.remove", "os.rmdir", "os.unlink") and arguments[1] != -1:
            return None  # a part of shutil.rmtree, which is heard itself
        if event in CHANGES:
            paths = [part for part in arguments if isinstance(part, str | bytes | os.PathLike)]
            if event in ("os.putenv", "os.unsetenv"):
                name = os.fsdecode(arguments[0])
                return name if name.startswith(("CANARY_SET", "LD_", "PYTHON", "PATH")) else None
            outside = [str(path) for path in paths if self.is_outside(path, inside)]
            return ", ".join(outside) or None
        if event == "exec":
            file = getattr(arguments[0], "co_filename", "")
            return (
                file if any(str(file).startswith(str(folder)) for folder in self.strange) else None
            )
        return None

    def is_outside(self, path: object, inside: Path) -> bool:
        text = os.path.realpath(os.fsdecode(path))  # type: ignore[type-var]
        folder, _, name = text.rpartition("/")
        passing = folder == os.path.realpath(tempfile.gettempdir()) and name.startswith(
            ("tmp", "torchinductor_")
        )
        known = "__pycache__" in text or text == os.devnull or passing
        return not (text.startswith(str(inside.resolve())) or known)


_watch: Watch | None = None


@contextmanager
def watching(inside: Path, strange: tuple[Path, ...] = ()) -> Iterator[list[str]]:
    """Everything that happens outside `inside`, by name; the environment must be as before."""
    global _watch
    _watch = _watch or Watch()
    _watch.events, _watch.strange = [], strange
    before = {
        name: os.environ.get(name) for name in ("LD_PRELOAD", "CANARY_SET", "PATH", "PYTHONPATH")
    }
    _watch.inside = inside
    try:
        yield _watch.events
    finally:
        _watch.inside = None
        changed = [name for name, value in before.items() if os.environ.get(name) != value]
        _watch.events += [f"the environment: {name}" for name in changed]
        for name in changed:
            os.environ.pop(name, None)
