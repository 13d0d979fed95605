"""A body: its nodes in order, its outputs, and the module that comes of it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import PurePath
from typing import Any

from torch import fx

from blocks.graph.assemble.assembly import Assembly
from blocks.graph.assemble.body_builder import BodyBuilder, NodeSpec, Path
from blocks.graph.assemble.context import Outputs, broken, mentions
from blocks.graph.assemble.counting import count_innermost
from blocks.graph.assemble.references import read_value
from blocks.graph.errors import NodeError, Problem, did_you_mean, show
from blocks.graph.language.copies import alter
from blocks.graph.language.scope import Scope
from blocks.graph.language.words import check_name, check_words, is_outputs, order_nodes
from blocks.graph.record.module import Graph

FITS = "outputs: NODE, outputs: [a, b] or outputs: {name: NODE}"


def build_body(
    assembly: Assembly,
    builder: BodyBuilder,
    nodes: Any,
    path: Path,
    scope: Scope,
    outputs: Any,
    outputs_path: Path,
) -> Outputs:
    """Build every node of a body in order; the outputs of the body by name."""
    if not isinstance(nodes, Mapping) or not nodes:
        problem = Problem(
            "a body is a mapping of named nodes",
            got=show(nodes),
            fits="name: {block: Name}",
            code="bad-node",
        )
        assembly.report(problem, path, builder.path)
        return {"out": broken("")}
    build_nodes(assembly, builder, nodes, path, scope, mentions({"in": outputs}))
    return _find_outputs(assembly, builder, outputs, outputs_path)


def build_nodes(
    assembly: Assembly,
    builder: BodyBuilder,
    nodes: Mapping[str, Any],
    path: Path,
    scope: Scope,
    later: Sequence[str] = (),
) -> None:
    """Build every node of a body in order.

    Args:
        later: references to them from elsewhere.
    """
    scope = alter(scope, nodes=builder.view, node_names=lambda: tuple(builder.results))
    names, lost = order_nodes(nodes)
    for name, anchor in lost:
        problem = _explain_lost(name, anchor, names)
        file = assembly.origin((*path, name, "after")).file
        if problem.code == "unknown-name" and file is not None and not builder.path:
            slot = PurePath(file).parent.name
            if slot != "model":  # an option for several models, which may call the node otherwise
                fix = f"model/{slot} is for models with a node {anchor!r}\n"
                fix += f"name that of this model: model.graph.{name}.after=NODE"
                problem = replace(problem, fix=fix)
        assembly.report(problem, (*path, name, "after"), builder.below(name))
    references = list(later)
    for name in names:
        references += mentions(nodes[name])
    for name in names:
        spec = NodeSpec(nodes[name], (*path, name), scope)
        _build_one(assembly, builder, name, spec, references)


def _explain_lost(name: str, anchor: str, names: list[str]) -> Problem:
    """Why a node cannot be placed behind the one that its `after` names."""
    known = [other for other in names if other != name]
    got = f"after: {anchor}"
    if anchor == name:
        problem, fits = f"{name!r} cannot stand after itself", did_you_mean("", known)
        return Problem(problem, got=got, fits=fits, code="circular")
    if anchor in known:
        problem = f"{name!r} and {anchor!r} wait for each other"
        return Problem(problem, got=got, fix="leave `after` out at one of them", code="circular")
    return Problem(
        f"'after' names no node {anchor!r}",
        got=got,
        fits=did_you_mean(anchor, known),
        code="unknown-name",
    )


def _build_one(
    assembly: Assembly, builder: BodyBuilder, name: Any, spec: NodeSpec, later: list[str]
) -> None:
    if builder.path == "":
        assembly.passed = 0
        assembly.total = cache(partial(count_innermost, assembly, spec))
    text = str(name)
    with assembly.reporting(spec.path, builder.below(text)):
        problem = check_name(name, tuple(builder.inputs)) or assembly.check_node(spec.raw)
        if problem:
            raise NodeError(problem)
        builder.origins[name] = str(assembly.origin(spec.path))
        wanted = []
        for reference in later:
            node, _, port = reference.partition(".")
            if node == name:
                wanted.append(port)
        builder.results[name] = assembly.build_node(assembly, builder, name, spec, tuple(wanted))
    if text not in builder.results:
        builder.spoilt = True
        builder.results[text] = {"out": broken(text)}
    if name not in builder.gone:
        builder.previous = next(iter(builder.results[text].values()))


# Outputs ------------------------------------------------------------------------------------------


def _find_outputs(assembly: Assembly, builder: BodyBuilder, outputs: Any, path: Path) -> Outputs:
    if outputs is None and builder.previous is not None:
        return {"out": builder.previous}
    display = f"{builder.path}.outputs".lstrip(".")
    with assembly.reporting(path, display):
        found = {}
        for name, reference in read_outputs(outputs).items():
            found[name] = broken(str(reference))
            place = (*path, name) if isinstance(outputs, Mapping) else path
            with assembly.reporting(place, display):
                found[name] = _read_output(assembly, builder, name, reference)
        return found
    return {"out": broken("")}


def _read_output(assembly: Assembly, builder: BodyBuilder, name: str, reference: str) -> Any:
    value = read_value(assembly, builder, reference)
    if value.tensor is None and not value.broken:
        problem = f"the output {name!r} is an optional input, which the data does not have"
        raise NodeError(
            Problem(problem, got=f"outputs: {reference}", fits="a node", code="wrong-inputs")
        )
    return value


def read_outputs(outputs: Any) -> dict[str, str]:
    """Output name -> node; raises NodeError where it names nothing, or one name twice."""
    if outputs is None:
        raise NodeError(
            Problem(
                "no node of this body gives anything",
                fix="leave the body out, too, or add a node",
                code="missing-key",
            )
        )
    if isinstance(outputs, Mapping):
        _check_removed(outputs)
    if not is_outputs(outputs):
        problem = Problem(
            "`outputs` names what is given", got=f"outputs: {show(outputs)}", code="bad-node"
        )
        raise NodeError(replace(problem, fits=FITS))
    if isinstance(outputs, str):
        return {"out": outputs}
    if isinstance(outputs, Mapping):
        if misnamed := check_words(outputs, "an output"):
            raise NodeError(misnamed)
        return dict(outputs)
    names = [reference.partition(".")[0] for reference in outputs]
    if len(set(names)) < len(names):
        fix = "name each: outputs: {name: NODE}"
        raise NodeError(
            Problem(
                "two outputs have one name",
                got=f"outputs: {show(outputs)}",
                fix=fix,
                code="name-taken",
            )
        )
    return dict(zip(names, outputs, strict=True))


def _check_removed(outputs: Mapping[str, Any]) -> None:
    """Raise NodeError for `name: null`: composing removes an inherited output, so it names none."""
    removed = next((name for name, node in outputs.items() if node is None), None)
    if removed is None:
        return
    known = [name for name, node in outputs.items() if node is not None]
    raise NodeError(
        Problem(
            f"no file that this one starts from has an output {show(removed)!r} to remove",
            got=f"outputs: {{{removed}: null}}",
            fits=did_you_mean(removed, known),
            fix="name a node, or leave it out",
            code="unknown-name",
        )
    )


# The module ---------------------------------------------------------------------------------------


def close_body(
    assembly: Assembly,
    builder: BodyBuilder,
    outputs: Outputs,
    explicit: tuple[str, ...],
    named: bool = False,
    kept: Collection[str] = (),
) -> Graph:
    """Turn a finished body into a module, and report what nothing reads.

    A model whose YAML names its outputs returns a dictionary; any other body with several outputs
    returns a tuple.

    Args:
        explicit: inputs that the author named; an unread one is reported.
        named: whether the outputs are returned as a dictionary.
        kept: inputs that the module has even where nothing reads them.
    """
    graph = builder.graph
    results = {name: value.node for name, value in outputs.items()}
    several = tuple(results.values())
    value: Any = several
    if named:
        value = results
    elif len(several) == 1:
        value = several[0]
    output = graph.output(None if None in several else value)
    output.meta["inputs"] = tuple(outputs.values())
    for node in reversed(list(graph.nodes)):
        if node.op == "call_function" and not node.users:
            graph.erase_node(node)
    is_whole = not builder.spoilt and not any(value.broken for value in outputs.values())
    for node in list(graph.nodes):
        if node.users or node is output or (node.op == "placeholder" and node.target in kept):
            continue
        if is_whole:
            _report_unread(assembly, builder, node, explicit)
        if node.op == "placeholder":
            graph.erase_node(node)
    module = Graph(builder.root, graph, "Graph")
    module.meta.update(
        {"origins": builder.origins, "outputs": tuple(results), "grids": builder.grids}
    )
    return module


def _report_unread(
    assembly: Assembly, builder: BodyBuilder, node: fx.Node, explicit: tuple[str, ...]
) -> None:
    name = str(node.target)
    if node.op != "placeholder":
        fix = "name it in the `in:` of another node or in `outputs`, or delete it"
        if builder.left_out:
            names = ", ".join(builder.left_out)
            fix += f"\n`when` leaves out {names}: its name then stands for its first input"
        problem = Problem("this node feeds nothing", fix=fix, code="unused")
        assembly.report(problem, (), builder.below(name), builder.origins.get(name))
    elif name in explicit and not builder.left_out:
        problem = Problem(
            f"nothing reads the input {name!r}",
            fix="name it in some node's `in:`, or leave it out",
            code="unused",
        )
        path = () if builder.path else ("model", "inputs", name)
        assembly.report(problem, path, builder.path or f"inputs.{name}")
