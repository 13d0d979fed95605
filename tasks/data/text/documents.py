"""Text files of one's own: one file, or a folder with all below it."""

from pathlib import Path
from typing import Any

from blocks.support.files import open_file
from tasks.data.tables.rows import UTF_16, read_text
from tasks.data.text.text import RunningText
from tasks.data.walk import Walk, escape_name, list_first
from tasks.errors import ArgumentError

PEEK = 8192  # bytes that reveal a binary file


class Documents(RunningText):
    """Text files: .txt, .md, .rst, source code, whatever can be read as text.

    Each file is a document.

    Args:
        path: a file, or a folder that is read with all below it, in the order of the names. Hidden
            files and folders, empty files and files that are no text are left out, with a note.
        options: those of `RunningText`.
    """

    def __init__(self, path: str, **options: Any):
        super().__init__(**options)
        self.path = Path(path).expanduser()

    def documents(self) -> list[str]:
        if not self.path.exists():
            got, fix = f"path={self.path}", "data.path=FILE_OR_FOLDER"
            raise ArgumentError("path", f"{self.path} does not exist", got=got, fix=fix)
        if not self.path.is_dir():
            return [read_document(self.path)]
        found: list[str] = []
        walk = Walk(self.path)
        left_out = list(walk.left_out)
        for file in walk.files:
            try:
                found.append(read_document(file))
            except ArgumentError as error:
                reason = error.problem.replace(f"{file} ", "")
                left_out.append(f"{escape_name(file.relative_to(self.path))} ({reason})")
        shown = list_first(left_out)
        if left_out:
            self.notes.append(f"{len(left_out)} of the files are left out: {shown}")
        if not found:
            got = shown or "nothing"
            raise ArgumentError("path", f"no texts in {self.path}", got=got, fits="files of text")
        noun = "file"
        if len(found) > 1:
            noun = "files"
        self.notes.append(f"{len(found):,} {noun}, {sum(map(len, found)):,} characters")
        return found


def read_document(path: Path) -> str:
    """Return the text of a file with LF line ends; raises ArgumentError if it is no text."""
    try:
        with open_file(path) as file:
            start = file.read(PEEK)
    except OSError as error:
        text = f"{path} cannot be read: {error.strerror}"
        raise ArgumentError("path", text, fix="data.path=FILE") from error
    if b"\0" in start and not start.startswith(UTF_16):
        raise ArgumentError("path", f"{path} is no text but binary", fits="a file of text")
    text = read_text(path).replace("\r\n", "\n").replace("\r", "\n")
    before, found, _ = text.partition("\0")
    if found:
        got = f"line {before.count(chr(10)) + 1}"
        raise ArgumentError("path", f"{path} is not a text: a NUL byte", got=got)
    if not text.strip():
        raise ArgumentError("path", f"{path} is empty", fits="a file of text")
    return text
