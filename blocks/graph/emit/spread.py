"""Names that stand for something short are written as what they stand for."""

import ast
from collections.abc import Sequence

from blocks.graph.emit.fold import first_done, is_constant, pure, substitute

LINE = 70
SHORT = 30  # characters of an expression that needs no name of its own


def spread(function: ast.FunctionDef) -> bool:
    """`b = a`, a tuple that is taken apart, a short value read once; whether there was one."""
    parameters = [item.arg for item in ast.walk(function.args) if isinstance(item, ast.arg)]
    stored = [*parameters, *(node.id for node in _names(function.body) if isinstance(node.ctx, ast.Store))]
    for at, statement in enumerate(function.body):
        if not isinstance(statement, ast.Assign) or len(statement.targets) > 1:
            continue
        target, value, after = statement.targets[0], statement.value, function.body[at + 1 :]
        if isinstance(target, ast.Tuple) and _drop_unread(target, statement, function):
            return True
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and _is_renaming(target, value):
            function.body[at : at + 1] = [
                ast.fix_missing_locations(ast.Assign([a], b, lineno=0))
                for a, b in zip(target.elts, value.elts, strict=True)
            ]
            return True
        if isinstance(target, ast.Name) and stored.count(target.id) == 1 and _goes_on(target.id, value, after):
            function.body[at : at + 2] = [substitute(after[0], {target.id: value})]
            return True
        if not isinstance(target, ast.Name) or stored.count(target.id) > 1 or not _is_free(value, target.id, after):
            continue
        read = sum(node.id == target.id for node in _names(after))
        if isinstance(value, ast.Tuple) and _taken_apart(after, target.id) == read:
            function.body[at + 1 :] = [_Part(target.id, value).visit(item) for item in after]
        elif is_constant(value) or isinstance(value, ast.Name) or (read == 1 and len(ast.unparse(value)) <= SHORT):
            function.body[at + 1 :] = [substitute(item, {target.id: value}) for item in after]
        else:
            continue
        del function.body[at]
        return True
    return False


def _goes_on(name: str, value: ast.expr, after: list[ast.stmt]) -> bool:
    """Whether the next statement alone reads a value, first of all, and both fit into a line."""
    if not after or sum(node.id == name for node in _names(after)) != 1:
        return False
    first = any(isinstance(node, ast.Name) and node.id == name for node in first_done(after[0]))
    return first and not isinstance(value, ast.BinOp) and len(ast.unparse(substitute(after[0], {name: value}))) <= LINE


def _is_renaming(target: ast.Tuple, value: ast.Tuple) -> bool:
    """`a, b = c, c`: other names for what has one."""
    names = all(isinstance(node, ast.Name) for node in (*target.elts, *value.elts))
    return names and not {ast.unparse(node) for node in target.elts} & {ast.unparse(node) for node in value.elts}


def _is_free(value: ast.expr, name: str, after: list[ast.stmt]) -> bool:
    """Whether an expression means the same wherever its name is read."""
    changed = {node.id for node in _names(after) if isinstance(node.ctx, ast.Store)}
    read = {node.id for node in _names(after)}
    return pure(value) and not {node.id for node in _names([value])} & changed and (
        name in read and (is_constant(value) or not _looped(after, name))
    )  # fmt: skip


def _names(nodes: Sequence[ast.AST]) -> list[ast.Name]:
    return [node for item in nodes for node in ast.walk(item) if isinstance(node, ast.Name)]


def _looped(body: list[ast.stmt], name: str) -> bool:
    """Whether a loop or a function reads a name, which might then be a value worked out again and again."""
    kinds = (ast.For, ast.While, ast.FunctionDef, ast.Lambda, ast.GeneratorExp, ast.ListComp)
    return any(node.id == name for item in body for part in ast.walk(item) if isinstance(part, kinds)
               for node in _names([part]))  # fmt: skip


def _taken_apart(body: list[ast.stmt], name: str) -> int:
    """How often a tuple is read by a constant index, or as a whole into names."""
    found = 0
    for node in (node for item in body for node in ast.walk(item)):
        apart = isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant)
        apart |= isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Tuple)
        whole = node.value if isinstance(node, ast.Subscript | ast.Assign) else None
        found += apart and isinstance(whole, ast.Name) and whole.id == name
    return found


class _Part(ast.NodeTransformer):
    def __init__(self, name: str, value: ast.Tuple):
        self.name, self.value = name, value

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        if isinstance(node.value, ast.Name) and node.value.id == self.name and isinstance(node.slice, ast.Constant):
            return self.value.elts[node.slice.value]  # type: ignore[index]
        return self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return self.value if node.id == self.name else node


def _drop_unread(target: ast.Tuple, statement: ast.Assign, function: ast.FunctionDef) -> bool:
    """Leave out of `a, b = x, y` what nobody reads."""
    value = statement.value
    if not isinstance(value, ast.Tuple) or len(value.elts) != len(target.elts):
        return False
    read = {node.id for node in _names(function.body) if isinstance(node.ctx, ast.Load)}
    pairs = list(zip(target.elts, value.elts, strict=True))
    kept = [(a, b) for a, b in pairs if not (isinstance(a, ast.Name) and a.id not in read and pure(b))]
    if len(kept) == len(pairs) or not kept:
        return False
    first, second = [a for a, _ in kept], [b for _, b in kept]
    statement.targets = [ast.Tuple(first, ast.Store()) if len(kept) > 1 else first[0]]
    statement.value = ast.Tuple(second, ast.Load()) if len(kept) > 1 else second[0]
    return True
