"""Divide documents into training, validation and test without reading them."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

from tasks.data.sampler import generator
from tasks.data.split import PARTS

SEPARATOR = "\n"  # between two documents


@dataclass(frozen=True)
class Share:
    """The text of a part: documents, joined by line feeds, and what of it belongs to the part.

    Args:
        documents: their numbers, in the order of the text.
        start: the first character.
        stop: the character behind the last.
    """

    documents: list[int]
    start: int
    stop: int

    def read(
        self, sizes: Sequence[int], open_document: Callable[[int], Iterable[str]]
    ) -> Iterator[str]:
        """Yield the text, in the pieces that the documents are read in.

        Args:
            sizes: the characters of every document.
            open_document: returns consecutive texts of a document; those outside of the part are
                not opened.
        """
        place = 0
        for position, number in enumerate(self.documents):
            if position:
                yield self._within(SEPARATOR, place)
                place += len(SEPARATOR)
            if place >= self.stop:
                return
            if place + sizes[number] > self.start:
                at = place
                for text in open_document(number):
                    yield self._within(text, at)
                    at += len(text)
                    if at >= self.stop:
                        break
            place += sizes[number]

    def _within(self, text: str, place: int) -> str:
        """Return what of a text that begins at `place` belongs to the part."""
        return text[max(0, self.start - place) : max(0, self.stop - place)]


def divide(
    sizes: Sequence[int], shares: Mapping[str, float], seed: int
) -> tuple[dict[str, Share], bool]:
    """Divide documents into parts.

    Each document goes to the part that lacks most of its share. If they are few or very uneven,
    their text is cut by the shares instead.

    Args:
        sizes: the characters of each document.
        shares: of each part, which add up to 1.
        seed: of the order in which documents are given to parts.

    Returns:
        The share of each part, and whether the documents stayed whole.
    """
    total = sum(sizes)
    chosen: dict[str, list[int]] = {part: [] for part in PARTS}
    taken = dict.fromkeys(PARTS, 0)

    def missing_share(part: str) -> float:
        return shares[part] - taken[part] / total

    for number in torch.randperm(len(sizes), generator=generator(seed)).tolist():
        part = max(PARTS, key=missing_share)
        chosen[part].append(number)
        taken[part] += sizes[number]
    if all(taken[part] >= shares[part] * total / 3 for part in PARTS):
        found = {}
        for part, numbers in chosen.items():
            length = taken[part] + len(SEPARATOR) * (len(numbers) - 1)
            found[part] = Share(numbers, 0, length)
        return found, True
    length = total + len(SEPARATOR) * (len(sizes) - 1)
    first = round(length * shares["train"])
    second = round(length * (1 - shares["test"]))
    every = list(range(len(sizes)))
    bounds = {"train": (0, first), "val": (first, second), "test": (second, length)}
    return {part: Share(every, *bound) for part, bound in bounds.items()}, False
