"""Inputs that a template hands on to those of its nodes that use a slot and take them by name."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from blocks.graph.assemble.assembly import Assembly
from blocks.graph.assemble.body_builder import NodeSpec
from blocks.graph.assemble.context import mentions
from blocks.graph.assemble.kinds.template import resolve
from blocks.graph.errors import NodeError, Problem, did_you_mean
from blocks.graph.language.scope import Scope
from blocks.graph.language.signature import signature_of


def hand_on(
    assembly: Assembly,
    template: Mapping[str, Any],
    extras: tuple[str, ...],
    scope: Scope,
    label: str,
) -> dict[str, Any]:
    """The body of a template in which every input after the first reaches the nodes that take it.

    Args:
        extras: names of those inputs.

    Raises:
        NodeError: an input that nothing in the body takes.
    """
    ports = {}
    for name, raw in template["body"].items():
        ports[name] = _find_ports(assembly, raw, scope, set())
    taken = _names_read(template).union(*ports.values())
    _check_extras(extras, taken, label)
    result = {}
    for name, raw in template["body"].items():
        result[name] = _with_extras(raw, extras, ports[name])
    return result


def _with_extras(raw: Any, extras: tuple[str, ...], ports: set[str]) -> Any:
    """A node that reads those of the extra inputs that it takes and does not name itself."""
    if not ports:
        return raw
    flow = raw.get("in", {})
    if isinstance(flow, str):
        flow = {"x": flow}
    if not isinstance(flow, Mapping):
        return raw
    more = {extra: extra for extra in extras if extra in ports and extra not in flow}
    if not more:
        return raw
    return {**raw, "in": {**flow, **more}}


def _check_extras(extras: tuple[str, ...], taken: set[str], label: str) -> None:
    problems = []
    for extra in extras:
        if extra not in taken:
            problems.append(
                Problem(
                    f"{label} has no input {extra!r}",
                    got=f"in: {{{extra}: ...}}",
                    fits=did_you_mean(extra, taken - {"x"}),
                    code="unknown-name",
                )
            )
    if problems:
        raise NodeError(*problems)


def _names_read(template: Mapping[str, Any]) -> set[str]:
    """What the nodes and outputs of a body read that is no node of it."""
    body = template["body"]
    read = set()
    for node in [*body.values(), {"in": template.get("outputs")}]:
        for reference in mentions(node):
            read.add(reference.partition(".")[0])
    return read - set(map(str, body))


def _find_ports(assembly: Assembly, raw: Any, scope: Scope, seen: set[Any]) -> set[str]:
    """The names of the inputs of what stands at a node that uses a slot; none for other nodes."""
    if not isinstance(raw, Mapping) or "use" not in raw:
        return set()
    try:
        target = resolve(assembly, NodeSpec(raw, (), scope), scope).spec
    except (NodeError, RecursionError):
        return set()
    block = target.raw.get("block")
    if block is not None:
        if block not in assembly.catalog:
            return set()
        return {port.name for port in signature_of(block, assembly.catalog[block]).ports}
    return _find_ports_of_body(assembly, raw, target, scope, seen)


def _find_ports_of_body(
    assembly: Assembly, raw: Mapping[str, Any], target: NodeSpec, scope: Scope, seen: set[Any]
) -> set[str]:
    body = target.raw.get("body")
    holes = target.raw.get("holes") or {}
    fillings = {}
    for hole in holes:
        filled = raw.get(hole)
        if not filled and isinstance(holes, Mapping):
            filled = holes[hole]
        if isinstance(filled, Mapping):
            fillings[hole] = NodeSpec(filled, (), scope)
    key = id(target.raw), *((hole, id(spec.raw)) for hole, spec in fillings.items())
    if key in seen or not isinstance(body, Mapping):
        return set()
    seen.add(key)
    found = _names_read(target.raw)
    inner = replace(target.scope, holes=fillings)
    for node in body.values():
        found |= _find_ports(assembly, node, inner, seen)
    return found
