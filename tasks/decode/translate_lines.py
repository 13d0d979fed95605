"""Translation of a stream of lines, in batches of those that have arrived, in the same order."""

import codecs
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import TextIOWrapper
from typing import Any

import torch

from tasks.data.text.tokenizer import PAD, UNKNOWN

BATCH = 64  # lines that are translated together
CHUNK = 1 << 16  # bytes read at once
SHOWN = 60  # characters of a line in a note


def read_ready_lines(stream: Any) -> Iterator[list[str]]:
    """Yield the lines that have arrived, without blanks at their end, before waiting for more.

    A person, or a program that waits for an answer, gets it at once, and a file is read in large
    chunks.
    """
    if not isinstance(stream, TextIOWrapper):  # not over bytes: line by line
        for line in stream:
            yield [line.rstrip()]
        return
    decoder = codecs.getincrementaldecoder(stream.encoding)(stream.errors or "strict")
    rest = ""
    while chunk := stream.buffer.read1(CHUNK):
        *lines, rest = (rest + decoder.decode(chunk)).split("\n")
        if lines:
            yield [line.rstrip() for line in lines]
    rest += decoder.decode(b"", True)
    if rest:
        yield [rest.rstrip()]


@dataclass(frozen=True)
class SourceLine:
    """A line to translate.

    Args:
        text: of the line.
        ids: its tokens; none where it cannot be translated.
        note: what is wrong with it, None if nothing.
    """

    text: str
    ids: tuple[int, ...]
    note: str | None

    @classmethod
    def encode(cls, text: str, tokenizer: Any, longest: int) -> "SourceLine":
        """Tokenize a line; it has no tokens if it is empty or longer than `longest` tokens."""
        ids = tuple(tokenizer.encode(text))
        shown = repr(text[:SHOWN])
        if not ids:
            return cls(text, (), f"{shown}: nothing to translate")
        if len(ids) > longest:
            note = f"{shown}: {len(ids)} tokens, the longest in training had {longest}"
            return cls(text, (), note)
        if UNKNOWN not in ids:
            return cls(text, ids, None)
        unknown = "some of it"
        if len(ids) == len(text):  # one token a character
            pairs = zip(text, ids, strict=True)
            unknown = " ".join(sorted({sign for sign, number in pairs if number == UNKNOWN}))
        return cls(text, ids, f"{shown}: training never saw {unknown}")


def translate_lines(task: Any, tokenizer: Any, lines: Sequence[SourceLine]) -> Iterator[str]:
    """Yield the translation of each line, in their order; "" for those without tokens.

    Args:
        task: `tasks.learn.translate.Translate`.
        tokenizer: of the run.
        lines: any number.
    """
    together = BATCH if "source_mask" in task.input_names else 1  # padding needs a mask
    for start in range(0, len(lines), BATCH):
        batch = lines[start : start + BATCH]
        known = [line.ids for line in batch if line.ids]
        texts: list[str] = []
        for first in range(0, len(known), together):
            texts += translate_batch(task, tokenizer, known[first : first + together])
        remaining = iter(texts)
        for line in batch:
            yield next(remaining) if line.ids else ""


@torch.no_grad()
def translate_batch(task: Any, tokenizer: Any, rows: Sequence[Sequence[int]]) -> list[str]:
    """Return the translations of sources of different lengths, which are padded and masked."""
    longest = max(map(len, rows))
    source = torch.tensor([[*row, *[PAD] * (longest - len(row))] for row in rows])
    target = task.translate({"source": source, "source_mask": source != PAD})
    return [tokenizer.decode(row) for row in target.tolist()]
