"""`scan`: a body run once per step along an axis, with named state: a recurrence as a graph."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from blocks.graph.assemble.block import Trouble
from blocks.graph.assemble.body_builder import Input, Room, Wire, meta_tensor, must_be_shape
from blocks.graph.assemble.context import Filling, Outputs, Path, Site, axes_of
from blocks.graph.assemble.template import build_body, resolve
from blocks.graph.errors import Problem, did_you_mean, show
from blocks.graph.language.arguments import coerce
from blocks.graph.language.expression import ExpressionError
from blocks.graph.language.expression import whole as as_whole
from blocks.graph.language.scope import Scope, Text
from blocks.graph.language.words import check_params
from blocks.graph.record.module import Scan

if TYPE_CHECKING:
    from blocks.graph.assemble.model import Assembler

NOT_SCANNED = ("scan", "in", "when", "after", "expect")
FITS = "scan: {axis: tokens, state: {hidden: 64}}"
TAKEN = {"x": "the step bears it", "out": "the sequence bears it"}


def scan(assembler: "Assembler", site: Site) -> Outputs:
    """Build one step; the node gives the sequence of steps, and the last of each state by its
    name.
    """
    filling = Filling(site.without(*NOT_SCANNED), site.path, site.scope)
    target, texts, label = resolve(assembler, filling, site.scope)
    if "body" not in target.raw:
        fits = "scan: {...}, body: {...}"
        got = ", ".join(
            f"{kind}: {show(target.raw[kind])}" for kind in ("block", "share") if kind in target.raw
        )
        raise Trouble(Problem("`scan` goes with a body", got=got, fits=fits))
    given = site.enter(Room(site.display))
    whole = given.get("x")
    if whole is None or whole.tensor is None:
        raise Trouble(Problem("`scan` needs an input whose steps it runs through", fits="in: NODE"))
    axis, states, reverse = _words(
        assembler, site.raw["scan"], (*site.path, "scan"), site.scope, whole
    )
    flow = _step_inputs(given, axis, states)
    items = [Input(None if key == "x" else key, key, wire) for key, wire in flow.items()]
    inside = replace(site.scope, axes=axes_of(list(flow.values())))
    step = replace(site, filling=replace(filling, scope=inside), inputs=items, previous=None)
    _, graph, outputs, rows = build_body(assembler, step, target, texts, label, kept="x")
    if graph is None:
        return site.broken(*states)
    if (
        len(states) == 1
        and len(outputs) == 1
        and not isinstance(target.raw.get("outputs"), Mapping)
    ):
        outputs = {next(iter(states)): next(iter(outputs.values()))}
    _check_states(states, flow, outputs)
    sequence = next((key for key in outputs if key not in states), next(iter(outputs)))
    module = Scan.of(graph, axis, states, sequence, tuple(outputs), reverse)
    found = {
        "out": _stacked(outputs[sequence], whole, axis),
        **{state: outputs[state] for state in states},
    }
    site.room.rows.append(assembler.row(site, f"scan x{whole.shape[axis]}", found, rows))
    named = {key: wire for key, wire in given.items() if key != "x" and key in graph.input_names}
    assembler.add(site, module, found)
    return assembler.emit(site, site.name, [whole], named, found)


def _step_inputs(
    given: Mapping[str, Wire], axis: int, states: Mapping[str, tuple[int, ...]]
) -> dict[str, Wire]:
    """What flows into one step: x without the axis, the states, and the rest as it is."""
    whole = given["x"]
    assert whole.tensor is not None
    names = whole.names[:axis] + whole.names[axis + 1 :]
    flow = {"x": replace(whole, tensor=whole.tensor.select(axis, 0), names=names)}
    flow.update({key: wire for key, wire in given.items() if key != "x"})
    for state, shape in states.items():
        tensor = meta_tensor((whole.shape[0], *shape), torch.get_default_dtype())
        names = ("batch", *[None] * (len(shape) - 1), *["dim"] * bool(shape))
        start = Wire(tensor, names, None, state)
        if state not in flow or flow[state].tensor is None:
            flow[state] = start
        if flow[state].shape != start.shape and not flow[state].broken:
            got = f"in: {{{state}: ...}} gives {flow[state]}"
            problem = f"the state {state!r} does not start with the shape that `scan` states"
            raise Trouble(Problem(problem, got=got, fits=f"{start}"))
    return flow


def _stacked(wire: Wire, whole: Wire, axis: int) -> Wire:
    """What all steps give, side by side along the axis."""
    assert wire.tensor is not None
    tensor = wire.tensor.unsqueeze(axis).expand(
        *wire.shape[:axis], whole.shape[axis], *wire.shape[axis:]
    )
    return replace(
        wire, tensor=tensor, names=(*wire.names[:axis], whole.names[axis], *wire.names[axis:])
    )


def _words(
    assembler: "Assembler", raw: Any, path: Path, scope: Scope, wire: Wire
) -> tuple[int, dict[str, tuple[int, ...]], bool]:
    """Axis, shapes of the states without the batch, and whether the last step comes first."""
    known = isinstance(raw, Mapping) and set(raw) <= {"axis", "state", "reverse"}
    if not known or not isinstance(raw.get("state"), Mapping) or not raw["state"]:
        raise Trouble(
            Problem("`scan` states its axis and its state", got=f"scan: {show(raw)}", fits=FITS)
        )
    if not isinstance(raw.get("reverse", False), bool):
        raise Trouble(
            Problem("`reverse` is true or false", got=f"reverse: {show(raw['reverse'])}", fits=FITS)
        )
    axis = as_whole(raw.get("axis", 1))
    if isinstance(axis, str):
        if axis not in wire.names:
            fits = did_you_mean(axis, [name for name in wire.names if name])
            raise Trouble(
                Problem(f"x has no axis {show(axis)!r} to scan", got=str(wire), fits=fits)
            )
        axis = wire.names.index(axis)
    if not isinstance(axis, int) or isinstance(axis, bool) or not 0 < axis < len(wire.shape):
        got = f"axis: {show(axis)}, x {wire}"
        raise Trouble(Problem("`scan` runs along an axis behind the batch", got=got, fits=FITS))
    states = {}
    for state, size in raw["state"].items():
        if misnamed := check_params([state], "a state"):
            raise Trouble(misnamed)
        if state in TAKEN:
            problem = f"{state!r} cannot name a state: {TAKEN[state]}"
            raise Trouble(Problem(problem, got=f"{state}: {show(size)}", fix="rename the state"))
        text = Text(size, assembler.origin((*path, "state", state)), scope)
        try:
            value = coerce(int | tuple[int, ...], text, str(state))
        except ExpressionError as error:
            got = f"{state}: {show(size)}"
            raise Trouble(
                Problem(error.problem, got=got, source=text.sources(), fits=error.fits)
            ) from None
        states[state] = value if isinstance(value, tuple) else (value,)
        if unknown := must_be_shape(states[state]):
            problem = f"the state {state!r} has no shape that could be: {unknown}"
            raise Trouble(
                Problem(problem, got=f"{state}: {show(size)}", source=str(text.origin), fits=FITS)
            )
    return axis, states, raw.get("reverse") is True


def _check_states(states: Mapping[str, Any], flow: Mapping[str, Wire], outputs: Outputs) -> None:
    for state in states:
        if state not in outputs:
            got, fits = f"outputs {', '.join(outputs)}", f"outputs: {{{state}: NODE}} beside body"
            raise Trouble(Problem(f"the body does not say the next {state!r}", got=got, fits=fits))
        if outputs[state].shape != flow[state].shape:
            got, fits = f"{outputs[state]} after {flow[state]}", f"a node that gives {flow[state]}"
            problem = f"the state {state!r} changes its shape from step to step"
            raise Trouble(Problem(problem, got=got, fits=fits))
