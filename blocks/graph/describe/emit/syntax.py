"""Python syntax trees: what they read and write, and expressions decided by constants."""

import ast
import inspect
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from torch import nn

UNKNOWN = object()  # a value that is no switch
EQUAL = ast.Is | ast.Eq
UNEQUAL = ast.IsNot | ast.NotEq


def walk_each(body: Iterable[Any], kind: type) -> Iterator[Any]:
    for node in body:
        for item in ast.walk(node):
            if isinstance(item, kind):
                yield item


def names_in(body: Iterable[Any], context: type) -> list[str]:
    """The variables that statements read (`ast.Load`) or give a value (`ast.Store`)."""
    return [item.id for item in walk_each(body, ast.Name) if isinstance(item.ctx, context)]


def parameters_of(function: ast.AST) -> list[str]:
    """The parameters of a function, and of those inside it."""
    return [item.arg for item in walk_each([function], ast.arg)]


def switch_of(node: Any) -> Any:
    """The value of a constant that can be a switch."""
    if isinstance(node, ast.Constant) and isinstance(node.value, bool | str | None.__class__):
        return node.value
    return UNKNOWN


class Write(ast.NodeTransformer):
    """Write expressions where names, attributes of `self` or calls stand."""

    def __init__(
        self,
        names: Mapping[str, Any] = MappingProxyType({}),
        attributes: Mapping[str, Any] = MappingProxyType({}),
        calls: Mapping[ast.Call, Any] = MappingProxyType({}),
    ):
        self.names, self.attributes, self.calls = names, attributes, calls

    def visit_Name(self, node: ast.Name) -> Any:
        if isinstance(node.ctx, ast.Load):
            return self.names.get(node.id, node)
        return node

    def visit_Attribute(self, node: ast.Attribute) -> Any:
        if isinstance(node.ctx, ast.Load) and ast.unparse(node.value) == "self":
            return self.attributes.get(node.attr, node)
        return self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> Any:
        return self.calls.get(node) or self.generic_visit(node)


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


def drop_target(body: list[Any], target: ast.expr) -> None:
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


def _reached(body: list[ast.stmt]) -> list[ast.stmt]:
    """The statements up to the first that leaves the body, without `pass`."""
    kept = []
    for node in body:
        if not isinstance(node, ast.Pass):
            kept.append(node)
        if isinstance(node, ast.Return | ast.Raise | ast.Break | ast.Continue):
            break
    return kept


class Fold(ast.NodeTransformer):
    """Decide tests of constants, and leave out what then cannot run."""

    def visit_BoolOp(self, node: ast.BoolOp) -> Any:
        self.generic_visit(node)
        kept: list[ast.expr] = []
        for item in node.values:
            value = switch_of(item)
            decides = value is not UNKNOWN and bool(value) is isinstance(node.op, ast.Or)
            if decides or value is UNKNOWN or item is node.values[-1]:
                kept.append(item)
            if decides:
                break
        return ast.BoolOp(node.op, kept) if len(kept) > 1 else kept[0]

    def visit_UnaryOp(self, node: ast.UnaryOp) -> Any:
        self.generic_visit(node)
        value = switch_of(node.operand)
        if isinstance(node.op, ast.Not) and value is not UNKNOWN:
            return ast.Constant(not value)
        return node

    def visit_Compare(self, node: ast.Compare) -> Any:
        self.generic_visit(node)
        values = list(map(switch_of, [node.left, *node.comparators]))
        for operator in node.ops:
            if UNKNOWN in values or not isinstance(operator, EQUAL | UNEQUAL):
                return node
        for operator, left, right in zip(node.ops, values, values[1:], strict=False):
            if (left == right) is isinstance(operator, UNEQUAL):
                return ast.Constant(False)
        return ast.Constant(True)

    def visit_If(self, node: ast.If) -> Any:
        return self._decide(node)

    def visit_IfExp(self, node: ast.IfExp) -> Any:
        return self._decide(node)

    def _decide(self, node: ast.If | ast.IfExp) -> Any:
        self.generic_visit(node)
        value = switch_of(node.test)
        if value is UNKNOWN:
            return node
        return node.body if value else node.orelse

    def generic_visit(self, node: ast.AST) -> Any:
        """Visit what is inside; leave out statements that are never reached or do nothing."""
        needed = ("body", "finalbody") if getattr(node, "finalbody", None) else ("body",)
        super().generic_visit(node)
        for name in ("body", "orelse", "finalbody"):
            body = getattr(node, name, None)
            if isinstance(body, list):
                body[:] = _reached(body)
                if name in needed and not body:
                    body.append(ast.Pass())
        return node

    def visit_Call(self, node: ast.Call) -> Any:
        """Leave out arguments of torch that equal their default."""
        self.generic_visit(node)
        module, _, name = ast.unparse(node.func).rpartition(".")
        usual: dict[str, Any] = {}
        if module == "nn" and hasattr(nn, name):
            for parameter in inspect.signature(getattr(nn, name)).parameters.values():
                usual[parameter.name] = parameter.default
        elif module in ("torch", "F"):
            usual = dict.fromkeys((str(keyword.arg) for keyword in node.keywords), None)
            usual |= {"is_causal": False, "enable_gqa": False}
        for keyword in list(node.keywords):
            if keyword.arg in usual and switch_of(keyword.value) is usual[keyword.arg]:
                node.keywords.remove(keyword)
        return node
