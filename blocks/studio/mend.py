"""Edits after which a mistake is gone: each was built before it is offered."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any

from blocks.graph.record.record import Node
from blocks.studio.mistaken import PREFIX
from blocks.studio.node import find_argument
from blocks.studio.text.arguments import set_value
from blocks.studio.text.edits import EditError, read_slots, set_slot
from blocks.studio.text.fixes import Entry, propose
from blocks.studio.text.numbers import Proposal, propose_numbers

TRIED = 8  # edits for one mistake that are built
CHOICES = 2  # numbers that are offered in the place of one


@dataclass(frozen=True)
class Mender:
    """Finds what mends the mistakes of a text.

    Args:
        text: of a model file.
        check: returns the mistakes of another text.
        model: the composed section of the last model without a mistake.
        slots: the options of that model.
        nodes: of that model, by their paths.
    """

    text: str
    check: Callable[[str], Sequence[Entry]]
    model: Mapping[str, Any]
    slots: Mapping[str, str]
    nodes: Mapping[str, Node]

    def mend(self, errors: Sequence[Entry], entry: Entry) -> list[tuple[str, str]]:
        """Return what mends a mistake: the first edit that does, or some numbers that fit.

        Where no edit leaves fewer mistakes, it is one after which another shows that this one hid.

        Args:
            errors: all mistakes of the text.
            entry: one of them, with its place in the text.

        Returns:
            What each edit does, and the text after it.
        """
        mending, revealing = list[Proposal](), list[Proposal]()
        for proposal in islice(self._propose(entry), TRIED):
            if _is_enough(mending, proposal):
                continue
            left = self.check(proposal.text)
            if len(left) < len(errors):
                mending.append(proposal)
                continue
            was_hidden = len(left) == len(errors) and not _has(left, entry, proposal.name)
            if was_hidden and not _is_enough(revealing, proposal):
                revealing.append(proposal)
        return [(each.label, each.text) for each in mending or revealing]

    def _propose(self, entry: Entry) -> Iterator[Proposal]:
        """Yield edits that may mend a mistake."""
        for label, after in propose(self.text, entry):
            yield Proposal("", label, after)
        path = str(entry["path"] or "").removeprefix(PREFIX)
        node = self.nodes.get(path)
        before = {} if node is None else node.values

        def set_argument(name: str, value: str) -> str:
            if not name.isidentifier():
                raise EditError("no argument is named")
            return set_value(self.text, find_argument(self.model, path, name), value)

        with suppress(EditError):
            yield from propose_numbers(self.text, entry, before, set_argument)
            yield from self._choose_again()

    def _choose_again(self) -> Iterator[Proposal]:
        """Yield the option that a slot had in the last model without a mistake."""
        for slot, option in read_slots(self.text).items():
            before = self.slots.get(slot, option)
            if before != option:
                yield Proposal("", f"{slot}: {before}", set_slot(self.text, slot, before))


def _is_enough(found: Sequence[Proposal], proposal: Proposal) -> bool:
    """Return whether no more is offered beside what was found: one edit, or some numbers."""
    if not proposal.name:
        return bool(found)
    names = [each.name for each in found]
    return "" in names or names.count(proposal.name) == CHOICES


def _has(errors: Sequence[Entry], entry: Entry, number: str) -> bool:
    """Return whether a mistake is among others, perhaps in another line.

    Args:
        number: that was changed; the node must not refuse another one instead.
    """
    for each in errors:
        if each["path"] == entry["path"] and (number or each["problem"] == entry["problem"]):
            return True
    return False
