"""An objective: the terms of a loss and the inputs of metrics, as a graph over what a model gives
and what a batch holds.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from blocks.graph.assemble.assembly import Assembly
from blocks.graph.assemble.body import build_nodes, close_body
from blocks.graph.assemble.body_builder import BodyBuilder, Path
from blocks.graph.assemble.context import broken, mentions
from blocks.graph.assemble.model import make_record
from blocks.graph.assemble.node import build_kind, build_node
from blocks.graph.assemble.references import read_value
from blocks.graph.errors import ConfigError, NodeError, Problem, show
from blocks.graph.language.copies import alter
from blocks.graph.language.expression import ExpressionError
from blocks.graph.language.scope import Text, read_number
from blocks.graph.record.objective import BuiltObjective, Metric, Source
from blocks.graph.record.record import Built
from blocks.graph.record.value import Value

BATCH_NAME, TEACHER = "batch", "teacher"
OWNERS = (BATCH_NAME, TEACHER)  # names in front of a point that no node of an objective may have
TERM = "{block: CrossEntropy, in: [logits, batch.label]}"


@dataclass
class Sources:
    """What an objective may read: outputs and inner nodes of a model and of a teacher, and a batch.

    Args:
        batch: name -> value.
        model: what is trained.
        teacher: what it learns from, if anything.
    """

    batch: Mapping[str, Value]
    model: Built
    teacher: Built | None = None
    read: dict[str, Source] = field(default_factory=dict)

    def find(self, reference: str) -> tuple[Source, Value] | None:
        """Return what a reference names; None where it names nothing, or a node of the objective
        itself.
        """
        owner, _, rest = reference.partition(".")
        if owner == BATCH_NAME:
            value = self.batch.get(rest)
            return None if value is None else (Source(owner, rest), value)
        if owner == TEACHER and self.teacher is not None:
            return find_in_model(self.teacher, TEACHER, rest)
        return find_in_model(self.model, "model", reference)

    def known(self, owner: str) -> list[str]:
        """Return the references that begin with `batch.` or `teacher.`."""
        if owner == BATCH_NAME:
            return [f"{BATCH_NAME}.{name}" for name in self.batch]
        if self.teacher is None:
            return []
        return [f"{TEACHER}.{name}" for name in name_outputs(self.teacher)]


def name_outputs(built: Built) -> dict[str, Value]:
    """Return the outputs of a model by the names that a task reads: a single one without a name is
    the logits.
    """
    outputs = dict(built.outputs)
    if not isinstance(built.config.get("outputs"), Mapping) and len(outputs) == 1:
        return {"logits": next(iter(outputs.values()))}
    return outputs


def find_in_model(built: Built, owner: str, name: str) -> tuple[Source, Value] | None:
    """Return an output of a model, or the first output of one of its nodes."""
    outputs = name_outputs(built)
    if name in outputs:
        return Source(owner, name), outputs[name]
    node = built.find(name)
    if node is None or name not in dict(built.model.named_modules()):
        return None
    return Source(owner, name, inner=True), next(iter(node.outputs.values()))


def assemble_objective(
    config: Mapping[str, Any],
    sources: Sources,
    *,
    path: Path = ("task",),
    **known: Any,
) -> BuiltObjective:
    """Assemble an objective on the meta device.

    Args:
        config: the sections `loss`, `metrics` and `nodes`.
        sources: what it may read.
        path: of these sections in the configuration.
        known: the arguments of `Assembly` but for its builders.

    Raises:
        ConfigError: every problem found.
    """
    assembly = Assembly(build_node=build_node, build_kind=build_kind, root=".".join(path), **known)
    sections = {}
    for name in ("nodes", "loss", "metrics"):
        sections[name] = read_section(assembly, config.get(name), (*path, name))
    builder = BodyBuilder("")
    add_sources(assembly, builder, sources, sections)
    assembly.root = ".".join((*path, "nodes"))
    build_nodes(assembly, builder, sections["nodes"], (*path, "nodes"), assembly.outermost)
    assembly.root = ".".join((*path, "loss"))
    terms, weights = split_weights(assembly, sections["loss"], (*path, "loss"))
    outputs = build_terms(assembly, builder, terms, (*path, "loss"))
    weights = {name: weight for name, weight in weights.items() if name in outputs}
    if not outputs:
        assembly.root = ".".join(path)
        problem = Problem(
            "an objective has at least one term",
            fits=f"loss: {{cross: {TERM}}}",
            code="missing-key",
        )
        assembly.report(problem, (*path, "loss"), "loss")
    assembly.root = ".".join((*path, "metrics"))
    metrics = {}
    for name, spec in sections["metrics"].items():
        with assembly.reporting((*path, "metrics", name), name):
            metrics[name] = read_metric(assembly, builder, spec, (*path, "metrics", name))
            outputs |= dict(zip(metrics[name].inputs, metrics[name].values, strict=True))
    model = close_body(assembly, builder, outputs, (), named=True)
    if assembly.problems:
        raise ConfigError(assembly.problems)
    built = make_record(assembly, builder, model, outputs, {})
    read = {}
    for name in model.input_names:
        read[name] = sources.read[name]
    return BuiltObjective(built, read, weights, metrics)


def read_section(assembly: Assembly, raw: Any, path: Path) -> Mapping[str, Any]:
    """Return a section, a mapping of names; report one that is none."""
    if raw is None:
        return {}
    if not isinstance(raw, Mapping):
        problem = Problem(
            f"{path[-1]!r} is a mapping of names", got=show(raw), fits=TERM, code="bad-node"
        )
        assembly.report(problem, path, path[-1])
        raise ConfigError(assembly.problems)
    assembly.root = ".".join(path)
    found = {}
    for name, spec in raw.items():
        if spec is None:  # a term of another file, removed
            continue
        found[name] = spec
        with assembly.reporting((*path, name), str(name)):
            check_spec(name, spec)
    if assembly.problems:
        raise ConfigError(assembly.problems)
    return found


def check_spec(name: Any, spec: Any) -> None:
    """Raise NodeError unless a term, metric or node says what flows in, and has a free name."""
    if name in OWNERS or not isinstance(name, str):
        raise NodeError(
            Problem(
                f"{show(name)!r} names no term: it is the name of what terms read",
                fix="another name",
                code="name-taken",
            )
        )
    if not isinstance(spec, Mapping):
        raise NodeError(Problem("a term is a mapping", got=show(spec), fits=TERM, code="bad-node"))
    if "in" not in spec:
        raise NodeError(
            Problem(
                "this does not say what flows in",
                got=show(dict(spec)),
                fits=TERM,
                fix="in: [NAME, NAME]: outputs of the model, batch.NAME, nodes",
                code="missing-key",
            )
        )
    for reference in mentions(spec):
        if reference in OWNERS:
            raise NodeError(
                Problem(
                    f"{reference!r} has many values",
                    got=f"in: {reference}",
                    fits=f"{reference}.NAME",
                    code="unknown-name",
                )
            )


def add_sources(
    assembly: Assembly,
    builder: BodyBuilder,
    sources: Sources,
    sections: Mapping[str, Mapping[str, Any]],
) -> None:
    """Add what an objective may read: every output and every entry of the batch, and those inner
    nodes that it names.
    """
    wanted = [*name_outputs(sources.model)]
    for owner in OWNERS:
        wanted += sources.known(owner)
    for specs in sections.values():
        for spec in specs.values():
            wanted += mentions(spec)
    for reference in dict.fromkeys(wanted):
        found = sources.find(reference)
        if found is None or reference.partition(".")[0] in sections["nodes"]:
            continue
        source, value = found
        name = re.sub(r"\W", "_", f"{source.owner}_{source.name}")
        while name in builder.inputs:
            name += "_"
        builder.add_input(name, alter(value, made_by=reference))
        del builder.results[name]
        first, _, rest = reference.partition(".")
        builder.results.setdefault(first, {})[rest or "out"] = builder.inputs[name]
        sources.read[name] = source
    builder.previous = None


def build_terms(
    assembly: Assembly, builder: BodyBuilder, terms: Mapping[str, Any], path: Path
) -> dict[str, Value]:
    """Return the terms by name. No other term reads them, so that one may be called as the output
    that it judges.
    """
    outputs = {}
    readable = dict(builder.results)
    for name, spec in terms.items():
        build_nodes(assembly, builder, {name: spec}, path, assembly.outermost)
        if name in builder.left_out:
            continue
        found = builder.results[name]
        if found is readable.get(name):  # it could not be built, and is reported
            found = {"out": broken(name)}
        outputs[name] = next(iter(found.values()))
        check_number(assembly, outputs[name], (*path, name), name)
        builder.results = dict(readable)
        builder.previous = None
    return outputs


def split_weights(
    assembly: Assembly, terms: Mapping[str, Any], path: Path
) -> tuple[dict[str, Any], dict[str, float]]:
    """Return the terms as nodes, and their weights."""
    nodes, weights = {}, {}
    for name, spec in terms.items():
        nodes[name] = {key: value for key, value in spec.items() if key != "weight"}
        place = (*path, name, "weight")
        with assembly.reporting(place, f"{name}.weight"):
            weights[name] = read_weight(assembly, spec.get("weight", 1.0), place)
    return nodes, weights


def read_weight(assembly: Assembly, raw: Any, path: Path) -> float:
    """Return the weight of a term: a number, or an expression over the facts of the data."""
    problem = Problem(
        "a weight is a number", got=f"weight: {show(raw)}", fits="weight: 0.1", code="bad-value"
    )
    try:
        value = read_number(Text(raw, assembly.origin(path), assembly.outermost))
    except ExpressionError as error:
        raise NodeError(
            replace(problem, problem=f"weight: {error.problem}", fits=error.fits, fix=error.fix)
        ) from None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value):
        raise NodeError(problem)
    return float(value)


def check_number(assembly: Assembly, value: Value, path: Path, name: str) -> None:
    """Report a term that is not one number."""
    if value.broken or value.shape == ():
        return
    problem = Problem(
        "a term of a loss is one number, the mean over the batch",
        got=str(value),
        fits="a block of losses: CrossEntropy, SquaredError, ...",
        fix="or put it under `nodes`, and take its mean: {block: Mean, in: NODE}",
        code="shape-mismatch",
    )
    assembly.report(problem, path, name)


def read_metric(
    assembly: Assembly, builder: BodyBuilder, spec: Mapping[str, Any], path: Path
) -> Metric:
    """Return a metric with what flows into it; raises NodeError for a name that there is not."""
    flow = spec["in"]
    references = [flow] if isinstance(flow, str) else flow
    if not isinstance(references, list | tuple):
        raise NodeError(
            Problem(
                "a metric takes a list",
                got=f"in: {show(flow)}",
                fits="in: [logits, batch.label]",
                code="bad-node",
            )
        )
    values = []
    for index, reference in enumerate(references):
        values.append(read_value(assembly, builder, reference, (*path, "in", index)))
    inputs = tuple(f"metrics.{path[-1]}.{index}" for index in range(len(values)))
    rest = {key: value for key, value in spec.items() if key != "in"}
    return Metric(rest, inputs, tuple(values), path)
