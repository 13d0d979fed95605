"""Read a file as text, whole or a piece at a time, or measure it. Does not import torch."""

import codecs
import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from blocks.support.files import check_memory, open_file
from tasks.data.tables.rows import UTF_8, find_encoding, wrong_encoding
from tasks.errors import ArgumentError

PEEK = 8192  # bytes that reveal a binary file
BLOCK = 1 << 20  # bytes that are decoded together


def read_document(path: Path) -> str:
    """Return the text of a file; raises ArgumentError as `stream_document`, and for more than the
    memory of this machine.
    """
    try:
        check_memory(path, path.stat().st_size)
    except OSError as error:
        raise unreadable(path, error) from error
    return "".join(stream_document(path))


def stream_document(path: Path) -> Iterator[str]:
    """Yield the text of a file with LF line ends, a piece at a time.

    Raises:
        ArgumentError: the file cannot be read, is binary, is not in UTF-8 nor in UTF-16 with a byte
            order mark, holds a NUL byte, or has blanks only.
    """
    try:
        with open_file(path) as file:
            yield from decode_document(path, file)
    except OSError as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: OSError) -> ArgumentError:
    """Return an error for a file that the system does not open."""
    text = f"{path} cannot be read: {error.strerror}"
    return ArgumentError("path", text, fix="data.path=FILE")


def decode_document(path: Path, file: BinaryIO) -> Iterator[str]:
    """Yield the text of an open file; raises ArgumentError as `stream_document`."""
    start = file.read(PEEK)
    encoding = find_encoding(start)
    if b"\0" in start and encoding == UTF_8:
        raise ArgumentError("path", f"{path} is no text but binary", fits="a file of text")
    decoder = codecs.getincrementaldecoder(encoding)()
    lines = io.IncrementalNewlineDecoder(None, translate=True)
    line = 1
    blank = True
    content = start
    while True:
        try:
            text = decoder.decode(content, final=not content)
        except UnicodeDecodeError as error:
            raise wrong_encoding(path, error, line) from error
        text = lines.decode(text, final=not content)
        before, found, _ = text.partition("\0")
        if found:
            got = f"line {line + before.count(chr(10))}"
            raise ArgumentError("path", f"{path} is not a text: a NUL byte", got=got)
        line += text.count("\n")
        blank = blank and not text.strip()
        if text:
            yield text
        if not content:
            break
        content = file.read(BLOCK)
    if blank:
        raise ArgumentError("path", f"{path} is empty", fits="a file of text")


@dataclass(frozen=True)
class Measured:
    """A document.

    Args:
        characters: how many there are, with LF line ends.
        sha256: of them in UTF-8.
    """

    characters: int
    sha256: str


def measure_document(path: Path) -> Measured | ArgumentError:
    """Return what a document holds, or why it is none."""
    known = hashlib.sha256()
    characters = 0
    try:
        for text in stream_document(path):
            known.update(text.encode())
            characters += len(text)
    except ArgumentError as error:
        return error
    return Measured(characters, known.hexdigest())
