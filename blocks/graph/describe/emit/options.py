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
STEP = (ast.Assign, ast.Return)


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
        mentions = _Mentions(body)
        for node in list(body):
            if isinstance(node, ast.FunctionDef):
                _settle_function(node, mentions.calls(node.name, ""), [], body)
            elif isinstance(node, ast.ClassDef):
                _settle_class(node, uses.get(node.name, Uses()), body, mentions, gone)
        for function in _each(body, ast.FunctionDef):
            _settle_variables(function)
        body = _without_unread(list(map(_Fold().visit, body)), uses)
    return body, gone


def _each(body: list[Any], kind: type) -> Iterator[Any]:
    for node in body:
        for item in ast.walk(node):
            if isinstance(item, kind):
                yield item


def _names(body: list[Any], context: type) -> list[str]:
    """The variables that statements read (`ast.Load`) or give a value (`ast.Store`)."""
    return [item.id for item in _each(body, ast.Name) if isinstance(item.ctx, context)]


def _parameters(function: ast.FunctionDef) -> list[str]:
    """The parameters of a function, and of those inside it."""
    return [item.arg for item in _each([function], ast.arg)]


def _switch(node: Any) -> Any:
    """The value of a constant that can be a switch."""
    if isinstance(node, ast.Constant) and isinstance(node.value, bool | str | None.__class__):
        return node.value
    return UNKNOWN


class _Write(ast.NodeTransformer):
    """Write an expression where a name, an attribute or a call stands."""

    def __init__(
        self, value: Any, name: str = "", attribute: str = "", call: ast.Call | None = None
    ):
        self.value, self.name, self.attribute, self.call = value, name, attribute, call

    def visit_Name(self, node: ast.Name) -> Any:
        if node.id == self.name and isinstance(node.ctx, ast.Load):
            return self.value
        return node

    def visit_Attribute(self, node: ast.Attribute) -> Any:
        self.generic_visit(node)
        if node.attr == self.attribute and isinstance(node.ctx, ast.Load):
            return self.value
        return node

    def visit_Call(self, node: ast.Call) -> Any:
        if node is self.call:
            return self.value
        return self.generic_visit(node)


# ---------------------------------------------------------------------- functions


class _Mentions:
    """Where functions, methods and classes are mentioned and called."""

    def __init__(self, body: list[Any]):
        self.found: dict[tuple[str, str], list[ast.Call | None]] = {}
        self.functions: list[str] = []
        self.bases: list[str] = []
        called = {}
        for node in _each(body, ast.AST):
            if isinstance(node, ast.Call):
                called[node.func] = node
            elif isinstance(node, ast.FunctionDef):
                self.functions.append(node.name)
            elif isinstance(node, ast.ClassDef):
                self.bases += map(ast.unparse, node.bases)
            elif isinstance(node, ast.Name | ast.Attribute):
                key = getattr(node, "id", ""), getattr(node, "attr", "")
                self.found.setdefault(key, []).append(called.get(node))

    def calls(self, name: str, attribute: str) -> list[Any] | None:
        """The calls of a function or method; None where it is mentioned otherwise."""
        calls = self.found.get((name, attribute), [])
        return None if None in calls else calls


def _settle_class(
    node: ast.ClassDef,
    used: Uses,
    body: list[Any],
    mentions: _Mentions,
    gone: dict[str, set[str]],
) -> None:
    final = node.name not in mentions.bases
    for item in list(node.body):
        if not isinstance(item, ast.FunctionDef) or item.decorator_list:
            continue
        if item.name == "__init__":
            if final and mentions.calls(node.name, "") == []:
                settled = _settle_function(item, [], used.made, body)
                gone.setdefault(node.name, set()).update(settled)
                _settle_attributes(node, item, body)
        elif item.name == "forward":
            if final and used.ports is not None and mentions.calls("", "forward") == []:
                _settle_function(item, [], [dict.fromkeys(used.ports, UNKNOWN)], body)
        elif mentions.functions.count(item.name) == 1:
            _settle_function(item, mentions.calls("", item.name), [], body)


def _settle_function(
    node: ast.FunctionDef,
    calls: list[Any] | None,
    uses: list[Mapping[str, Any]],
    body: list[Any],
) -> list[str]:
    """Write the parameters of a function that are the same switch in all calls; their names."""
    if calls is None or not (calls or uses) or node.args.vararg or node.args.kwarg:
        return []
    names = [item.arg for item in node.args.args if item.arg != "self"]
    given = list(uses)
    for call in calls:
        arguments = dict(zip(names, call.args, strict=False))
        for word in call.keywords:
            arguments[word.arg] = word.value
        if None in arguments or any(_each(call.args, ast.Starred)):
            return []
        given.append(arguments)
    settled = []
    for name, default in defaults_of(node).items():
        values = []
        for known in given:
            value = known.get(name, default)
            if not isinstance(value, ast.AST):
                value = ast.Constant(value)
            values.append((type(_switch(value)), _switch(value)))
        if set(values) != {values[0]} or not _settle_parameter(node, name, values[0][1]):
            continue
        settled.append(name)
        for call in calls:
            call.keywords = [word for word in call.keywords if word.arg != name]
            if name in names:
                del call.args[names.index(name) : names.index(name) + 1]
        if name in names:
            names.remove(name)
    if calls:
        _settle_result(node, calls, body)
    return settled


def defaults_of(node: ast.FunctionDef) -> dict[str, Any]:
    """The parameters of a function with their defaults, `UNKNOWN` where they have none."""
    arguments = node.args
    usual = [UNKNOWN] * (len(arguments.args) - len(arguments.defaults)) + arguments.defaults
    pairs: list[Any] = list(zip(arguments.args, usual, strict=True))
    pairs += zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    found = {}
    for item, default in pairs:
        if item.arg != "self":
            found[item.arg] = default or UNKNOWN
    return found


def _settle_parameter(node: ast.FunctionDef, name: str, value: Any) -> bool:
    """Write a switch where a parameter is read; False where the function may give it a value."""
    if value is UNKNOWN or _parameters(node).count(name) > 1:
        return False
    if isinstance(value, str) and not _is_choice(node, name):
        return False
    for function in (copy.deepcopy(node), node):
        _Fold().visit(_Write(ast.Constant(value), name).visit(function))
        if name in _names([function], ast.Store):
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


def _is_choice(node: ast.FunctionDef, name: str) -> bool:
    """Whether a parameter takes one of several words."""
    kinds = [item.annotation for item in _each([node], ast.arg) if item.arg == name]
    return "Literal" in ast.unparse(kinds[0] or ast.Constant(None))


def _settle_result(node: ast.FunctionDef, calls: list[ast.Call], body: list[Any]) -> None:
    """Write a result that is always the same switch where the function is called."""
    returns = list(_each([node], ast.Return))
    if not isinstance(node.body[-1], ast.Return) or len(list(_each([node], ast.FunctionDef))) > 1:
        return
    parts = []
    for item in returns:
        parts.append(item.value.elts if isinstance(item.value, ast.Tuple) else [item.value])
    if len(set(map(len, parts))) > 1:
        return
    shown: list[Any] = []
    for column in zip(*parts, strict=True):
        values = set(map(_switch, column))
        shown.append(ast.Constant(values.pop()) if len(values) == 1 else None)
        if getattr(shown[-1], "value", None) is UNKNOWN:
            shown[-1] = None
    if shown.count(None) == 1 and len(shown) > 1:
        at = shown.index(None)
        for item, part in zip(returns, parts, strict=True):
            item.value = part[at]
        if isinstance(node.returns, ast.Subscript):
            node.returns = node.returns.slice.elts[at]  # type: ignore[attr-defined]
    elif None in shown:
        return
    else:
        for statement in node.body:
            if not (isinstance(statement, STEP) or is_docstring(statement)):
                return
    for call in calls:
        value: Any = ast.Tuple([item or call for item in shown], ast.Load())
        if len(shown) == 1:
            value = shown[0]
        body[:] = map(_Write(value, call=call).visit, body)


# ---------------------------------------------------------------------- variables and attributes


def pairs_of(node: Any) -> list[tuple[Any, Any]]:
    """Targets and values of an assignment."""
    if not isinstance(node, ast.Assign) or len(node.targets) != 1:
        return []
    target, value = node.targets[0], node.value
    if not isinstance(target, ast.Tuple) or not isinstance(value, ast.Tuple):
        return [(target, value)]
    if len(target.elts) != len(value.elts):
        return [(target, value)]
    return list(zip(target.elts, value.elts, strict=True))


def _drop_target(body: list[Any], target: ast.expr) -> None:
    """Leave out one target of an assignment, with its value."""
    for node in list(body):
        pairs = pairs_of(node)
        kept = [pair for pair in pairs if pair[0] is not target]
        if not kept and pairs:
            body.remove(node)
        elif len(kept) == 1:
            node.targets, node.value = [kept[0][0]], kept[0][1]
        elif len(kept) < len(pairs):
            node.targets[0].elts, node.value.elts = map(list, zip(*kept, strict=True))


def _settle_variables(function: ast.FunctionDef) -> None:
    """Write a switch where its variable is read; leave out variables that nothing reads."""
    for node in list(function.body):
        for target, value in pairs_of(node):
            if not isinstance(target, ast.Name) or target.id in _parameters(function):
                continue
            if _names([function], ast.Store).count(target.id) > 1:
                continue
            if _switch(value) is not UNKNOWN:
                _Write(value, target.id).visit(function)
            if target.id not in _names([function], ast.Load) and not any(_each([value], ast.Call)):
                _drop_target(function.body, target)


def _settle_attributes(owner: ast.ClassDef, start: ast.FunctionDef, body: list[Any]) -> None:
    """Write a switch where the attribute that holds it is read."""
    if list(map(ast.unparse, owner.bases)) != ["nn.Module"]:
        return
    texts = {item.value for item in _each(body, ast.Constant)}
    stored, elsewhere = [], set()
    for item in _each(body, ast.Attribute):
        if ast.unparse(item.value) != "self":
            elsewhere.add(item.attr)
    for item in _each([owner], ast.Attribute):
        if isinstance(item.ctx, ast.Store):
            stored.append(item.attr)
    for node in list(start.body):
        for target, value in pairs_of(node):
            name = getattr(target, "attr", None)
            if name is None or _switch(value) is UNKNOWN or stored.count(name) > 1:
                continue
            if name not in texts and name not in elsewhere:
                _Write(value, attribute=name).visit(owner)
                _drop_target(start.body, target)


# ---------------------------------------------------------------------- what is left


class _Fold(ast.NodeTransformer):
    """Decide tests of constants, and leave out what then cannot run."""

    def visit_BoolOp(self, node: ast.BoolOp) -> Any:
        self.generic_visit(node)
        kept: list[ast.expr] = []
        for item in node.values:
            value = _switch(item)
            decides = value is not UNKNOWN and bool(value) is isinstance(node.op, ast.Or)
            if decides or value is UNKNOWN or item is node.values[-1]:
                kept.append(item)
            if decides:
                break
        return ast.BoolOp(node.op, kept) if len(kept) > 1 else kept[0]

    def visit_UnaryOp(self, node: ast.UnaryOp) -> Any:
        self.generic_visit(node)
        value = _switch(node.operand)
        if isinstance(node.op, ast.Not) and value is not UNKNOWN:
            return ast.Constant(not value)
        return node

    def visit_Compare(self, node: ast.Compare) -> Any:
        self.generic_visit(node)
        left, right = _switch(node.left), _switch(node.comparators[0])
        known = isinstance(node.ops[0], ast.Is | ast.IsNot | ast.Eq | ast.NotEq)
        if UNKNOWN in (left, right) or not known:
            return node
        return ast.Constant((left == right) is isinstance(node.ops[0], ast.Is | ast.Eq))

    def visit_IfExp(self, node: ast.IfExp) -> Any:
        self.generic_visit(node)
        value = _switch(node.test)
        if value is UNKNOWN:
            return node
        return node.body if value else node.orelse

    def visit_If(self, node: ast.If) -> Any:
        node.test = self.visit(node.test)
        body, node.orelse = self._body(node.body), self._body(node.orelse)
        value = _switch(node.test)
        if value is not UNKNOWN:
            return body if value else node.orelse
        node.body = body or [ast.Pass()]
        return node

    def visit_For(self, node: ast.For) -> Any:
        node.body, node.orelse = self._body(node.body) or [ast.Pass()], self._body(node.orelse)
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> Any:
        node.body = self._body(node.body) or [ast.Pass()]
        return node

    def _body(self, body: list[Any]) -> list[Any]:
        kept: list[Any] = []
        for node in body:
            found = self.visit(node)
            kept += found if isinstance(found, list) else [found]
            if kept and isinstance(kept[-1], ast.Return | ast.Raise):
                break
        return kept

    def visit_Call(self, node: ast.Call) -> Any:
        """Leave out arguments of torch that are what they are when left out."""
        self.generic_visit(node)
        place, _, name = ast.unparse(node.func).rpartition(".")
        usual: dict[str, Any] = {}
        if place == "nn" and hasattr(nn, name):
            for parameter in inspect.signature(getattr(nn, name)).parameters.values():
                usual[parameter.name] = parameter.default
        elif place in ("torch", "F"):
            usual = dict.fromkeys((str(word.arg) for word in node.keywords), None)
            usual |= {"is_causal": False, "enable_gqa": False}
        for word in list(node.keywords):
            if word.arg in usual and _switch(word.value) is usual[word.arg]:
                node.keywords.remove(word)
        return node


def _without_unread(body: list[Any], uses: Mapping[str, Uses]) -> list[Any]:
    """Leave out what nothing refers to, and constructors that do nothing."""
    asked = {item.attr for item in _each(body, ast.Attribute)}
    for owner in _each(body, ast.ClassDef):
        for item in _each(list(owner.body), ast.FunctionDef):
            empty = _parameters(item) == ["self"] and len(item.body) == 1
            empty = empty and ast.unparse(item.body[0]) == "super().__init__()"
            always = hasattr(nn.Module, item.name) or item.name.startswith("__")
            if item in owner.body and (empty or not (item.name in asked or always)):
                owner.body.remove(item)
    kept = []
    for node in body:
        names = set(_names([node], ast.Store))
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names = {node.name}
        read: set[str] = set(uses)
        for other in body:
            if other is not node:
                read.update(_names([other], ast.Load))
        if names & read:
            kept.append(node)
    for function in _each(kept, ast.FunctionDef):
        returns = list(_each([function], ast.Return))
        either = "| tuple[" in ast.unparse(function.returns or ast.Constant(None))
        if either and not any(_each(returns, ast.Tuple)):
            function.returns = function.returns.left
    return kept
