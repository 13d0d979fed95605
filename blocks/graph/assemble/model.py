"""A model: the section `model` of a configuration -> its record."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from blocks.graph.assemble.assembly import Assembly
from blocks.graph.assemble.body import build_body, close_body, read_outputs
from blocks.graph.assemble.body_builder import BodyBuilder, Path
from blocks.graph.assemble.context import Outputs, Without, broken
from blocks.graph.assemble.inputs import add_model_input
from blocks.graph.assemble.invariants import finish
from blocks.graph.assemble.node import build_kind, build_node
from blocks.graph.assemble.references import read_value
from blocks.graph.errors import NodeError, Problem, show
from blocks.graph.language.scope import Scope, Text
from blocks.graph.language.words import check_params, check_word, check_words
from blocks.graph.record.module import Graph
from blocks.graph.record.part import Cut, Entry, Place, find_place, place_of, value_at
from blocks.graph.record.record import Built
from blocks.graph.record.value import Value

ENTRY = "{inputs: {memory: encoder}, outputs: {logits: head}}, either of them or both"


def assemble_model(config: Mapping[str, Any], overridden: list[Path], **known: Any) -> Built:
    """Assemble a model on the meta device.

    Args:
        config: the section `model`.
        overridden: paths that the command line wrote; one that nothing reads is a mistake.
        known: the arguments of `Assembly` but for its builders.

    Raises:
        ConfigError: every problem found.
    """
    assembly = Assembly(build_node=build_node, build_kind=build_kind, **known)
    path: Path = ("model",)
    assembly.slots = config
    _read_params(assembly, config.get("params") or {}, (*path, "params"))
    scope = replace(assembly.outermost, lexical=assembly.params)
    builder = BodyBuilder("")
    _read_inputs(assembly, builder, config.get("inputs") or {}, (*path, "inputs"), scope)
    outputs = build_body(
        assembly,
        builder,
        config["graph"],
        (*path, "graph"),
        scope,
        config.get("outputs"),
        (*path, "outputs"),
    )
    named = isinstance(config.get("outputs"), Mapping)
    entries = read_entries(assembly, builder, config.get("entries"), outputs, named)
    model = close_body(assembly, builder, outputs, tuple(builder.inputs), named=named)
    check_entries(assembly, model, entries)
    finish(assembly, model, config, overridden)
    return make_record(assembly, builder, model, outputs, config)


def make_record(
    assembly: Assembly,
    builder: BodyBuilder,
    model: Graph,
    outputs: Outputs,
    config: Mapping[str, Any],
) -> Built:
    """Return the record of a finished body at the top."""
    return Built(
        model=model,
        nodes=builder.nodes,
        inputs=builder.inputs,
        outputs=outputs,
        params=assembly.params,
        config=config,
        facts=assembly.facts,
        catalog=assembly.catalog,
        recipes=assembly.recipes,
        starts=assembly.starts,
        registered=assembly.modules,
        read_params=assembly.read_params,
        used_slots=assembly.used_slots,
        origin=assembly.origin,
        ties=assembly.ties,
    )


def _read_params(assembly: Assembly, params: Mapping[str, Any], path: Path) -> None:
    for name, raw in params.items():
        place = (*path, name)
        if problem := check_params([name], "a param"):
            assembly.report(replace(problem, path=f"model.params.{name}"), place, "")
        outer = assembly.outermost
        around = replace(outer, params=Without(assembly.params, {}, name), trace=[])
        assembly.params[name] = Text(raw, assembly.origin(place), around, place)


def _read_inputs(
    assembly: Assembly,
    builder: BodyBuilder,
    inputs: Mapping[str, Any],
    path: Path,
    scope: Scope,
) -> None:
    for name, raw in inputs.items():
        place = (*path, name)
        with assembly.reporting(place, f"inputs.{name}"):
            if problem := check_word(name):
                builder.add_input(f"input_{len(builder.inputs)}", broken(str(name)))
                builder.results[str(name)] = {"out": broken(str(name))}
                raise NodeError(problem)
            text = Text(raw, assembly.origin(place), scope)
            add_model_input(builder, name, text, assembly.stated)
    builder.previous = next(iter(builder.inputs.values()), None)


# Entries ------------------------------------------------------------------------------------------


def read_entries(
    assembly: Assembly, builder: BodyBuilder, section: Any, outputs: Outputs, named: bool
) -> dict[str, Entry]:
    """Read the parts of the model that are called alone.

    Args:
        section: `entries` of the model.
        outputs: those of the model, which an entry has that states none.
        named: whether the model returns a dictionary.
    """
    found = {}
    for name, raw in (section or {}).items():
        path: Path = ("model", "entries", name)
        with assembly.reporting(path, f"entries.{name}"):
            if problem := check_word(name, "an entry"):
                raise NodeError(problem)
            _check_form(raw)
            cuts = raw.get("inputs") or {}
            inputs, axes = {}, {}
            for port, reference in cuts.items():
                inputs[port] = _find_place(assembly, builder, "inputs", reference)
                value = value_at(builder.root, builder.graph, inputs[port], builder.inputs)
                axes[port] = tuple(zip(value.names, value.shape, strict=True))
            ends = {}
            is_named = named
            if raw.get("outputs") is None:
                ends = {port: place_of(_call_of(value)) for port, value in outputs.items()}
            else:
                is_named = isinstance(raw["outputs"], Mapping)
                for port, reference in read_outputs(raw["outputs"]).items():
                    ends[port] = _find_place(assembly, builder, "outputs", reference)
            found[name] = Entry(inputs, ends, is_named, axes)
    return found


def _check_form(raw: Any) -> None:
    is_entry = isinstance(raw, Mapping) and bool(raw) and set(raw) <= {"inputs", "outputs"}
    if not is_entry or not isinstance(raw.get("inputs") or {}, Mapping):
        text = "an entry states inputs, outputs or both"
        raise NodeError(Problem(text, got=show(raw), fits=ENTRY, code="bad-node"))
    if problem := check_words(raw.get("inputs") or {}, "an input"):
        raise NodeError(problem)


def _call_of(value: Value) -> Any:
    """The call that gives a value; a broken one has been reported already."""
    if value.node is None:
        raise NodeError
    return value.node


def _find_place(assembly: Assembly, builder: BodyBuilder, word: str, reference: Any) -> Place:
    name, _, rest = str(reference).partition(".")
    try:
        if rest and rest not in builder.results.get(name, {}) and name in builder.results:
            return find_place(builder.root, builder.graph, str(reference), str(reference))
        value = read_value(assembly, builder, reference)
    except NodeError as error:
        got = f"{word}: {show(reference)}"
        raise NodeError(*(replace(each, got=got) for each in error.problems)) from None
    if value.tensor is None and not value.broken:
        problem = "an optional input, which the data does not have, is no place to cut at"
        got = f"{word}: {reference}"
        raise NodeError(Problem(problem, got=got, fits="a node", code="wrong-inputs"))
    return place_of(_call_of(value))


def check_entries(assembly: Assembly, model: Graph, entries: Mapping[str, Entry]) -> None:
    """Check that each entry reads its inputs, and keep them in the model."""
    if assembly.problems or not entries:
        return
    model.meta["entries"] = dict(entries)
    for name, entry in entries.items():
        with assembly.reporting(("model", "entries", name), f"entries.{name}"):
            part = Cut(model, list(entry.outputs.values()), entry.inputs, {})
            for port in entry.inputs:
                if port not in part.taken:
                    text = f"no output of this entry depends on its input {port!r}"
                    fix = "leave it out, or cut before what the outputs depend on"
                    raise NodeError(Problem(text, fix=fix, code="unused"))
                if part.input_names.count(port) > 1:
                    text = f"{port!r} is an input of the model, which this entry reads, too"
                    raise NodeError(Problem(text, fix="rename it", code="name-taken"))
