"""Texts that come as lines, many at once where they are there already, and their translations in
the same order.
"""

import codecs
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import TextIOWrapper
from typing import Any

import torch

from tasks.data.text.tokenizer import PAD, UNKNOWN

BATCH = 64  # so many texts are translated at once
PIECE = 1 << 16  # bytes read at once


def ready(stream: Any) -> Iterator[list[str]]:
    """Lines without what is blank at their end, as many at a time as have come; the next are waited
    for only then.

    So a person, or a program that waits for an answer, gets it at once, and a file is read in large
    pieces.
    """
    if not isinstance(stream, TextIOWrapper):  # no bytes beneath: line by line
        yield from ([line.rstrip()] for line in stream)
        return
    decoder = codecs.getincrementaldecoder(stream.encoding)(stream.errors or "strict")
    rest = ""
    while piece := stream.buffer.read1(PIECE):
        *whole, rest = (rest + decoder.decode(piece)).split("\n")
        if whole:
            yield [line.rstrip() for line in whole]
    rest += decoder.decode(b"", True)
    if rest:
        yield [rest.rstrip()]


@dataclass(frozen=True)
class Question:
    """A text, its tokens where it can be translated, and what is bad about it."""

    text: str
    ids: tuple[int, ...]
    bad: str | None

    @classmethod
    def of(cls, text: str, tokenizer: Any, longest: int) -> "Question":
        """A text as the network reads it, if it is not empty nor longer than `longest` tokens."""
        ids = tuple(tokenizer.encode(text))
        if not ids or len(ids) > longest:
            why = (
                f"{len(ids)} tokens, the longest in training had {longest}"
                if ids
                else "nothing to translate"
            )
            return cls(text, (), f"{text[:60]!r}: {why}")
        if UNKNOWN not in ids:
            return cls(text, ids, None)
        what = "some of it"
        if len(ids) == len(text):  # one token a character
            what = " ".join(
                sorted({sign for sign, number in zip(text, ids, strict=True) if number == UNKNOWN})
            )
        return cls(text, ids, f"{text[:60]!r}: training never saw {what}")


def answers(task: Any, tokenizer: Any, questions: Sequence[Question]) -> Iterator[str]:
    """The translation of each question, in their order; an empty text for those without tokens.

    Args:
        task: `tasks.learn.translate.Translate`.
    """
    together = BATCH if "source_mask" in task.input_names else 1  # padding needs a mask
    for begin in range(0, len(questions), BATCH):
        asked = questions[begin : begin + BATCH]
        known = [question.ids for question in asked if question.ids]
        said = [
            text
            for place in range(0, len(known), together)
            for text in translations(task, tokenizer, known[place : place + together])
        ]
        told = iter(said)
        yield from (next(told) if question.ids else "" for question in asked)


@torch.no_grad()
def translations(task: Any, tokenizer: Any, rows: Sequence[Sequence[int]]) -> list[str]:
    """What the network says to sources of different lengths, padded behind and masked."""
    longest = max(map(len, rows))
    source = torch.tensor([[*row, *[PAD] * (longest - len(row))] for row in rows])
    return [
        tokenizer.decode(row)
        for row in task.translate({"source": source, "source_mask": source != PAD}).tolist()
    ]
