"""What flows into a model: from a fact of the data, or from a shape written in the model file."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from blocks.graph.atom import Trouble
from blocks.graph.errors import Problem, did_you_mean, show
from blocks.graph.expression import ExpressionError
from blocks.graph.room import BATCH, Room, Wire, meta_tensor
from blocks.graph.scope import Text, number
from blocks.graph.site import broken

DTYPES = {
    "float": torch.float32,
    "float32": torch.float32,
    "int": torch.int64,
    "int64": torch.int64,
    "long": torch.int64,
    "bool": torch.bool,
}
FITS = "{channels: 3, height: 224, width: 224}, or [3, 224, 224]; dtype: int for whole numbers"


def add_model_input(room: Room, name: str, text: Text) -> None:
    """Give the model an input; an optional one that the data does not have stays a port without a shape."""
    raw, optional = text.raw, False
    dtype = raw.get("dtype") if isinstance(raw, Mapping) else None
    if isinstance(raw, Mapping):
        optional = raw.get("optional", False) is True
        raw = raw["shape"] if set(raw) <= {"shape", "optional", "dtype"} and "shape" in raw else raw
    try:
        fact = _fact(replace(text, raw=raw))
        _must_be_read(name, raw, fact)
        wire = _wire(name, fact, dtype)
    except ExpressionError as error:
        if optional:
            room.add_input(name, Wire(None, (), None, name), optional=True)
            return
        room.add_input(name, broken(name))
        raise Trouble(Problem(error.problem, got=f"{name}: {show(raw)}", fits=error.fits, fix=error.fix)) from None
    except Trouble:
        room.add_input(name, broken(name))
        raise
    room.add_input(name, wire, optional)


def _fact(text: Text) -> Any:
    """The shape: what an expression says, or a mapping of axes whose sizes may be expressions."""
    if not isinstance(text.raw, Mapping):
        return number(text)
    entries = {key: value for key, value in text.raw.items() if key != "optional"}
    return {key: value if key == "dtype" else number(replace(text, raw=value)) for key, value in entries.items()}


def _must_be_read(name: str, raw: Any, fact: Any) -> None:
    """Raise where the data declare a fact without its sizes, which they know only when they are read."""
    unknown = [key for key, value in fact.items() if value is None] if isinstance(fact, Mapping) else []
    source, _, key = str(raw).partition(".")
    if unknown and source == "data":
        fix = "state what is null: " + " ".join(f"data.facts.{key}.{axis}=..." for axis in unknown)
        raise Trouble(Problem(f"the shape of {name} is known only when the data are read", got=show(fact), fix=fix))


def _wire(name: str, fact: Any, dtype: Any) -> Wire:
    entries = dict(fact) if isinstance(fact, Mapping) else {}
    stated = entries.pop("dtype", "float")
    kind, vocab = str(dtype or stated), entries.pop("vocab", None)
    sizes = [*entries.values()] if isinstance(fact, Mapping) else [*fact] if isinstance(fact, list | tuple) else [fact]
    names = tuple(entries) if isinstance(fact, Mapping) else (None,) * len(sizes)
    if kind not in DTYPES:
        raise Trouble(Problem(f"no dtype {kind!r}", got=f"dtype: {kind}", fits=did_you_mean(kind, DTYPES)))
    if not all(isinstance(size, int) and not isinstance(size, bool) and size > 0 for size in sizes):
        raise Trouble(Problem(f"the shape of {name} is not known", got=show(fact), fits=FITS))
    return Wire(meta_tensor((BATCH, *sizes), DTYPES[kind]), ("batch", *names), None, f"input {name}", vocab)
