"""A block of the catalogue and the functions of its class, while they are made plain."""

import ast
import copy
import inspect
from collections.abc import Mapping
from typing import Any

from torch import nn

from blocks.graph.emit.fold import PRESENT, Known, drop_unread, fold, is_own
from blocks.graph.emit.spread import spread

# What others ask a block for, which is no part of `forward`.
ASKED = (
    "idle",
    "axis_names",
    "step",
    "layer",
    "parts",
    "stacks",
    "patch_grid",
    "position_tables",
)


class CannotEmit(Exception):  # noqa: N818 - the command tells it as a ConfigError
    """A block whose source cannot stand alone."""


class Plainer(ast.NodeTransformer):
    """Leaves out what checks, and turns jaxtyping's annotations into torch's."""

    def __init__(self, space: Mapping[str, Any]):
        self.space = space

    def _is_check(self, node: ast.stmt) -> bool:
        if isinstance(node, ast.If):
            return not node.orelse and isinstance(node.body[-1], ast.Raise)
        called = node.value.func if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) else None
        return isinstance(called, ast.Name) and called.id.lstrip("_").startswith("must_")

    def visit(self, node: ast.AST) -> Any:
        if isinstance(node, ast.stmt) and self._is_check(node):
            return None
        if isinstance(node, ast.For):
            self.generic_visit(node)
            return node if node.body else None
        return super().visit(node)

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        self.generic_visit(node)
        root = self.space.get(node.value.id) if isinstance(node.value, ast.Name) else None
        if getattr(root, "__module__", "").startswith("jaxtyping"):
            return ast.Name("Tensor", ast.Load())
        return node

    def visit_Name(self, node: ast.Name) -> ast.AST:
        value = self.space.get(node.id)
        if node.id[:1].isupper() and "jaxtyping" in str(value) and not inspect.isclass(value):
            return ast.Name("Tensor", ast.Load())
        if inspect.isclass(value) and hasattr(value, "dim_str"):
            return ast.Name("Tensor", ast.Load())
        return ast.Name("ValueError", ast.Load()) if node.id == "BlockError" else node

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        return node.left if ast.dump(node.left) == ast.dump(node.right) and "Tensor" in ast.dump(node.left) else node


class Unit:
    """A function or a method, with what is known of its parameters."""

    def __init__(self, node: ast.FunctionDef, owner: "Block | None"):
        self.node, self.owner, self.text = node, owner, ast.get_docstring(node)
        self.gone: dict[str, Any] = {}
        if self.text:
            node.body = node.body[1:]

    def parameters(self) -> list[ast.arg]:
        found = [*self.node.args.posonlyargs, *self.node.args.args]
        static = any(isinstance(item, ast.Name) and item.id == "staticmethod" for item in self.node.decorator_list)
        return found[1:] if self.owner and not static else found

    def defaults(self) -> dict[str, ast.expr | None]:
        given = self.node.args
        positional = [*given.posonlyargs, *given.args]
        pairs = dict(zip([item.arg for item in reversed(positional)], reversed(given.defaults), strict=False))
        return {**pairs, **{a.arg: d for a, d in zip(given.kwonlyargs, given.kw_defaults, strict=True)}}

    def remove(self, name: str) -> None:
        """Take a parameter away."""
        given, defaults = self.node.args, self.defaults()
        given.args = [item for item in given.args if item.arg != name]
        given.kwonlyargs = [item for item in given.kwonlyargs if item.arg != name]
        given.defaults = [value for item in given.args if (value := defaults.get(item.arg)) is not None]
        given.kw_defaults = [defaults.get(item.arg) for item in given.kwonlyargs]

    def settle(self, known: Known) -> bool:
        """Write in what is known of parameters; whether anything changed."""
        before = ast.dump(self.node)
        for name, value in known.items():
            if value is not PRESENT:
                self.remove(name)
                self.gone[name] = value
        self.node.body = fold(self.node.body, dict(known), self.owner.known if self.owner else {}) or [ast.Pass()]
        # Where a name is set on some paths only, the others read what was settled.
        kept = [name for name in self.gone if self.gone[name] is not PRESENT and _reads_first(self.node.body, name)]
        self.node.body[:0] = [_assign(name, self.gone[name]) for name in kept]
        drop_unread(self.node)
        while spread(self.node):
            self.node.body = fold(self.node.body, {}, self.owner.known if self.owner else {})
        return ast.dump(self.node) != before

    def unstar(self) -> None:
        """Take keywords in any way: what is not said by a name is said in this order."""
        given = self.node.args
        usual = [*(value is not None for value in given.kw_defaults)]
        usual = [False] * (len(given.args) - len(given.defaults)) + [True] * len(given.defaults) + usual
        if given.vararg is None and usual == sorted(usual):  # nothing without a usual value behind one with it
            given.args, given.kwonlyargs = [*given.args, *given.kwonlyargs], []
            given.defaults = [*given.defaults, *(value for value in given.kw_defaults if value is not None)]
            given.kw_defaults = []

    def settle_result(self) -> None:
        """Where a tensor or a tuple is announced and no tuple comes, say so."""
        said = self.node.returns
        results = [node.value for node in ast.walk(self.node) if isinstance(node, ast.Return)]
        tuples = any(isinstance(value, ast.Tuple | ast.IfExp | None.__class__) for value in results)
        if isinstance(said, ast.BinOp) and ast.unparse(said.left) == "Tensor" and not tuples:
            self.node.returns = said.left if ast.unparse(said.right).startswith("tuple[") else said


def _assign(name: str, value: Any) -> ast.Assign:
    return ast.fix_missing_locations(ast.Assign([ast.Name(name, ast.Store())], ast.Constant(value), lineno=0))


def _reads_first(body: list[ast.stmt], name: str) -> bool:
    """Whether a name may be read before it is set."""
    for statement in body:
        found = [node for node in ast.walk(statement) if isinstance(node, ast.Name) and node.id == name]
        if any(isinstance(node.ctx, ast.Load) for node in found):
            return True
        if found and isinstance(statement, ast.Assign):
            return False
    return False


class Block:
    """A class of the catalogue, on its way into the file."""

    def __init__(self, kind: type, file: ast.Module, space: Mapping[str, Any]):
        self.kind, self.known = kind, {}  # type: ignore[var-annotated]
        found = next(item for item in file.body if isinstance(item, ast.ClassDef) and item.name == kind.__name__)
        self.node = Plainer(space).visit(copy.deepcopy(found))
        self.units = {item.name: Unit(item, self) for item in self.node.body if isinstance(item, ast.FunctionDef)}
        self.plain = all(base is nn.Module for base in kind.__bases__)
        self.homes = {kind.__module__}
        for name in ASKED:
            if name in self.units:
                self.node.body.remove(self.units.pop(name).node)
        self.forget({"division", "pointwise"})  # what only a network among several devices asks for
        plain = getattr(kind, "plain", None)
        for name, other in plain.items() if isinstance(plain, dict) else ():
            if name in self.units:
                self.node.body.remove(self.units.pop(name).node)
            for node in ast.walk(self.node):
                if isinstance(node, ast.Attribute) and node.attr == name and is_own(node):
                    node.attr = other
            self.forget({"plain"})

        self.node.body = [
            item for item in self.node.body if not (isinstance(item, ast.AnnAssign) and item.value is None)
        ]

    def forget(self, names: set[str]) -> None:
        """Leave out what the class says of attributes."""
        self.node.body = [item for item in self.node.body if not {t.id for t in _targets(item)} & names]

    def absorb(self, base: "Block") -> bool:
        """Become a class without its base, which no other class of the file needs; whether that can be done."""
        start, first = self.units.get("__init__"), base.units.get("__init__")
        calls = [node for unit in self.units.values() for node in ast.walk(unit.node) if _is_super(node)]
        if not base.plain or any(node.attr != "__init__" for node in calls) or len(calls) > 1:  # type: ignore[attr-defined]
            return False
        if start is not None and first is not None and calls:
            bound = _bound(start, first)
            if bound is None:
                return False
            start.node.body = bound
        named = {target.id for item in self.node.body for target in _targets(item)}
        kept = [item for item in base.node.body if not (isinstance(item, ast.FunctionDef) and item.name in self.units)]
        kept = [item for item in kept if not {target.id for target in _targets(item)} & named]
        self.node.body += [item for item in kept if not _is_said(item)]
        self.units = {**{name: unit for name, unit in base.units.items() if name not in self.units}, **self.units}
        for unit in self.units.values():
            unit.owner = self
        self.node.bases = base.node.bases
        self.plain, self.homes = True, self.homes | base.homes
        return True


def _is_super(node: ast.AST) -> bool:
    """`super().method`."""
    inner = node.value if isinstance(node, ast.Attribute) else None
    return isinstance(inner, ast.Call) and isinstance(inner.func, ast.Name) and inner.func.id == "super"


def _is_said(item: ast.stmt) -> bool:
    return isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant)


def _targets(item: ast.stmt) -> list[ast.Name]:
    found = item.targets if isinstance(item, ast.Assign) else [item.target] if isinstance(item, ast.AnnAssign) else []
    return [target for target in found if isinstance(target, ast.Name)]


def _bound(start: Unit, first: Unit) -> list[ast.stmt] | None:
    """The body of a constructor with that of its base in place of `super().__init__(...)`."""
    at = next((i for i, s in enumerate(start.node.body) if isinstance(s, ast.Expr) and isinstance(s.value, ast.Call)
               and _is_super(s.value.func)), None)  # fmt: skip
    if at is None:
        return None
    call: Any = start.node.body[at].value  # type: ignore[attr-defined]
    order, defaults = [item.arg for item in first.parameters()], first.defaults()
    names = [*order, *(item.arg for item in first.node.args.kwonlyargs)]
    given = {**dict(zip(order, call.args, strict=False)), **{k.arg: k.value for k in call.keywords}}
    values = {name: given.get(name, defaults.get(name)) for name in names}
    if any(not isinstance(value, ast.Name | ast.Constant) for value in values.values()):
        return None
    put = [ast.Assign([ast.Name(name, ast.Store())], value, lineno=0) for name, value in values.items()
           if not (isinstance(value, ast.Name) and value.id == name) and value is not None]  # fmt: skip
    body: list[ast.stmt] = [*put, *copy.deepcopy(first.node.body)]
    return [*start.node.body[:at], *body, *start.node.body[at + 1 :]]
