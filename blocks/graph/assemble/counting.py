"""How many innermost repeats a node has: `depth.count`."""

from collections.abc import Mapping

from blocks.graph.assemble.assembly import Assembly
from blocks.graph.assemble.body_builder import NodeSpec
from blocks.graph.assemble.kinds.repetition import read_repetition
from blocks.graph.assemble.kinds.template import open_body, resolve
from blocks.graph.errors import NodeError
from blocks.graph.language.copies import alter

DEEPEST = 32  # slots within slots


def count_innermost(assembly: Assembly, spec: NodeSpec, level: int = 0) -> int:
    """How many innermost repeats run inside a node, through the slots that it uses."""
    raw = spec.raw
    if not isinstance(raw, Mapping) or level > DEEPEST:
        return 0
    if "repeat" not in raw:
        inner = open_nodes(assembly, spec)
        return sum(count_innermost(assembly, node, level + 1) for node in inner)
    repetition = read_repetition(assembly, spec)
    if not repeats_inside(assembly, spec):
        return repetition.count
    total = 0
    for index in range(repetition.count):
        once = alter(spec, scope=repetition.enter(spec.scope, index))
        for node in open_nodes(assembly, once):
            total += count_innermost(assembly, node, level + 1)
    return total


def repeats_inside(assembly: Assembly, spec: NodeSpec, level: int = 0) -> bool:
    """Whether the body of a node repeats anything: its own repeats are not the innermost then."""
    if level > DEEPEST:
        return False
    for node in open_nodes(assembly, spec):
        if isinstance(node.raw, Mapping) and "repeat" in node.raw:
            return True
        if repeats_inside(assembly, node, level + 1):
            return True
    return False


def open_nodes(assembly: Assembly, spec: NodeSpec) -> list[NodeSpec]:
    """The nodes of the body that a node leads to; none for a block or a mistake, which is reported
    where the node is built.
    """
    if not isinstance(spec.raw, Mapping) or not {"body", "use"} & set(spec.raw):
        return []
    used = set(assembly.used_slots)
    try:
        resolved = resolve(assembly, spec, spec.scope)
        if "body" not in resolved.spec.raw:
            return []
        opened = open_body(assembly, resolved, spec.scope)
    except NodeError:
        return []
    finally:
        assembly.used_slots.intersection_update(used)  # to count a slot is not to use it
    if not isinstance(opened.nodes, Mapping):
        return []
    found = []
    for name, raw in opened.nodes.items():
        found.append(NodeSpec(raw, (*resolved.spec.path, "body", name), opened.scope))
    return found
