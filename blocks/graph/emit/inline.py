"""Functions that are called once, written where they are called."""

import ast
import copy
from collections import Counter
from collections.abc import Callable, Container, Iterator, Sequence

from blocks.graph.emit.block import Unit
from blocks.graph.emit.fold import first_done, is_own, substitute

LONGEST = 12  # statements; a longer function keeps its name and its docstring

Matches = Callable[[ast.Call], bool]


def calls_in(unit: Unit, matches: Matches) -> list[ast.Call]:
    return [node for node in ast.walk(unit.node) if isinstance(node, ast.Call) and matches(node)]


def put_in(caller: Unit, callee: Unit, matches: Matches) -> bool:
    """Write the body of `callee` in place of its only call; whether that can be done.

    It can where the call is what a statement does first, the function returns at its end alone, and no name of its
    own means something else behind the call.
    """
    body = callee.node.body
    inner = [node for item in body for node in ast.walk(item)]
    returns = [node for node in inner if isinstance(node, ast.Return)]
    odd = any(isinstance(node, ast.FunctionDef | ast.Lambda | ast.Yield | ast.Try) for node in inner)
    if odd or returns != body[-1:] or sum(isinstance(node, ast.stmt) for node in inner) > LONGEST:
        return False
    for place, at, behind in _places(caller.node.body, []):
        statement = place[at]
        call = _first(statement, matches)
        if isinstance(statement, ast.Assign | ast.Return) and call is not None:
            written = _written(caller, callee, statement, call, behind)
            if written is not None:
                place[at : at + 1] = written
            return written is not None
    return False


def _places(body: list[ast.stmt], behind: list[ast.stmt]) -> Iterator[tuple[list[ast.stmt], int, list[ast.stmt]]]:
    """Each statement as its list, its place, and all that may run after it."""
    for at, statement in enumerate(body):
        after = [*body[at + 1 :], *behind]
        yield body, at, after
        again = [statement] if isinstance(statement, ast.For | ast.While) else []
        for part in ("body", "orelse"):
            yield from _places(getattr(statement, part, []), [*again, *after])


def _written(caller: Unit, callee: Unit, statement: ast.Assign | ast.Return, call: ast.Call,
             behind: list[ast.stmt]) -> list[ast.stmt] | None:  # fmt: skip
    given = _bound(callee, call)
    if given is None:
        return None
    body = copy.deepcopy(callee.node.body)
    stored = _names(body, ast.Store)
    targets = _names([statement], ast.Store) if statement.value is call else set()
    before: list[ast.stmt] = []
    values: dict[str, ast.expr] = {}
    for name, value in given.items():
        read = [node for item in body for node in ast.walk(item) if isinstance(node, ast.Name) and node.id == name]
        same = isinstance(value, ast.Name) and value.id == name
        plain = isinstance(value, ast.Name | ast.Constant) or (isinstance(value, ast.Attribute) and is_own(value))
        first = any(node in ast.walk(body[0]) for node in read)
        if name not in stored and (plain or (len(read) == 1 and first)) and not _names([value], ast.Load) & stored:
            values[name] = value
        elif not same:
            before.append(ast.Assign([ast.Name(name, ast.Store())], value, lineno=0))
    own = (stored | {target.id for item in before for target in item.targets}) - targets  # type: ignore[attr-defined]
    arguments = {name for item in before for name in _names([item], ast.Load)}
    beside = Counter(_read([statement]))
    beside.subtract(_read([call]))
    if own & set(+beside):
        return None
    if any(_live(name, behind) for name in own) or own & (_shadowed(caller, statement) - set(given)):
        return None
    if len(before) > 1 and arguments & {target.id for item in before for target in item.targets}:  # type: ignore[attr-defined]
        return None
    if {target.id for item in before for target in item.targets} & _names([*values.values()], ast.Load):  # type: ignore[attr-defined]
        return None
    body = [substitute(item, values) for item in body]
    last = body.pop()
    assert isinstance(last, ast.Return)
    result = copy.copy(statement)
    assert statement.value is not None
    result.value = _Instead(call, last.value or ast.Constant(None)).visit(statement.value)
    return [ast.fix_missing_locations(item) for item in (*before, *body, result)]


def _first(statement: ast.stmt, matches: Matches) -> ast.Call | None:
    """The call that a statement does first."""
    for node in first_done(statement):
        if isinstance(node, ast.Call) and matches(node):
            return node
    return None


class _Instead(ast.NodeTransformer):
    def __init__(self, call: ast.Call, value: ast.expr):
        self.call, self.value = call, value

    def visit_Call(self, node: ast.Call) -> ast.AST:
        return self.value if node is self.call else self.generic_visit(node)


def _shadowed(caller: Unit, statement: ast.stmt) -> set[str]:
    """Names that mean something outside of the function and are read in it."""
    known = {item.arg for item in (*caller.parameters(), *caller.node.args.kwonlyargs)}
    return _names(caller.node.body, ast.Load) - _names(caller.node.body, ast.Store) - known - {"self"}


def _names(nodes: Sequence[ast.AST], context: type) -> set[str]:
    found = [node for item in nodes for node in ast.walk(item) if isinstance(node, ast.Name)]
    return {node.id for node in found if isinstance(node.ctx, context)}


def _read(nodes: Sequence[ast.AST]) -> list[str]:
    found = [node for item in nodes for node in ast.walk(item) if isinstance(node, ast.Name)]
    return [node.id for node in found if isinstance(node.ctx, ast.Load)]


def _live(name: str, behind: list[ast.stmt]) -> bool:
    """Whether what a name means now is read later."""
    for statement in behind:
        value = getattr(statement, "value", None)
        plain = isinstance(statement, ast.Assign) and value is not None
        if name in _names([value] if plain and value else [statement], ast.Load):
            return True
        if plain and name in _names([statement], ast.Store):
            return False
    return False


def _bound(callee: Unit, call: ast.Call) -> dict[str, ast.expr] | None:
    """Parameter -> what is given for it."""
    if callee.node.args.vararg or callee.node.args.kwarg:
        return None
    if any(isinstance(item, ast.Starred) for item in call.args) or any(item.arg is None for item in call.keywords):
        return None
    order = [item.arg for item in callee.parameters()]
    names = [*order, *(item.arg for item in callee.node.args.kwonlyargs)]
    given = dict(zip(order, call.args, strict=False)) | {str(item.arg): item.value for item in call.keywords}
    values = {name: given.get(name, callee.defaults().get(name)) for name in names}
    return None if None in values.values() else {name: value for name, value in values.items() if value is not None}


def drop_constant_results(callee: Unit, callers: list[Unit], matches: Matches) -> bool:
    """Leave out of the tuple that a function returns what is always the same constant; whether there is any."""
    returns = [node.value for node in ast.walk(callee.node) if isinstance(node, ast.Return)]
    if not returns or not all(isinstance(value, ast.Tuple) for value in returns):
        return False
    rows = [value.elts for value in returns if isinstance(value, ast.Tuple)]
    if len({len(row) for row in rows}) > 1:
        return False
    settled = {at: column[0] for at, column in enumerate(zip(*rows, strict=True))
               if isinstance(column[0], ast.Constant) and len({ast.dump(item) for item in column}) == 1}  # fmt: skip
    sites = [site for unit in callers for site in _sites(unit, matches)]
    if not settled or len(settled) == len(rows[0]) or len(sites) != sum(len(calls_in(u, matches)) for u in callers):
        return False
    for place, at, statement, target in reversed(sites):
        constants = [ast.Assign([target.elts[i]], copy.deepcopy(value), lineno=0) for i, value in settled.items()]
        target.elts = [item for i, item in enumerate(target.elts) if i not in settled]
        statement.targets = [_single(target)]
        place[at + 1 : at + 1] = [ast.fix_missing_locations(item) for item in constants]
    for node in ast.walk(callee.node):
        if isinstance(node, ast.Return) and isinstance(node.value, ast.Tuple):
            node.value.elts = [item for i, item in enumerate(node.value.elts) if i not in settled]
            node.value = _single(node.value)
    callee.node.returns = None if callee.node.returns is None else _result(callee.node.returns, settled)
    return True


def _sites(unit: Unit, matches: Matches) -> Iterator[tuple[list[ast.stmt], int, ast.Assign, ast.Tuple]]:
    """Statements `a, b = f(...)`, with their lists and places."""
    for place, at, _ in _places(unit.node.body, []):
        statement = place[at]
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Call) and matches(statement.value):
            target = statement.targets[0]
            if isinstance(target, ast.Tuple):
                yield place, at, statement, target


def _single(value: ast.Tuple) -> ast.expr:
    return value.elts[0] if len(value.elts) == 1 else value


def _result(annotation: ast.expr, settled: Container[int]) -> ast.expr | None:
    """`tuple[Tensor, Tensor | None]` without the settled ones."""
    parts = annotation.slice if isinstance(annotation, ast.Subscript) else None
    if not isinstance(annotation, ast.Subscript) or not isinstance(parts, ast.Tuple):
        return None
    parts.elts = [item for at, item in enumerate(parts.elts) if at not in settled]
    return parts.elts[0] if len(parts.elts) == 1 else annotation
