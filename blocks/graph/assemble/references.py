"""References between the nodes of a body: `node`, `node.port`, and what `in` says."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from blocks.graph.assemble.assembly import Assembly
from blocks.graph.assemble.body_builder import BodyBuilder, Input, NodeSpec, Path
from blocks.graph.assemble.context import INDEXED
from blocks.graph.errors import NodeError, Problem, did_you_mean, show
from blocks.graph.language.expression import ExpressionError, evaluate, to_whole
from blocks.graph.language.scope import Text
from blocks.graph.language.words import check_words
from blocks.graph.record.value import Value


def read_inputs(
    assembly: Assembly, builder: BodyBuilder, spec: NodeSpec
) -> tuple[list[Input], Value | None]:
    """What `in` says, and the output of the sibling before for a first port that is left out."""
    path, previous = (*spec.path, "in"), builder.previous
    if "in" not in spec.raw:
        if previous is None:
            return [], None
        return [Input(None, "x", previous)], previous
    flow = spec.raw["in"]
    if isinstance(flow, str):
        inputs = _read_reference(assembly, builder, spec, flow, path)
        if len(inputs) == 1:
            inputs = [replace(inputs[0], name="x")]
        return inputs, previous
    if isinstance(flow, list):
        inputs = []
        for index, reference in enumerate(flow):
            inputs += _read_reference(assembly, builder, spec, reference, (*path, index))
        return inputs, None
    if isinstance(flow, Mapping):
        return _read_ports(assembly, builder, spec, flow), previous
    fits = "in: node, in: [a, b], in: {port: node}, or in: []"
    raise NodeError(
        Problem("`in` names what flows in", got=f"in: {show(flow)}", fits=fits, code="bad-node")
    )


def _read_ports(
    assembly: Assembly, builder: BodyBuilder, spec: NodeSpec, flow: Mapping[Any, Any]
) -> list[Input]:
    if problem := check_words(flow, "an input"):
        raise NodeError(problem)
    inputs = []
    for port, reference in flow.items():
        path = (*spec.path, "in", port)
        found = _read_reference(assembly, builder, spec, reference, path)
        if len(found) != 1:
            raise NodeError(_explain_several(assembly, port, reference, path))
        inputs.append(replace(found[0], port=str(port), name=str(port)))
    return inputs


def _read_reference(
    assembly: Assembly, builder: BodyBuilder, spec: NodeSpec, reference: Any, path: Path
) -> list[Input]:
    """What `node`, `node.port`, `node.*` or `node[index]` means."""
    text = str(reference)
    indexed = INDEXED.fullmatch(text)
    if indexed is None and not text.endswith(".*"):
        value = read_value(assembly, builder, reference, path)
        return [Input(None, text.rpartition(".")[2], value)]
    name = text.removesuffix(".*") if indexed is None else indexed[1]
    value = read_value(assembly, builder, name, path)
    if value.broken:  # reported already
        return [Input(None, name, value)]
    each = tuple(value for port, value in builder.results[name].items() if port.isdigit())
    if not each:
        raise NodeError(_explain_no_repeat(assembly, name, reference, path))
    if indexed is None:
        return [Input(None, f"{name}_{index}", value) for index, value in enumerate(each)]
    counter = spec.raw.get("as", "layer")
    if "repeat" in spec.raw and re.search(rf"\b({counter}|depth)\.", indexed[2]):
        return [Input(None, name, each[0], each, indexed[2])]
    text_of = Text(indexed[2], assembly.origin(path), spec.scope)
    return [Input(None, name, each[choose_repeat(len(each), text_of)])]


def choose_repeat(count: int, text: Text) -> int:
    """The repeat that an expression states, of `count`; from the end where it is negative.

    Raises:
        NodeError: the expression has no value, or there is no such repeat.
    """
    got = f"in: node[{text.raw}]"
    try:
        index = to_whole(evaluate(text.raw, text.scope))
    except ExpressionError as error:
        raise NodeError(
            Problem(
                error.problem,
                got=got,
                source=text.sources(),
                fits=error.fits,
                fix=error.fix,
                code=error.code,
            )
        ) from None
    is_number = isinstance(index, int) and not isinstance(index, bool)
    if not is_number or not -count <= index < count:
        raise NodeError(
            Problem(
                "no repeat has this number",
                got=f"{got}, which is {show(index)}",
                source=text.sources(),
                fits=f"0 to {count - 1}, or -1 for the last",
                code="bad-value",
            )
        )
    return int(index) % count


def _explain_no_repeat(assembly: Assembly, name: str, reference: Any, path: Path) -> Problem:
    return Problem(
        f"{name!r} repeats nothing whose outputs could be read one by one",
        got=f"in: {show(reference)}",
        source=str(assembly.origin(path)),
        fits=f"in: {name}",
        fix=f"or give {name} a `repeat`",
        code="wrong-inputs",
    )


def _explain_several(assembly: Assembly, port: Any, reference: Any, path: Path) -> Problem:
    return Problem(
        f"the input {show(port)!r} takes one value, and {reference} means all repeats",
        got=f"in: {{{port}: {show(reference)}}}",
        source=str(assembly.origin(path)),
        fits=f"in: [{reference}], for a block that takes any number of inputs",
        code="wrong-inputs",
    )


def read_value(
    assembly: Assembly, builder: BodyBuilder, reference: Any, path: Path | None = None
) -> Value:
    """The value of `node` or `node.port`.

    Args:
        path: of the reference in `in`; None for one in `outputs`.

    Raises:
        NodeError: with what there is to name.
    """
    value = builder.read(str(reference)) if isinstance(reference, str | int) else None
    if value is None:
        raise NodeError(_explain_unknown(assembly, builder, reference, path))
    if value.made_by in builder.gone:
        problem = (
            f"`when` leaves out {value.made_by!r}, which has no input that its name could stand for"
        )
        raise NodeError(
            Problem(
                problem,
                got=f"in: {reference}",
                fix="leave this out by the same `when`",
                code="wrong-inputs",
            )
        )
    return value


def _explain_unknown(
    assembly: Assembly, builder: BodyBuilder, reference: Any, path: Path | None
) -> Problem:
    name, _, port = str(reference).partition(".")
    fits, fix = did_you_mean(str(reference), builder.references()), None
    problem = f"no node or input {show(reference)!r} here"
    if path:
        problem += ", before this one"
    if port and name in builder.results:
        problem, fits = f"{name!r} has no output {port!r}", ", ".join(builder.results[name])
    elif builder.path:
        fix = "a body sees only its own inputs and nodes; hand outer values in through `in:`"
    word, source = "outputs", None
    if path:
        word, source = "in", str(assembly.origin(path))
    got = f"{word}: {show(reference)}"
    return Problem(problem, got=got, source=source, fits=fits, fix=fix, code="unknown-name")
