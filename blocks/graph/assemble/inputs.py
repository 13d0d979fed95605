"""What flows into a model: from a fact of the data, or from a shape written in the model file."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from blocks.graph.assemble.body_builder import BodyBuilder
from blocks.graph.assemble.context import broken
from blocks.graph.errors import NodeError, Problem, did_you_mean, show
from blocks.graph.language.expression import ExpressionError, to_whole
from blocks.graph.language.scope import MISSING, Scope, Text, read_number
from blocks.graph.language.words import check_words
from blocks.graph.record.value import BATCH, DTYPES, Value, meta_tensor, must_be_shape

WHOLE = ("int", "int64", "long")
WORDS = ("shape", "dtype", "optional")
FITS = "{channels: 3, height: 224, width: 224}, or [3, 224, 224]; dtype: int for whole numbers"


def add_model_input(
    builder: BodyBuilder, name: str, text: Text, stated: Collection[str] = ()
) -> None:
    """Add an input of the model. An optional one that the data do not have gets no shape.

    Args:
        stated: names of facts that any data state; an absent one that looks like them is a mistake.

    Raises:
        NodeError: its shape or its dtype is not known.
    """
    optional = False
    try:
        optional = _is_optional(name, text.raw)
        value = _read_input(name, text, optional, stated)
    except ExpressionError as error:
        builder.add_input(name, broken(name))
        problem = Problem(
            error.problem,
            got=f"{name}: {show(text.raw)}",
            fits=error.fits,
            fix=error.fix,
            code=error.code,
        )
        raise NodeError(problem) from None
    except NodeError:
        builder.add_input(name, broken(name))
        raise
    builder.add_input(name, value, optional)


def _read_input(name: str, text: Text, optional: bool, stated: Collection[str]) -> Value:
    raw, dtype = text.raw, None
    if isinstance(raw, Mapping):
        dtype = raw.get("dtype")
        if "shape" in raw:
            raw = _shape_of(name, raw)
    if optional and _is_absent(raw, text.scope, stated):
        return Value(None, (), None, name)
    fact = _fact(replace(text, raw=raw))
    _must_be_read(name, raw, fact)
    return value_of_fact(name, fact, dtype)


def _is_optional(name: str, raw: Any) -> bool:
    if not isinstance(raw, Mapping):
        return False
    optional = raw.get("optional", False)
    if not isinstance(optional, bool):
        problem, fits = f"whether {name} is optional is true or false", "optional: true"
        raise NodeError(
            Problem(problem, got=f"optional: {show(optional)}", fits=fits, code="bad-value")
        )
    return optional


def _shape_of(name: str, raw: Mapping[str, Any]) -> Any:
    unknown = next((key for key in raw if key not in WORDS), None)
    if unknown is not None:
        problem = f"no word {show(unknown)!r} beside the shape of {name}"
        raise NodeError(
            Problem(
                problem, got=show(raw), fits=did_you_mean(str(unknown), WORDS), code="unknown-key"
            )
        )
    return raw["shape"]


def _is_absent(raw: Any, scope: Scope, stated: Collection[str]) -> bool:
    """Whether an optional input is a fact that the data do not state."""
    source, _, fact = str(raw).strip().partition(".")
    if source != "data" or not fact.isidentifier() or scope.facts.get(fact, MISSING) != MISSING:
        return False
    if misspelt := misspelt_fact(fact, (*scope.facts, *stated)):
        fix = f"correct the name, or if it is another: +data.facts.{fact}=null"
        raise NodeError(
            Problem(
                f"no data state {fact!r}",
                got=f"shape: data.{fact}",
                fits=misspelt,
                fix=fix,
                code="unknown-fact",
            )
        )
    return True


def misspelt_fact(name: str, stated: Collection[str]) -> str | None:
    """What a fact that no data state was probably meant to be.

    A fact whose name only ends with it (`text_mask` for `mask`) is another fact.
    """
    if name in stated:
        return None
    meant = did_you_mean(name, [known for known in stated if not known.endswith(f"_{name}")])
    return meant if meant.startswith("did") else None


def _fact(text: Text) -> Any:
    """The shape: the value of an expression, or a mapping of axes with sizes by expressions."""
    if not isinstance(text.raw, Mapping):
        return read_number(text)
    fact = {}
    for key, value in text.raw.items():
        if key == "dtype":
            fact[key] = value
        elif key != "optional":
            fact[key] = read_number(replace(text, raw=value))
    return fact


def _must_be_read(name: str, raw: Any, fact: Any) -> None:
    """Raise where the data declare a fact without its sizes, known only when they are read."""
    source, _, key = str(raw).partition(".")
    if source != "data" or not isinstance(fact, Mapping):
        return
    unknown = [axis for axis, size in fact.items() if size is None]
    if unknown:
        overrides = " ".join(f"data.facts.{key}.{axis}=..." for axis in unknown)
        raise NodeError(
            Problem(
                f"the shape of {name} is known only when the data are read",
                got=show(fact),
                fix=f"state what is null: {overrides}",
                code="missing-fact",
            )
        )


def value_of_fact(name: str, fact: Any, dtype: Any = None) -> Value:
    """The value of an input, or of another entry of a batch.

    Args:
        fact: its shape without the batch: a mapping of axes, a list of sizes, or one size.
        dtype: what the model states; that of the fact where it states none.
    """
    sizes, names = _sizes_of(fact)
    stated, vocab = "float", None
    if isinstance(fact, Mapping):
        stated, vocab = fact.get("dtype", stated), to_whole(fact.get("vocab"))
    if dtype is not None:
        stated = dtype
    kind = str(stated)
    if kind not in DTYPES:
        fits = did_you_mean(kind, DTYPES)
        raise NodeError(
            Problem(f"no dtype {kind!r}", got=f"dtype: {kind}", fits=fits, code="bad-value")
        )
    axes = [axis for axis in names if axis is not None]
    if problem := check_words(axes, "an axis"):
        raise NodeError(problem)
    got = show(fact)
    if "batch" in axes:
        text = f"the shape of {name} is stated without the batch"
        raise NodeError(Problem(text, got=got, fits=FITS, code="bad-value"))
    if wrong := must_be_shape(sizes):
        raise NodeError(
            Problem(
                f"the shape of {name} is not known: {wrong}", got=got, fits=FITS, code="bad-value"
            )
        )
    if vocab is not None and (kind not in WHOLE or must_be_shape((vocab,))):
        fits = "{tokens: 128, dtype: int, vocab: 30522}"
        raise NodeError(
            Problem(f"the vocabulary of {name} is not one", got=got, fits=fits, code="bad-value")
        )
    tensor = meta_tensor((BATCH, *sizes), DTYPES[kind])
    return Value(tensor, ("batch", *names), None, f"input {name}", vocab)


def _sizes_of(fact: Any) -> tuple[tuple[Any, ...], tuple[str | None, ...]]:
    """Sizes and names of the axes."""
    if isinstance(fact, Mapping):
        axes = {axis: size for axis, size in fact.items() if axis not in ("dtype", "vocab")}
        return tuple(map(to_whole, axes.values())), tuple(axes)
    if isinstance(fact, list | tuple):
        return tuple(map(to_whole, fact)), (None,) * len(fact)
    return (to_whole(fact),), (None,)
