"""One node: its inputs, its condition, its kind. `KINDS` is the table of the language's kinds."""

from collections.abc import Callable, Mapping
from typing import Any

from blocks.graph.assemble.assembly import Assembly
from blocks.graph.assemble.body_builder import BodyBuilder, NodeSpec, Path
from blocks.graph.assemble.context import NodeContext, Outputs, broken
from blocks.graph.assemble.kinds.copied import copy_node, keep
from blocks.graph.assemble.kinds.filled import build_filled
from blocks.graph.assemble.kinds.repeat import build_repeat
from blocks.graph.assemble.kinds.scan import build_scan
from blocks.graph.assemble.kinds.share import build_shared
from blocks.graph.assemble.references import read_inputs
from blocks.graph.errors import NodeError, Problem, show
from blocks.graph.language.copies import alter
from blocks.graph.language.expression import ExpressionError, evaluate, to_whole
from blocks.graph.language.scope import Scope, Text
from blocks.graph.record.value import Value, axes_of, show_shape

KINDS: dict[str, Callable[[Assembly, NodeContext], Outputs]] = {
    "repeat": build_repeat,
    "scan": build_scan,
    "share": build_shared,
    "filled": build_filled,  # a block, a body, or a slot that leads to one of them
}


def build_kind(assembly: Assembly, context: NodeContext) -> Outputs:
    """Build a node by its kind, or copy it from the repeat before; what it gives."""
    outputs = copy_node(assembly, context)
    if outputs is None:
        outputs = KINDS[kind_of(context.raw)](assembly, context)
    keep(context, outputs)
    return outputs


def kind_of(raw: Mapping[str, Any]) -> str:
    if "repeat" in raw:
        return "repeat"
    if "scan" in raw:
        return "scan"
    if isinstance(raw.get("share"), str):
        return "share"
    return "filled"


def build_node(
    assembly: Assembly,
    builder: BodyBuilder,
    name: str,
    spec: NodeSpec,
    wanted: tuple[str, ...],
) -> Outputs:
    """Build one node of a body; what it gives.

    Args:
        wanted: ports of it that its siblings read.
    """
    inputs, previous = read_inputs(assembly, builder, spec)
    values = [item.value for item in inputs]
    if previous is not None and _leaves_first_out(spec.raw, values):
        values.insert(0, previous)
    scope = alter(spec.scope, axes=axes_of(values), arguments={}, trace=[])
    spec = alter(spec, scope=scope)
    twin = None if builder.twin is None else builder.twin.made.get(name)
    context = NodeContext(builder, name, spec, inputs, previous, wanted, twin)
    if any(value.broken for value in values):
        builder.spoilt = True
        return context.broken()
    if not _holds(assembly, spec):
        return _leave_out(builder, name, values)
    outputs = build_kind(assembly, context)
    if "expect" in spec.raw:
        _check_shape(assembly, context, next(iter(outputs.values())))
    return outputs


def _leaves_first_out(raw: Mapping[str, Any], values: list[Value]) -> bool:
    """Whether the first port takes the output of the sibling before."""
    if not values:
        return True
    return isinstance(raw.get("in"), Mapping) and "x" not in raw["in"]


def _leave_out(builder: BodyBuilder, name: str, values: list[Value]) -> Outputs:
    """A node that `when` leaves out: its name stands for its first input."""
    builder.left_out.append(name)
    builder.origins.pop(name, None)
    if values:
        return {"out": values[0]}
    builder.gone.add(name)
    return {"out": broken(name)}


def _holds(assembly: Assembly, spec: NodeSpec) -> bool:
    """Whether the condition of a node holds."""
    if "when" not in spec.raw:
        return True
    return evaluate_condition(assembly, spec.raw["when"], (*spec.path, "when"), spec.scope)


def evaluate_condition(assembly: Assembly, raw: Any, path: Path, scope: Scope) -> bool:
    """The value of `when`; raises NodeError where it is neither true nor false."""
    value, got = raw, f"when: {show(raw)}"
    if isinstance(raw, str):
        try:
            value = evaluate(raw, scope)
        except ExpressionError as error:
            sources = Text(raw, assembly.origin(path), scope).sources()
            raise NodeError(
                Problem(
                    f"when: {error.problem}",
                    got=f"when: {raw}",
                    source=sources,
                    fits=error.fits,
                    fix=error.fix,
                    code=error.code,
                )
            ) from None
        got += f", which is {show(value)}"
    if not isinstance(value, bool):
        raise NodeError(
            Problem(
                "`when` is true or false",
                got=got,
                fits="a comparison: layer.index > 0",
                code="bad-value",
            )
        )
    return value


def _check_shape(assembly: Assembly, context: NodeContext, value: Value) -> None:
    """Report an output whose shape is not the one that `expect` states."""
    raw = context.raw["expect"]
    shape = raw.get("shape") if isinstance(raw, Mapping) else None
    if not isinstance(shape, list | tuple) or set(raw) != {"shape"}:
        fits = "expect: {shape: [batch, 65, 192]}"
        raise NodeError(
            Problem(
                "`expect` of a node states its shape",
                got=f"expect: {show(raw)}",
                fits=fits,
                code="bad-value",
            )
        )
    got, expected = (
        show_shape(value.shape),
        f"({', '.join(show(to_whole(size)) for size in shape)})",
    )
    if got != expected:
        problem = Problem(
            "the shape is not the one expected", got=got, fits=expected, code="expectation-failed"
        )
        assembly.report(problem, (*context.path, "expect"), context.display)
