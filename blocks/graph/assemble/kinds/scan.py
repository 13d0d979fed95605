"""`scan`: a body run once per step along an axis, with named state: a recurrence as a graph."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from blocks.graph.assemble.assembly import Assembly
from blocks.graph.assemble.body_builder import BodyBuilder, Input, NodeSpec, Path
from blocks.graph.assemble.calls import add_module, emit_call, record_node
from blocks.graph.assemble.context import NodeContext, Outputs
from blocks.graph.assemble.kinds.filled import build_template
from blocks.graph.assemble.kinds.template import resolve
from blocks.graph.errors import NodeError, Problem, did_you_mean, show
from blocks.graph.language.expression import ExpressionError, to_whole
from blocks.graph.language.scope import Scope, Text
from blocks.graph.language.values import read_argument
from blocks.graph.language.words import check_params
from blocks.graph.record.module import Scan
from blocks.graph.record.value import Value, axes_of, meta_tensor, must_be_shape

Shape = tuple[int, ...]
NOT_SCANNED = ("scan", "in", "when", "after", "expect")
WORDS = {"axis", "state", "reverse"}
FITS = "scan: {axis: tokens, state: {hidden: 64}}"
TAKEN = {"x": "the step bears it", "out": "the sequence bears it"}


@dataclass(frozen=True)
class Steps:
    """What `scan` states.

    Args:
        axis: along which the steps run.
        states: name -> shape without the batch.
        reverse: whether the last step runs first.
    """

    axis: int
    states: dict[str, Shape]
    reverse: bool


def build_scan(assembly: Assembly, context: NodeContext) -> Outputs:
    """Build one step; the node gives the sequence of steps, and the last of each state."""
    spec = NodeSpec(context.without(*NOT_SCANNED), context.path, context.scope)
    resolved = resolve(assembly, spec, context.scope)
    raw = resolved.spec.raw
    if "body" not in raw:
        got = ", ".join(f"{kind}: {show(raw[kind])}" for kind in ("block", "share") if kind in raw)
        problem = "`scan` goes with a body"
        raise NodeError(Problem(problem, got=got, fits="scan: {...}, body: {...}", code="bad-node"))
    given = context.enter(BodyBuilder(context.display))
    sequence = given.get("x")
    if sequence is None or sequence.tensor is None:
        problem = "`scan` needs an input whose steps it runs through"
        raise NodeError(Problem(problem, fits="in: NODE", code="wrong-inputs"))
    steps = _read_steps(assembly, context, sequence)
    flow = _step_inputs(given, steps)
    inputs = [Input(None if name == "x" else name, name, value) for name, value in flow.items()]
    inside = replace(spec, scope=replace(context.scope, axes=axes_of(list(flow.values()))))
    step = replace(context, spec=inside, inputs=inputs, previous=None)
    built = build_template(assembly, step, resolved, kept=("x",))
    if built.graph is None:
        return context.broken(*steps.states)
    outputs = built.outputs
    if len(steps.states) == len(outputs) == 1 and not isinstance(raw.get("outputs"), Mapping):
        outputs = {next(iter(steps.states)): next(iter(outputs.values()))}
    _check_states(steps.states, flow, outputs)
    main = next((name for name in outputs if name not in steps.states), next(iter(outputs)))
    module = Scan.of(built.graph, steps.axis, steps.states, main, tuple(outputs), steps.reverse)
    found = {"out": _stack(outputs[main], sequence, steps.axis)}
    for state in steps.states:
        found[state] = outputs[state]
    label = f"scan x{sequence.shape[steps.axis]}"
    node = record_node(assembly, context, label, found, built.nodes, module)
    add_module(assembly, context, module, found)
    named = {}
    for name, value in given.items():
        if name != "x" and name in built.graph.input_names:
            named[name] = value
    return emit_call(context, node, context.name, [sequence], named, found)


def _step_inputs(given: Mapping[str, Value], steps: Steps) -> dict[str, Value]:
    """What flows into one step: x without the axis, the states, and the rest as it is."""
    sequence, axis = given["x"], steps.axis
    assert sequence.tensor is not None
    names = sequence.names[:axis] + sequence.names[axis + 1 :]
    flow = dict(given)
    flow["x"] = replace(sequence, tensor=sequence.tensor.select(axis, 0), names=names)
    for state, shape in steps.states.items():
        start = _start_of(state, shape, sequence.shape[0])
        if state not in flow or flow[state].tensor is None:
            flow[state] = start
        if flow[state].shape != start.shape and not flow[state].broken:
            problem = f"the state {state!r} does not start with the shape that `scan` states"
            got = f"in: {{{state}: ...}} gives {flow[state]}"
            raise NodeError(Problem(problem, got=got, fits=f"{start}", code="shape-mismatch"))
    return flow


def _start_of(state: str, shape: Shape, batch: int) -> Value:
    tensor = meta_tensor((batch, *shape), torch.get_default_dtype())
    names: tuple[str | None, ...] = ("batch",)
    if shape:
        names = ("batch", *[None] * (len(shape) - 1), "dim")
    return Value(tensor, names, None, state)


def _stack(value: Value, sequence: Value, axis: int) -> Value:
    """What all steps give, side by side along the axis."""
    assert value.tensor is not None
    shape = (*value.shape[:axis], sequence.shape[axis], *value.shape[axis:])
    names = (*value.names[:axis], sequence.names[axis], *value.names[axis:])
    return replace(value, tensor=value.tensor.unsqueeze(axis).expand(*shape), names=names)


def _read_steps(assembly: Assembly, context: NodeContext, sequence: Value) -> Steps:
    """Axis, states and direction; raises NodeError."""
    raw, path = context.raw["scan"], (*context.path, "scan")
    is_known = isinstance(raw, Mapping) and set(raw) <= WORDS
    if not is_known or not isinstance(raw.get("state"), Mapping) or not raw["state"]:
        problem = "`scan` states its axis and its state"
        raise NodeError(Problem(problem, got=f"scan: {show(raw)}", fits=FITS, code="bad-node"))
    reverse = raw.get("reverse", False)
    if not isinstance(reverse, bool):
        got = f"reverse: {show(reverse)}"
        raise NodeError(Problem("`reverse` is true or false", got=got, fits=FITS, code="bad-value"))
    states = {}
    axis = _read_axis(raw.get("axis", 1), sequence)
    for state, size in raw["state"].items():
        place = (*path, "state", state)
        states[state] = _read_state(assembly, state, size, place, context.scope)
    return Steps(axis, states, reverse)


def _read_axis(raw: Any, sequence: Value) -> int:
    axis = to_whole(raw)
    if isinstance(axis, str):
        if axis not in sequence.names:
            fits = did_you_mean(axis, [name for name in sequence.names if name])
            problem = f"x has no axis {show(axis)!r} to scan"
            raise NodeError(Problem(problem, got=str(sequence), fits=fits, code="unknown-name"))
        axis = sequence.names.index(axis)
    is_number = isinstance(axis, int) and not isinstance(axis, bool)
    if not is_number or not 0 < axis < len(sequence.shape):
        got = f"axis: {show(axis)}, x {sequence}"
        raise NodeError(
            Problem(
                "`scan` runs along an axis behind the batch", got=got, fits=FITS, code="bad-value"
            )
        )
    return axis


def _read_state(assembly: Assembly, state: Any, size: Any, path: Path, scope: Scope) -> Shape:
    """The shape of a state without the batch."""
    if problem := check_params([state], "a state"):
        raise NodeError(problem)
    got = f"{state}: {show(size)}"
    if state in TAKEN:
        taken = f"{state!r} cannot name a state: {TAKEN[state]}"
        raise NodeError(Problem(taken, got=got, fix="rename the state", code="name-taken"))
    text = Text(size, assembly.origin(path), scope)
    try:
        shape = read_argument(int | tuple[int, ...], text, str(state))
    except ExpressionError as error:
        source = text.sources()
        raise NodeError(
            Problem(error.problem, got=got, source=source, fits=error.fits, code=error.code)
        ) from None
    if not isinstance(shape, tuple):
        shape = (shape,)
    if unknown := must_be_shape(shape):
        wrong = f"the state {state!r} has no shape that could be: {unknown}"
        raise NodeError(
            Problem(wrong, got=got, source=str(text.origin), fits=FITS, code="bad-value")
        )
    return shape


def _check_states(states: Mapping[str, Any], flow: Mapping[str, Value], outputs: Outputs) -> None:
    for state in states:
        if state not in outputs:
            problem = f"the body does not say the next {state!r}"
            fits = f"outputs: {{{state}: NODE}} beside body"
            raise NodeError(
                Problem(problem, got=f"outputs {', '.join(outputs)}", fits=fits, code="missing-key")
            )
        if outputs[state].shape != flow[state].shape:
            problem = f"the state {state!r} changes its shape from step to step"
            got = f"{outputs[state]} after {flow[state]}"
            raise NodeError(
                Problem(
                    problem, got=got, fits=f"a node that gives {flow[state]}", code="shape-mismatch"
                )
            )
