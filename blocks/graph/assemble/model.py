"""A model: the section `model` of a configuration -> its record."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from blocks.graph.assemble.assembly import Assembly
from blocks.graph.assemble.body import build_body, close_body
from blocks.graph.assemble.body_builder import BodyBuilder, Path
from blocks.graph.assemble.context import Outputs, Without, broken
from blocks.graph.assemble.inputs import add_model_input
from blocks.graph.assemble.invariants import finish
from blocks.graph.assemble.node import build_kind, build_node
from blocks.graph.errors import NodeError
from blocks.graph.language.scope import Scope, Text
from blocks.graph.language.words import check_params, check_word
from blocks.graph.record.module import Graph
from blocks.graph.record.record import Built


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
    model = close_body(assembly, builder, outputs, tuple(builder.inputs), named=named)
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
