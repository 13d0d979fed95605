"""References between the nodes of a body: `node`, `node.port`, and what `in` says."""

from collections.abc import Mapping
from typing import Any

from blocks.graph.assemble.assembly import Assembly
from blocks.graph.assemble.body_builder import BodyBuilder, Input, NodeSpec, Path
from blocks.graph.errors import NodeError, Problem, did_you_mean, show
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
        return [Input(None, "x", read_value(assembly, builder, flow, path))], previous
    if isinstance(flow, list):
        inputs = []
        for index, reference in enumerate(flow):
            value = read_value(assembly, builder, reference, (*path, index))
            inputs.append(Input(None, str(reference).rpartition(".")[2], value))
        return inputs, None
    if isinstance(flow, Mapping):
        if problem := check_words(flow, "an input"):
            raise NodeError(problem)
        inputs = []
        for port, reference in flow.items():
            value = read_value(assembly, builder, reference, (*path, port))
            inputs.append(Input(str(port), str(port), value))
        return inputs, previous
    fits = "in: node, in: [a, b], in: {port: node}, or in: []"
    raise NodeError(
        Problem("`in` names what flows in", got=f"in: {show(flow)}", fits=fits, code="bad-node")
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
