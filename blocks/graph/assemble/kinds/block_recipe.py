"""The arguments of a block: written ones, then those that its inputs imply."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

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
from blocks.graph.language.words import check_words
from blocks.graph.record.record import MakeBody, Recipe
from blocks.graph.record.value import Value, show_shape


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


@dataclass(frozen=True, eq=False)
class Unbuilt:
    """A part that is written as a body. What flows into it is known when the block calls it: the
    module that this makes in its place then raises ReachedError.

    Args:
        spec: the body.
        names: of what flows in.
        source: where it is written.
    """

    spec: NodeSpec
    names: tuple[str, ...]
    source: str

    @property
    def __name__(self) -> str:
        return "body"

    def __call__(self) -> nn.Module:
        return _Sensor(self)


class ReachedError(Exception):
    """A block calls a part that is not built."""

    def __init__(self, part: Unbuilt, given: Sequence[Any]):
        super().__init__()
        self.part, self.given = part, given


class _Sensor(nn.Module):
    def __init__(self, part: Unbuilt):
        super().__init__()
        self.part = part

    def forward(self, *given: Any, **named: Any) -> Any:
        raise ReachedError(self.part, [*given, *named.values()])


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
    opened = _open_part(assembly, raw, text)
    if isinstance(opened, Unbuilt):
        return Recipe(opened, {}, text.path if share else None)
    name, texts = opened
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
) -> tuple[Any, dict[str, Text]] | Unbuilt:
    """The name of the block of a part, through the slots that it uses, and its arguments; or the
    body that it is.
    """
    nearer = {key: value for key, value in text.nearer.items() if key in raw}
    if "use" in raw or "body" in raw:
        names = _read_names(raw, text)
        written = {key: value for key, value in raw.items() if key != "in"}
        if problem := assembly.check_node(written, option=True):
            raise NodeError(replace(problem, source=str(text.origin)))
        spec = NodeSpec(written, text.path, text.scope, nearer)
        resolved = resolve(assembly, spec, text.scope)
        if "block" not in resolved.spec.raw:
            return Unbuilt(spec, names, str(text.origin))
        if "in" in raw:
            raise NodeError(_explain_part(f"in: {show(raw['in'])}, beside a block", text))
        return resolved.spec.raw["block"], resolved.texts
    name = raw.get("block")
    if "in" in raw and name is not None:
        raise NodeError(_explain_part(f"in: {show(raw['in'])}, beside a block", text))
    if not isinstance(name, str):
        raise NodeError(_explain_part(show(text.raw), text))
    texts = {}
    for word, value in raw.items():
        if word != "block":
            texts[word] = alter(text, raw=value, nearer={})
    return name, {**texts, **nearer}


def _read_names(raw: Mapping[str, Any], text: Text) -> tuple[str, ...]:
    """The names of what the block around a body gives it."""
    flow = raw.get("in", "x")
    names = [flow] if isinstance(flow, str) else flow
    if not isinstance(names, list) or not names or len(set(map(str, names))) < len(names):
        problem = "`in` of a part names what the block gives it, in order"
        raise NodeError(
            Problem(
                problem,
                got=f"in: {show(flow)}",
                source=str(text.origin),
                fits="in: x, in: [q, k]",
                code="wrong-inputs",
            )
        )
    if misnamed := check_words(names, "an input"):
        raise NodeError(replace(misnamed, source=str(text.origin)))
    return tuple(names)


# Bodies -------------------------------------------------------------------------------------------


def check_given(part: Unbuilt, name: str, given: Sequence[Any]) -> None:
    """Check that a block gives a part tensors, and as many as have names.

    Args:
        name: of the part, "SelfAttention.rotary".
    """
    if not all(isinstance(value, Tensor) for value in given):
        kinds = ", ".join(type(value).__name__ for value in given)
        raise NodeError(
            Problem(
                f"{name}: a body takes tensors, and the block gives this part something else",
                got=kinds,
                source=part.source,
                fits="{block: Name}",
                code="bad-node",
            )
        )
    if len(given) != len(part.names):
        shapes = ", ".join(show_shape(tuple(value.shape)) for value in given)
        names = ", ".join(f"NAME{index}" for index in range(1, len(given) + 1))
        raise NodeError(
            Problem(
                f"{name}: `in` names {len(part.names)} values, and the block gives {len(given)}",
                got=f"in: {show(list(part.names))}, for {shapes}",
                source=part.source,
                fits=f"in: [{names}]",
                code="wrong-inputs",
            )
        )


def find_unbuilt(recipe: Recipe, path: str = "") -> dict[Unbuilt, str]:
    """Parts that are written as a body and not built, and their names, "rotary.scaling"."""
    found: dict[Unbuilt, str] = {}
    for name, value in recipe.parts.items():
        below = f"{path}.{name}".lstrip(".")
        if isinstance(value.factory, Unbuilt):
            found[value.factory] = below
        found |= find_unbuilt(value, below)
    return found


def put_part(recipe: Recipe, part: Unbuilt, made: MakeBody) -> Recipe:
    """The recipe of a block with a part that was built."""
    if recipe.factory is part:
        return replace(recipe, factory=made)
    arguments = dict(recipe.arguments)
    for name, value in recipe.parts.items():
        arguments[name] = put_part(value, part, made)
    return replace(recipe, arguments=arguments)


# Shared parts -------------------------------------------------------------------------------------


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
        fits="{block: Name}, {use: SLOT} or {body: {...}}, share: true beside; {share: NODE.PART}",
        code="bad-node",
    )
