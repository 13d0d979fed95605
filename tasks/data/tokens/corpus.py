"""The documents of a corpus: found, measured and read in a fixed order, a piece at a time."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tasks.data.text.documents import describe_left_out, list_documents, note_documents
from tasks.data.tokens.document import measure_document, stream_document
from tasks.data.tokens.encode import Pool
from tasks.errors import ArgumentError


@dataclass(frozen=True)
class Corpus:
    """Documents that were measured, not kept.

    Args:
        files: of the documents.
        sizes: the characters of each.
        sha256: of their names and contents, in order.
        notes: on what was left out.
    """

    files: list[Path]
    sizes: list[int]
    sha256: str
    notes: list[str]

    def read(self, number: int) -> Iterator[str]:
        """Yield the text of a document."""
        return stream_document(self.files[number])


def find_corpus(paths: Sequence[Path], pool: Pool) -> Corpus:
    """Find and measure the documents of files and folders.

    A file that is named must be a text. Of a folder what is no text is left out, with a note.

    Args:
        paths: files and folders, in their order.
        pool: processes that read them.

    Raises:
        ArgumentError: a path is missing, a named file is no text, or there are no texts.
    """
    files: list[Path] = []
    sizes: list[int] = []
    notes: list[str] = []
    known = hashlib.sha256()
    for path in paths:
        found, left_out = list_documents(path)
        here = []
        for file, measured in zip(found, pool.map(measure_document, found), strict=True):
            if isinstance(measured, ArgumentError):
                if not path.is_dir():
                    raise measured
                left_out.append(describe_left_out(file, path, measured))
                continue
            files.append(file)
            here.append(measured.characters)
            name = file.relative_to(path) if path.is_dir() else Path(file.name)
            known.update(f"{name.as_posix()}\0{measured.sha256}\n".encode(errors="surrogateescape"))
        if path.is_dir():
            notes += note_documents(path, here, left_out)
        sizes += here
    return Corpus(files, sizes, known.hexdigest(), notes)
