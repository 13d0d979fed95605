"""The arguments of a block: written ones, then those that its inputs imply."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from blocks.graph.assemble.assembly import Assembly
from blocks.graph.assemble.body_builder import NodeSpec
from blocks.graph.assemble.kinds.block_errors import (
    contradicting_argument,
    missing_argument,
    unknown_argument,
)
from blocks.graph.assemble.kinds.template import resolve
from blocks.graph.errors import NodeError, Problem, did_you_mean, show
from blocks.graph.language.copies import alter
from blocks.graph.language.expression import ExpressionError
from blocks.graph.language.scope import Text
from blocks.graph.language.signature import Signature, is_module
from blocks.graph.language.values import read_argument
from blocks.graph.record.record import Recipe
from blocks.graph.record.value import Value


@dataclass(frozen=True)
class Surroundings:
    """What arguments may be computed from.

    Args:
        known: argument -> value that the inputs imply.
        axes: axis of what flows in -> size, for expressions.
        texts: what was written, by argument.
        values: what flows in, for messages.
    """

    known: Mapping[str, Any]
    axes: Mapping[str, int]
    texts: Mapping[str, Text]
    values: Sequence[Value] = ()


def read_arguments(
    assembly: Assembly, signature: Signature, around: Surroundings
) -> tuple[dict[str, Any], Recipe]:
    """The arguments by their words in YAML, and the recipe of the block.

    Raises:
        NodeError: every argument that is unknown, wrong, contradicting or missing.
    """
    values, problems = _read_written(signature, around)
    problems += _infer_arguments(signature, values, around)
    inner = alter(around, known={**around.known, **values})
    problems += _read_parts(assembly, signature, values, inner)
    for word, parameter in signature.parameters.items():
        if parameter.required and word not in values and word not in around.texts:
            problems.append(missing_argument(signature, parameter, around.values))
    if problems:
        raise NodeError(*problems)
    renamed = {signature.parameters[word].name: value for word, value in values.items()}
    return values, Recipe(signature.factory, renamed)


def _read_written(
    signature: Signature, around: Surroundings
) -> tuple[dict[str, Any], list[Problem]]:
    """The values of what is written but for parts; unknown names first, then wrong values."""
    values: dict[str, Any] = {}
    unknown, wrong = [], list[Problem]()
    for word, text in around.texts.items():
        if word not in signature.parameters:
            unknown.append(unknown_argument(signature, word, text))
        elif not _is_part(signature, word, text):
            try:
                values[word] = _read_argument(signature, word, text, around)
            except NodeError as error:
                wrong += error.problems
    return values, unknown + wrong


def _is_part(signature: Signature, word: str, text: Text) -> bool:
    """Whether an argument is a block inside the block."""
    parameter = signature.parameters.get(word)
    if parameter is None or not isinstance(text.raw, Mapping):
        return False
    return is_module(parameter.annotation)


def _read_parts(
    assembly: Assembly, signature: Signature, values: dict[str, Any], around: Surroundings
) -> list[Problem]:
    """Add the blocks inside the block; the problems with them."""
    problems = []
    for word, text in around.texts.items():
        if not _is_part(signature, word, text):
            continue
        try:
            values[word] = _read_part(assembly, text, around)
        except NodeError as error:
            for problem in error.problems:
                named = f"{signature.name}.{word}: {problem.problem}"
                problems.append(replace(problem, problem=named))
    return problems


def _read_argument(signature: Signature, word: str, text: Text, around: Surroundings) -> Any:
    here = text.at(around.axes, around.texts, word)
    here.scope.trace.clear()
    try:
        return read_argument(signature.parameters[word].annotation, here, word)
    except ExpressionError as error:
        problem = Problem(
            f"{signature.name}: {error.problem}",
            got=f"{word}: {show(text.raw)}",
            source=here.sources(),
            fits=error.fits,
            fix=error.fix,
            code=error.code,
        )
        raise NodeError(problem) from error


def _infer_arguments(
    signature: Signature, values: dict[str, Any], around: Surroundings
) -> list[Problem]:
    """Add what the inputs imply; the written widths that contradict it."""
    problems = []
    for word, axis in signature.infer.items():
        if axis not in around.known:
            continue
        inferred, value = around.known[axis], values.get(word)
        if value is not None and value != inferred and word != "vocab":
            text = around.texts[word]
            problems.append(
                contradicting_argument(signature, word, value, inferred, text, around.values)
            )
        values.setdefault(word, inferred)
    return problems


def _read_part(assembly: Assembly, text: Text, around: Surroundings) -> Recipe:
    """A block inside a block (`rotary: {block: Rotary}`), which shares the arguments around it."""
    raw = dict(text.raw)
    share = raw.pop("share", None)
    if isinstance(share, str):
        return _find_part(assembly, share, raw, text)
    if share not in (None, True):
        raise NodeError(_explain_part(f"share: {show(share)}", text))
    name, texts = _open_part(assembly, raw, text)
    texts = {word: value.at(around.axes, around.texts, "") for word, value in texts.items()}
    signature = assembly.find_signature(name, text.origin)
    known = dict(around.known)
    dim, heads = known.get("dim"), known.get("heads")
    if isinstance(dim, int) and isinstance(heads, int) and heads > 0:
        known.setdefault("head_dim", dim // heads)
    infer = {word: word for word in signature.parameters if word in known}
    inner = Surroundings(known, around.axes, texts)
    recipe = read_arguments(assembly, replace(signature, infer=infer), inner)[1]
    return replace(recipe, shared=text.path) if share else recipe


def _open_part(
    assembly: Assembly, raw: Mapping[str, Any], text: Text
) -> tuple[Any, dict[str, Text]]:
    """The name of the block of a part, through the slots that it uses, and its arguments."""
    nearer = {key: value for key, value in text.nearer.items() if key in raw}
    if "use" in raw:
        spec = NodeSpec(raw, text.path, text.scope, nearer)
        resolved = resolve(assembly, spec, text.scope)
        if "block" not in resolved.spec.raw:
            raise NodeError(_explain_part(f"use: {show(raw['use'])}, a body", text))
        return resolved.spec.raw["block"], resolved.texts
    name = raw.get("block")
    if not isinstance(name, str):
        raise NodeError(_explain_part(show(text.raw), text))
    texts = {}
    for word, value in raw.items():
        if word != "block":
            texts[word] = alter(text, raw=value, nearer={})
    return name, {**texts, **nearer}


def _find_part(assembly: Assembly, path: str, others: Mapping[str, Any], text: Text) -> Recipe:
    """The part of another node, whose parameters this one shares: `share: NODE.PART`."""
    owner, _, name = path.rpartition(".")
    if others:
        raise NodeError(_explain_part(show(text.raw), text))
    module, _ = assembly.modules.get(owner, (None, None))
    recipe = assembly.recipes.get(id(module))
    part = None if recipe is None else recipe.arguments.get(name)
    if module is None or not isinstance(part, Recipe):
        parts = _list_parts(assembly)
        raise NodeError(
            Problem(
                f"no part {path!r} to share, before this one",
                got=f"share: {path}",
                source=str(text.origin),
                fits=did_you_mean(path, parts),
                code="unknown-name",
            )
        )
    assembly.shared.setdefault(path, (path, part))
    return replace(part, shared=path)


def _list_parts(assembly: Assembly) -> list[str]:
    found = []
    for path, (module, _) in assembly.modules.items():
        recipe = assembly.recipes.get(id(module))
        for name, value in {} if recipe is None else recipe.arguments.items():
            if isinstance(value, Recipe):
                found.append(f"{path}.{name}")
    return found


def _explain_part(got: str, text: Text) -> Problem:
    return Problem(
        "a part is a block inside a block",
        got=got,
        source=str(text.origin),
        fits="{block: Name}, {use: SLOT}, each with share: true or without, {share: NODE.PART}",
        code="bad-node",
    )
