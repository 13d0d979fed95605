"""What flows into a model: from a fact of the data, or from a shape written in the model file."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from blocks.graph.assemble.body_builder import BodyBuilder
from blocks.graph.assemble.context import broken
from blocks.graph.errors import NodeError, Problem, did_you_mean, show
from blocks.graph.language.expression import ExpressionError, whole
from blocks.graph.language.scope import MISSING, Scope, Text, number
from blocks.graph.language.words import check_words
from blocks.graph.record.value import BATCH, DTYPES, Value, meta_tensor, must_be_shape

WHOLE = ("int", "int64", "long")
WORDS = ("shape", "dtype", "optional")
FITS = "{channels: 3, height: 224, width: 224}, or [3, 224, 224]; dtype: int for whole numbers"


def add_model_input(
    builder: BodyBuilder, name: str, text: Text, stated: Collection[str] = ()
) -> None:
    """Give the model an input; an optional one that the data does not have stays a port without a
    shape.

    Args:
        stated: names of all facts that some data state; an absent one that looks like them is a
            mistake.
    """
    raw, optional = text.raw, False
    dtype = raw.get("dtype") if isinstance(raw, Mapping) else None
    try:
        if isinstance(raw, Mapping):
            optional = _is_optional(name, raw)
            raw = _shape_of(name, raw) if "shape" in raw else raw
        if optional and _is_absent(raw, text.scope, stated):
            builder.add_input(name, Value(None, (), None, name), optional=True)
            return
        fact = _fact(replace(text, raw=raw))
        _must_be_read(name, raw, fact)
        wire = _wire(name, fact, dtype)
    except ExpressionError as error:
        builder.add_input(name, broken(name))
        raise NodeError(
            Problem(error.problem, got=f"{name}: {show(raw)}", fits=error.fits, fix=error.fix)
        ) from None
    except NodeError:
        builder.add_input(name, broken(name))
        raise
    builder.add_input(name, wire, optional)


def _is_optional(name: str, raw: Mapping[str, Any]) -> bool:
    optional = raw.get("optional", False)
    if not isinstance(optional, bool):
        problem, fits = f"whether {name} is optional is true or false", "optional: true"
        raise NodeError(Problem(problem, got=f"optional: {show(optional)}", fits=fits))
    return optional


def _shape_of(name: str, raw: Mapping[str, Any]) -> Any:
    unknown = next((key for key in raw if key not in WORDS), None)
    if unknown is not None:
        problem = f"no word {show(unknown)!r} beside the shape of {name}"
        raise NodeError(Problem(problem, got=show(raw), fits=did_you_mean(str(unknown), WORDS)))
    return raw["shape"]


def _is_absent(raw: Any, scope: Scope, stated: Collection[str]) -> bool:
    """Whether an optional input is a fact that the data do not state."""
    source, _, fact = str(raw).strip().partition(".")
    if source != "data" or not fact.isidentifier() or scope.facts.get(fact, MISSING) != MISSING:
        return False
    if misspelt := misspelt_fact(fact, (*scope.facts, *stated)):
        fix = f"correct the name, or if it is another: +data.facts.{fact}=null"
        raise NodeError(
            Problem(f"no data state {fact!r}", got=f"shape: data.{fact}", fits=misspelt, fix=fix)
        )
    return True


def misspelt_fact(name: str, stated: Collection[str]) -> str | None:
    """What a fact that no data state was probably meant to be."""
    meant = did_you_mean(name, stated)
    return meant if name not in stated and meant.startswith("did") else None


def _fact(text: Text) -> Any:
    """The shape: what an expression says, or a mapping of axes whose sizes may be expressions."""
    if not isinstance(text.raw, Mapping):
        return number(text)
    entries = {key: value for key, value in text.raw.items() if key != "optional"}
    return {
        key: value if key == "dtype" else number(replace(text, raw=value))
        for key, value in entries.items()
    }


def _must_be_read(name: str, raw: Any, fact: Any) -> None:
    """Raise where the data declare a fact without its sizes, which they know only when they are
    read.
    """
    unknown = (
        [key for key, value in fact.items() if value is None] if isinstance(fact, Mapping) else []
    )
    source, _, key = str(raw).partition(".")
    if unknown and source == "data":
        fix = "state what is null: " + " ".join(f"data.facts.{key}.{axis}=..." for axis in unknown)
        raise NodeError(
            Problem(
                f"the shape of {name} is known only when the data are read", got=show(fact), fix=fix
            )
        )


def _wire(name: str, fact: Any, dtype: Any) -> Value:
    entries = dict(fact) if isinstance(fact, Mapping) else {}
    stated = entries.pop("dtype", "float")
    kind, vocab = str(stated if dtype is None else dtype), whole(entries.pop("vocab", None))
    sizes = (
        [*entries.values()]
        if isinstance(fact, Mapping)
        else [*fact]
        if isinstance(fact, list | tuple)
        else [fact]
    )
    names = tuple(entries) if isinstance(fact, Mapping) else (None,) * len(sizes)
    sizes = [whole(size) for size in sizes]
    if kind not in DTYPES:
        raise NodeError(
            Problem(f"no dtype {kind!r}", got=f"dtype: {kind}", fits=did_you_mean(kind, DTYPES))
        )
    if problem := check_words(entries, "an axis"):
        raise NodeError(problem)
    if "batch" in entries:
        raise NodeError(
            Problem(f"the shape of {name} is stated without the batch", got=show(fact), fits=FITS)
        )
    if wrong := must_be_shape(tuple(sizes)):
        raise NodeError(
            Problem(f"the shape of {name} is not known: {wrong}", got=show(fact), fits=FITS)
        )
    if vocab is not None and (kind not in WHOLE or must_be_shape((vocab,))):
        fits = "{tokens: 128, dtype: int, vocab: 30522}"
        raise NodeError(Problem(f"the vocabulary of {name} is not one", got=show(fact), fits=fits))
    return Value(
        meta_tensor((BATCH, *sizes), DTYPES[kind]), ("batch", *names), None, f"input {name}", vocab
    )
