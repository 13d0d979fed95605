"""Leave out options of blocks that a model does not use: switches that are the same everywhere."""

import ast
import copy
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from blocks.graph.describe.emit.text import is_docstring

UNKNOWN = object()  # a value that is no switch


@dataclass
class Uses:
    """How the model uses a block: the arguments of each instance, and the inputs that are given."""

    made: list[Mapping[str, Any]] = field(default_factory=list)
    ports: set[str] | None = None


def drop_options(
    body: list[Any], uses: Mapping[str, Uses]
) -> tuple[list[Any], dict[str, set[str]]]:
    """Settle what is the same everywhere, until nothing changes.

    Args:
        body: the definitions of the blocks and of what they need.
        uses: the name of a block -> how the model uses it.

    Returns:
        The definitions that are left, and the parameters that each constructor no longer takes.
    """
    gone: dict[str, set[str]] = {}
    before = ""
    while before != (before := ast.dump(ast.Module(body, []))):
        mentions = Mentions(body)
        for node in list(body):
            if isinstance(node, ast.FunctionDef):
                _settle_function(node, mentions.calls(node.name, ""), [], body)
            elif isinstance(node, ast.ClassDef):
                _settle_class(node, uses, body, mentions, gone)
        for function in _each(body, ast.FunctionDef):
            _settle_variables(function)
        body = _without_unread([_Fold().visit(node) for node in body], uses)
    return body, gone


def _each(body: list[Any], kind: type) -> Iterator[Any]:
    for node in body:
        for item in ast.walk(node):
            if isinstance(item, kind):
                yield item


def _switch(node: Any) -> Any:
    """The value of a constant that can be a switch."""
    if isinstance(node, ast.Constant) and isinstance(node.value, bool | str | None.__class__):
        return node.value
    return UNKNOWN


def _count(node: ast.AST, name: str, context: type) -> int:
    return sum(
        item.id == name and isinstance(item.ctx, context) for item in _each([node], ast.Name)
    )


class _Write(ast.NodeTransformer):
    """Write an expression in place of others."""

    def __init__(
        self, value: ast.expr, name: str = "", attribute: str = "", call: ast.Call | None = None
    ):
        self.value, self.name, self.attribute, self.call = value, name, attribute, call

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return self.value if node.id == self.name and isinstance(node.ctx, ast.Load) else node

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        self.generic_visit(node)
        return (
            self.value if node.attr == self.attribute and isinstance(node.ctx, ast.Load) else node
        )

    def visit_Call(self, node: ast.Call) -> ast.AST:
        return self.value if node is self.call else self.generic_visit(node)


# ---------------------------------------------------------------------- functions


class Mentions:
    """Where functions, methods and classes are mentioned and called."""

    def __init__(self, body: list[Any]):
        self.found: dict[tuple[str, str], list[ast.Call | None]] = {}
        self.bases = {
            ast.unparse(base) for node in _each(body, ast.ClassDef) for base in node.bases
        }
        self.defined = [node.name for node in _each(body, ast.FunctionDef)]
        called = {id(call.func): call for call in _each(body, ast.Call)}
        for item in _each(body, ast.Name):
            self.found.setdefault((item.id, ""), []).append(called.get(id(item)))
        for item in _each(body, ast.Attribute):
            self.found.setdefault(("", item.attr), []).append(called.get(id(item)))

    def calls(self, name: str, attribute: str) -> list[ast.Call] | None:
        """The calls of a function or method; None where it is mentioned otherwise."""
        calls: Any = self.found.get((name, attribute), [])
        return None if None in calls else calls


def _settle_class(
    node: ast.ClassDef, uses: Mapping[str, Uses], body: list[Any], mentions: Mentions, gone: Any
) -> None:
    used, is_base = uses.get(node.name, Uses()), node.name in mentions.bases
    for item in list(node.body):
        if not isinstance(item, ast.FunctionDef) or item.decorator_list:
            continue
        if item.name == "__init__":
            if not is_base and mentions.calls(node.name, "") == []:
                gone.setdefault(node.name, set()).update(
                    _settle_function(item, [], used.made, body)
                )
                _settle_attributes(node, item, body)
        elif item.name == "forward":
            if not is_base and used.ports is not None and mentions.calls("", "forward") == []:
                _settle_function(item, [], [dict.fromkeys(used.ports, UNKNOWN)], body)
        elif mentions.defined.count(item.name) == 1:
            _settle_function(item, mentions.calls("", item.name), [], body)


def _settle_function(
    node: ast.FunctionDef,
    calls: list[ast.Call] | None,
    uses: list[Mapping[str, Any]],
    body: list[Any],
) -> list[str]:
    """Write the parameters of a function that are the same switch in all calls; their names."""
    if calls is None or not (calls or uses) or node.args.vararg or node.args.kwarg:
        return []
    names = [item.arg for item in node.args.args if item.arg != "self"]
    given = list(uses)
    for call in calls:
        words = {str(word.arg): word.value for word in call.keywords}
        if "None" in words or any(isinstance(item, ast.Starred) for item in call.args):
            return []
        given.append(dict(zip(names, call.args, strict=False)) | words)
    settled = []
    for name, default in _defaults(node).items():
        values = []
        for arguments in given:
            value = arguments.get(name, default)
            values.append(_switch(value if isinstance(value, ast.AST) else ast.Constant(value)))
        alike = all(type(value) is type(values[0]) and value == values[0] for value in values)
        if alike and values[0] is not UNKNOWN and _settle_parameter(node, name, values[0]):
            settled.append(name)
            for call in calls:
                call.keywords = [word for word in call.keywords if word.arg != name]
                if name in names:
                    del call.args[names.index(name) : names.index(name) + 1]
            names = [other for other in names if other != name]
    _settle_result(node, calls, body)
    return settled


def _defaults(node: ast.FunctionDef) -> dict[str, Any]:
    """The parameters of a function that may be switches, with their defaults."""
    arguments = node.args
    positional = [item for item in arguments.args if item.arg != "self"]
    usual: list[Any] = [UNKNOWN] * (len(positional) - len(arguments.defaults)) + arguments.defaults
    found = {}
    for item, default in [
        *zip(positional, usual, strict=True),
        *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True),
    ]:
        text = ast.unparse(item.annotation) if item.annotation else ""
        if not text.startswith(("str", "int")) or "None" in text:
            found[item.arg] = default or UNKNOWN
    return found


def _settle_parameter(node: ast.FunctionDef, name: str, value: Any) -> bool:
    """Write a switch where a parameter is read; False where the function gives it another value."""
    if sum(item.arg == name for item in _each([node], ast.arg)) > 1:
        return False
    trial = copy.deepcopy(node)
    for function in (trial, node):
        _Fold().visit(_Write(ast.Constant(value), name).visit(function))
        if _count(function, name, ast.Store):
            return False
    arguments = node.args
    for index, item in enumerate(arguments.args):
        if item.arg == name:
            behind = len(arguments.args) - index
            if behind <= len(arguments.defaults):
                del arguments.defaults[-behind]
            del arguments.args[index]
    for index, item in enumerate(arguments.kwonlyargs):
        if item.arg == name:
            del arguments.kwonlyargs[index], arguments.kw_defaults[index]
    return True


def _settle_result(node: ast.FunctionDef, calls: list[ast.Call], body: list[Any]) -> None:
    """Write a result that is always the same switch where the function is called."""
    results = [item.value for item in _each([node], ast.Return)]
    parts = [item.elts if isinstance(item, ast.Tuple) else [item] for item in results]
    nested = sum(1 for _ in _each([node], ast.FunctionDef)) > 1
    if (
        nested
        or not (calls and isinstance(node.body[-1], ast.Return))
        or len({len(part) for part in parts}) > 1
    ):
        return
    shown: list[Any] = []
    for column in zip(*parts, strict=True):
        values = set(map(_switch, column))
        shown.append(None if len(values) > 1 or UNKNOWN in values else ast.Constant(values.pop()))
    if shown.count(None) == 1 and len(shown) > 1:
        at = shown.index(None)
        for item, part in zip(_each([node], ast.Return), parts, strict=True):
            item.value = part[at]
        if isinstance(node.returns, ast.Subscript):
            node.returns = node.returns.slice.elts[at]  # type: ignore[attr-defined]
    elif None in shown or not all(
        isinstance(item, ast.Assign | ast.Return) or is_docstring(item) for item in node.body
    ):
        return
    for call in calls:
        elements = [item or call for item in shown]
        value = ast.Tuple(elements, ast.Load()) if len(elements) > 1 else elements[0]
        body[:] = [_Write(value, call=call).visit(item) for item in body]


# ---------------------------------------------------------------------- variables and attributes


def _pairs(node: Any) -> list[tuple[Any, Any]]:
    """Targets and values of an assignment."""
    if not isinstance(node, ast.Assign) or len(node.targets) != 1:
        return []
    target, value = node.targets[0], node.value
    if (
        isinstance(target, ast.Tuple)
        and isinstance(value, ast.Tuple)
        and len(target.elts) == len(value.elts)
    ):
        return list(zip(target.elts, value.elts, strict=True))
    return [(target, value)]


def _drop_target(body: list[Any], target: ast.expr) -> None:
    """Leave out one target of an assignment, with its value."""
    for node in list(body):
        kept = [pair for pair in _pairs(node) if pair[0] is not target]
        if len(kept) == len(_pairs(node)):
            continue
        if not kept:
            body.remove(node)
        elif len(kept) == 1:
            node.targets, node.value = [kept[0][0]], kept[0][1]
        else:
            node.targets[0].elts, node.value.elts = map(list, zip(*kept, strict=True))


def _settle_variables(function: ast.FunctionDef) -> None:
    """Write a switch where its variable is read; leave out variables that nothing reads."""
    for node in list(function.body):
        for target, value in _pairs(node):
            if not isinstance(target, ast.Name) or _count(function, target.id, ast.Store) > 1:
                continue
            if any(item.arg == target.id for item in _each([function], ast.arg)):
                continue
            if _switch(value) is not UNKNOWN:
                _Write(value, target.id).visit(function)
            if not _count(function, target.id, ast.Load) and not any(_each([value], ast.Call)):
                _drop_target(function.body, target)


def _settle_attributes(owner: ast.ClassDef, start: ast.FunctionDef, body: list[Any]) -> None:
    """Write a switch where the attribute that holds it is read."""
    texts = {item.value for item in _each(body, ast.Constant)}
    if [ast.unparse(base) for base in owner.bases] != ["nn.Module"]:
        return
    stored = [
        item.attr for item in _each([owner], ast.Attribute) if isinstance(item.ctx, ast.Store)
    ]
    for node in list(start.body):
        for target, value in _pairs(node):
            if (
                not isinstance(target, ast.Attribute)
                or _switch(value) is UNKNOWN
                or stored.count(target.attr) > 1
            ):
                continue
            readers = [item for item in _each(body, ast.Attribute) if item.attr == target.attr]
            if target.attr not in texts and all(
                ast.unparse(item.value) == "self" for item in readers
            ):
                _Write(value, attribute=target.attr).visit(owner)
                _drop_target(start.body, target)


# ---------------------------------------------------------------------- what is left


class _Fold(ast.NodeTransformer):
    """Decide tests of constants, and leave out what then cannot run."""

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        self.generic_visit(node)
        kept: list[ast.expr] = []
        for item in node.values:
            value = _switch(item)
            if (
                item is node.values[-1]
                or value is UNKNOWN
                or bool(value) is isinstance(node.op, ast.Or)
            ):
                kept.append(item)
            if value is not UNKNOWN and bool(value) is isinstance(node.op, ast.Or):
                break
        return ast.BoolOp(node.op, kept) if len(kept) > 1 else kept[0]

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        self.generic_visit(node)
        value = _switch(node.operand)
        return (
            ast.Constant(not value)
            if isinstance(node.op, ast.Not) and value is not UNKNOWN
            else node
        )

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        self.generic_visit(node)
        left, right, operator = _switch(node.left), _switch(node.comparators[0]), node.ops[0]
        if UNKNOWN in (left, right) or not isinstance(
            operator, ast.Is | ast.IsNot | ast.Eq | ast.NotEq
        ):
            return node
        return ast.Constant((left == right) is isinstance(operator, ast.Is | ast.Eq))

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
        self.generic_visit(node)
        value = _switch(node.test)
        if value is UNKNOWN:
            return node
        return node.body if value else node.orelse

    def visit_If(self, node: ast.If) -> Any:
        node.test = self.visit(node.test)
        node.body, node.orelse = self._body(node.body), self._body(node.orelse)
        value = _switch(node.test)
        if value is not UNKNOWN:
            return node.body if value else node.orelse
        node.body = node.body or [ast.Pass()]
        return node

    def visit_For(self, node: ast.For) -> ast.AST:
        node.body, node.orelse = self._body(node.body) or [ast.Pass()], self._body(node.orelse)
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.body = self._body(node.body) or [ast.Pass()]
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """Leave out arguments of torch that are what they are when left out."""
        self.generic_visit(node)
        place = ast.unparse(node.func).rpartition(".")
        known: Mapping[str, Any] = {}
        if place[0] == "nn" and hasattr(nn, place[2]):
            known = inspect.signature(getattr(nn, place[2])).parameters
        for word in list(node.keywords):
            value = _switch(word.value)
            usual = known[str(word.arg)].default is value if word.arg in known else False
            switch = value is False and word.arg in ("is_causal", "enable_gqa")
            if usual or (place[0] in ("torch", "F") and (value is None or switch)):
                node.keywords.remove(word)
        return node

    def _body(self, body: list[Any]) -> list[Any]:
        kept: list[Any] = []
        for node in body:
            found = self.visit(node)
            kept += found if isinstance(found, list) else [found]
            if kept and isinstance(kept[-1], ast.Return | ast.Raise):
                break
        return kept


def _without_unread(body: list[Any], uses: Mapping[str, Uses]) -> list[Any]:
    """Leave out what nothing refers to, and constructors that do nothing."""
    asked = {item.attr for item in _each(body, ast.Attribute)}
    for owner in _each(body, ast.ClassDef):
        for item in [item for item in owner.body if isinstance(item, ast.FunctionDef)]:
            parameters = len(item.args.args) + len(item.args.kwonlyargs)
            empty = parameters == 1 and [ast.unparse(line) for line in item.body] == [
                "super().__init__()"
            ]
            if empty or not (
                item.name in asked or hasattr(nn.Module, item.name) or item.name.startswith("__")
            ):
                owner.body.remove(item)
    kept = []
    for node in body:
        names = {getattr(node, "name", None)}
        if isinstance(node, ast.Assign | ast.AnnAssign):
            names = {item.id for item in _each([node], ast.Name) if isinstance(item.ctx, ast.Store)}
        others = _each([item for item in body if item is not node], ast.Name)
        if names & set(uses) or any(item.id in names for item in others):
            kept.append(node)
    for function in _each(kept, ast.FunctionDef):
        tuples = [item for item in _each([function], ast.Return) if any(_each([item], ast.Tuple))]
        if (
            isinstance(function.returns, ast.BinOp)
            and not tuples
            and "| tuple[" in ast.unparse(function.returns)
        ):
            function.returns = function.returns.left
    return kept
