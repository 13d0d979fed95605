"""Attributes of a block that need not be stored: constants, second names, what only the constructor reads."""

import ast
import copy
from collections.abc import Mapping

from blocks.graph.emit.block import Block, Unit
from blocks.graph.emit.fold import PRESENT, assigned, is_own, pure


def settle_attributes(block: Block, foreign: set[str]) -> bool:
    """Whether anything changed.

    Args:
        block: a block that no other class of the file stands on.
        foreign: attributes that other functions read of something else than their own object.
    """
    start = block.units.get("__init__")
    if start is None or not block.plain:
        return False
    changed = False
    for statement in list(start.node.body):
        for name in _buffers(statement):
            changed |= block.known.get(name) is not PRESENT
            block.known[name] = PRESENT
            block.forget({name})
        empty = _empty_buffer(statement)
        if empty is not None:
            if empty not in foreign and not _read(block, empty):
                start.node.body.remove(statement)
            changed |= block.known.get(empty, PRESENT) is not None
            block.known[empty] = None
        target = statement.targets[0] if isinstance(statement, ast.Assign) else None
        if not (isinstance(target, ast.Attribute) and _stored(block, target.attr) == 1):
            continue
        value = statement.value  # type: ignore[attr-defined]
        if isinstance(value, ast.Constant):
            block.known[target.attr] = value.value
            start.node.body.remove(statement)
            changed = True
        elif isinstance(value, ast.Name) and start.gone.get(value.id) is PRESENT:
            changed |= block.known.get(target.attr) is not PRESENT
            block.known[target.attr] = PRESENT
    return _drop_second_names(block, start, foreign) or _drop_unread(block, start, foreign) or changed


def _stored(block: Block, attribute: str) -> int:
    return sum(isinstance(node, ast.Attribute) and node.attr == attribute and isinstance(node.ctx, ast.Store)
               for node in ast.walk(block.node))  # fmt: skip


def _read(block: Block, attribute: str) -> bool:
    return any(isinstance(node, ast.Attribute) and node.attr == attribute for node in ast.walk(block.node))


def _empty_buffer(statement: ast.stmt) -> str | None:
    """The name of a buffer that a statement registers as None."""
    call = statement.value if isinstance(statement, ast.Expr) else None
    if not isinstance(call, ast.Call) or ast.unparse(call.func) != "self.register_buffer":
        return None
    name, value = call.args[:2]
    none = isinstance(value, ast.Constant) and value.value is None
    return str(name.value) if none and isinstance(name, ast.Constant) else None


def _buffers(statement: ast.stmt) -> list[str]:
    """Names of the buffers that a statement registers and that are surely tensors: what a call gives."""
    call = statement.value if isinstance(statement, ast.Expr) else None
    if not isinstance(call, ast.Call) or ast.unparse(call.func) != "self.register_buffer":
        return []
    name, value = call.args[:2]
    return [str(name.value)] if isinstance(name, ast.Constant) and isinstance(value, ast.Call) else []


def _drop_second_names(block: Block, start: Unit, foreign: set[str]) -> bool:
    """Of two attributes that are the same parameter one is enough; the constructor reads the parameter itself."""
    own = {item.arg for item in start.parameters()} | {item.arg for item in start.node.args.kwonlyargs}
    own -= assigned(start.node.body)
    first: dict[str, str] = {}
    for statement in start.node.body:
        for target, value in pairs(statement):
            if not (isinstance(target, ast.Attribute) and isinstance(value, ast.Name) and value.id in own):
                continue
            if _stored(block, target.attr) > 1 or target.attr in foreign:
                continue
            if (kept := first.setdefault(value.id, target.attr)) != target.attr:
                _remove(statement, target, start.node.body)
                for node in ast.walk(block.node):
                    if isinstance(node, ast.Attribute) and node.attr == target.attr:
                        node.attr = kept
                return True
    names: dict[str, ast.expr] = {attribute: ast.Name(name, ast.Load()) for name, attribute in first.items()}
    return _write(start, names)


def _drop_unread(block: Block, start: Unit, foreign: set[str]) -> bool:
    """An attribute that only the constructor reads, and that is short, is written where it is read."""
    inside = {id(node) for node in ast.walk(start.node)}
    for statement in start.node.body:
        target, value = next(iter(pairs(statement)), (None, None))
        if isinstance(target, ast.Attribute) and isinstance(statement, ast.Assign) and target is statement.targets[0]:
            unread = sum(isinstance(node, ast.Attribute) and node.attr == target.attr for node in ast.walk(block.node))
            if unread == 1 and target.attr not in foreign and _only_reckons(block, statement.value):
                start.node.body.remove(statement)
                return True
        short = isinstance(value, ast.Name | ast.Tuple) and pure(value) and len(pairs(statement)) == 1
        if not (isinstance(target, ast.Attribute) and value is not None and short) or target.attr in foreign:
            continue
        found = [node for node in ast.walk(block.node) if isinstance(node, ast.Attribute) and node.attr == target.attr]
        names = {node.id for node in ast.walk(value) if isinstance(node, ast.Name)}
        if _stored(block, target.attr) > 1 or names & assigned(start.node.body):
            continue
        if all(id(node) in inside for node in found):
            start.node.body.remove(statement)
            _write(start, {target.attr: value})
            return True
    return False


def _only_reckons(block: Block, value: ast.expr) -> bool:
    """Whether an expression is a call of a method that only works something out."""
    own = isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute) and is_own(value.func)
    unit = block.units.get(value.func.attr) if own else None  # type: ignore[attr-defined]
    return unit is not None and all(
        isinstance(item, ast.Assign | ast.Return) and item.value is not None and pure(item.value)
        and not any(isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) for node in ast.walk(item))
        for item in unit.node.body
    )  # fmt: skip


def _write(start: Unit, values: Mapping[str, ast.expr]) -> bool:
    before = ast.dump(start.node)
    start.node.body = [_Values(values).visit(item) for item in start.node.body]
    return ast.dump(start.node) != before


class _Values(ast.NodeTransformer):
    """Attributes of self as what they are."""

    def __init__(self, values: Mapping[str, ast.expr]):
        self.values = values

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        self.generic_visit(node)
        known = is_own(node) and isinstance(node.ctx, ast.Load) and node.attr in self.values
        return copy.deepcopy(self.values[node.attr]) if known else node


def pairs(statement: ast.stmt) -> list[tuple[ast.expr, ast.expr]]:
    """What an assignment sets to what."""
    if not isinstance(statement, ast.Assign) or len(statement.targets) != 1:
        return []
    target, value = statement.targets[0], statement.value
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts):
        return list(zip(target.elts, value.elts, strict=True))
    return [(target, value)]


def _remove(statement: ast.stmt, target: ast.expr, body: list[ast.stmt]) -> None:
    """Take one target out of an assignment."""
    assert isinstance(statement, ast.Assign)
    kept = [(a, b) for a, b in pairs(statement) if a is not target]
    if not kept:
        body.remove(statement)
        return
    first, second = [a for a, _ in kept], [b for _, b in kept]
    statement.targets = [ast.Tuple(first, ast.Store()) if len(kept) > 1 else first[0]]
    statement.value = ast.Tuple(second, ast.Load()) if len(kept) > 1 else second[0]
