"""Text files of one's own: one file, or a folder with all below it."""

from pathlib import Path
from typing import Any

from tasks.data.text.text import RunningText
from tasks.data.tokens.document import read_document
from tasks.data.tokens.header import HEADER
from tasks.data.walk import Walk, escape_name, list_first
from tasks.errors import ArgumentError


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
        files, left_out = list_documents(self.path)
        if (self.path / HEADER).exists():
            raise ArgumentError(
                "path",
                f"{self.path} is a folder of tokens, not of texts",
                got=HEADER,
                fix=f"data=tokens data.path={self.path}",
            )
        if not self.path.is_dir():
            return [read_document(self.path)]
        found: list[str] = []
        for file in files:
            try:
                found.append(read_document(file))
            except ArgumentError as error:
                left_out.append(describe_left_out(file, self.path, error))
        self.notes += note_documents(self.path, list(map(len, found)), left_out)
        return found


def list_documents(path: Path) -> tuple[list[Path], list[str]]:
    """Return the files of a path, and what of a folder is left out, each with the reason.

    Raises:
        ArgumentError: there is no such file or folder.
    """
    if not path.exists():
        got, fix = f"path={path}", "data.path=FILE_OR_FOLDER"
        raise ArgumentError("path", f"{path} does not exist", got=got, fix=fix)
    if not path.is_dir():
        return [path], []
    walk = Walk(path)
    return walk.files, list(walk.left_out)


def describe_left_out(file: Path, folder: Path, error: ArgumentError) -> str:
    """Return the name of a file in a folder, and why it is no document."""
    reason = error.problem.replace(f"{file} ", "")
    return f"{escape_name(file.relative_to(folder))} ({reason})"


def note_documents(folder: Path, sizes: list[int], left_out: list[str]) -> list[str]:
    """Return notes on the documents of a folder.

    Args:
        folder: where they are.
        sizes: the characters of each.
        left_out: what is no document.

    Raises:
        ArgumentError: there are none.
    """
    notes = []
    shown = list_first(left_out)
    if left_out:
        notes.append(f"{len(left_out)} of the files are left out: {shown}")
    if not sizes:
        got = shown or "nothing"
        raise ArgumentError("path", f"no texts in {folder}", got=got, fits="files of text")
    noun = "file"
    if len(sizes) > 1:
        noun = "files"
    notes.append(f"{len(sizes):,} {noun}, {sum(sizes):,} characters")
    return notes
