"""Text files of one's own: one file, or a folder with all below it."""

from pathlib import Path
from typing import Any

from blocks.support.files import open_file
from tasks.data.tables.rows import read_text
from tasks.data.text.text import HeldText
from tasks.data.walk import Walk, escape_name, list_first
from tasks.errors import ArgumentError

PEEK = 8192  # bytes that tell a binary file


class Documents(HeldText):
    """Text files: .txt, .md, .rst, source code, whatever can be read as text. A file is a document.

    Args:
        path: a file, or a folder that is read with all below it, in the order of the names. Hidden
            files and folders, empty files and files that are no text are left out, and told.
        options: those of `HeldText`.
    """

    def __init__(self, path: str, **options: Any):
        super().__init__(**options)
        self.path = Path(path).expanduser()

    def documents(self) -> list[str]:
        if not self.path.exists():
            fix = "data.path=FILE_OR_FOLDER"
            raise ArgumentError(
                "path", f"{self.path} does not exist", got=f"path={self.path}", fix=fix
            )
        if not self.path.is_dir():
            return [document(self.path)]
        found: list[str] = []
        walk = Walk(self.path)
        bad = walk.left_out
        for file in walk.files:
            try:
                found.append(document(file))
            except ArgumentError as error:
                why = f"{error.problem}".replace(f"{file} ", "")
                bad.append(f"{escape_name(file.relative_to(self.path))} ({why})")
        if bad:
            self.notes.append(f"{len(bad)} of the files are left out: {list_first(bad)}")
        if not found:
            raise ArgumentError(
                "path",
                f"no texts in {self.path}",
                got=list_first(bad) or "nothing",
                fits="files of text",
            )
        self.notes.append(
            f"{len(found):,} file{'s' * (len(found) > 1)}, {sum(map(len, found)):,} characters"
        )
        return found


def document(path: Path) -> str:
    """The text of a file, its lines ended by a line feed; raises ArgumentError for what is no
    text.
    """
    try:
        with open_file(path) as file:
            start = file.read(PEEK)
    except OSError as error:
        raise ArgumentError(
            "path", f"{path} cannot be read: {error.strerror}", fix="data.path=FILE"
        ) from error
    if b"\0" in start and start[:2] not in (b"\xff\xfe", b"\xfe\xff"):
        raise ArgumentError("path", f"{path} is no text but binary", fits="a file of text")
    text = read_text(path).replace("\r\n", "\n").replace("\r", "\n")
    if "\0" in text:
        got = f"line {text[: text.index(chr(0))].count(chr(10)) + 1}"
        raise ArgumentError("path", f"{path} is not a text: a NUL byte", got=got)
    if not text.strip():
        raise ArgumentError("path", f"{path} is empty", fits="a file of text")
    return text
