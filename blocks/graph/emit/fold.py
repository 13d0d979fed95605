"""Partial evaluation of a block's source: what is constant in a model is written in, what cannot happen is left out."""

import ast
import copy
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

Tree = TypeVar("Tree", bound=ast.AST)
PRESENT = object()  # a value that is not known, except that it is not None
Known = dict[str, Any]

PURE = (ast.Constant, ast.Name, ast.Attribute, ast.Compare, ast.Tuple, ast.Subscript, ast.BinOp,
        ast.UnaryOp, ast.BoolOp)  # fmt: skip
PLAIN = (type(None), bool, int, float, str)


class Folder(ast.NodeTransformer):
    """Folds expressions with the names and attributes of `self` that are known."""

    def __init__(self, known: Known, attributes: Mapping[str, Any]):
        self.known, self.attributes = known, attributes

    def visit_Name(self, node: ast.Name) -> ast.AST:
        value = self.known.get(node.id, PRESENT)
        return ast.Constant(value) if isinstance(node.ctx, ast.Load) and value is not PRESENT else node

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        if isinstance(node.ctx, ast.Load) and is_own(node):
            value = self.attributes.get(node.attr, PRESENT)
            return node if value is PRESENT else ast.Constant(value)
        return self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        self.generic_visit(node)
        if len(node.ops) != 1:
            return node
        left, op, right = node.left, node.ops[0], node.comparators[0]
        if isinstance(op, ast.Eq | ast.NotEq) and pure(left) and ast.dump(left) == ast.dump(right):
            return ast.Constant(isinstance(op, ast.Eq))
        if isinstance(left, ast.Constant) and isinstance(right, ast.Constant):
            return ast.Constant(bool(eval(compile(ast.Expression(ast.fix_missing_locations(node)), "", "eval"))))
        if isinstance(right, ast.Constant) and right.value is None and isinstance(op, ast.Is | ast.IsNot):
            name = left.id if isinstance(left, ast.Name) else None
            there = (name is not None and self.known.get(name) is PRESENT) or (
                isinstance(left, ast.Attribute) and is_own(left) and self.attributes.get(left.attr) is PRESENT
            )
            if there:
                return ast.Constant(isinstance(op, ast.IsNot))
        return node

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        self.generic_visit(node)
        stops = isinstance(node.op, ast.Or)
        values: list[ast.expr] = []
        for value in node.values:
            if isinstance(value, ast.Constant):
                if bool(value.value) is stops:
                    values.append(value)
                    break
                continue
            values.append(value)
        if not values:
            return node.values[-1]
        if isinstance(values[0], ast.Constant):
            return values[0]
        return values[0] if len(values) == 1 else ast.BoolOp(node.op, values)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.op, ast.Not) and isinstance(node.operand, ast.Constant):
            return ast.Constant(not node.operand.value)
        return node

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.test, ast.Constant):
            return node.body if node.test.value else node.orelse
        if ast.dump(node.body) == ast.dump(node.orelse):
            return node.body
        return node

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        """`x[:, 0:]` is x."""
        self.generic_visit(node)
        parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        everything = all(
            isinstance(part, ast.Slice) and part.upper is part.step is None and (not part.lower or _is(part.lower, 0))
            for part in parts
        )
        return node.value if everything and isinstance(node.ctx, ast.Load) else node

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        """`n + 2 * n` is 3 * n, and nothing times whether is nothing."""
        self.generic_visit(node)
        left, right = node.left, node.right
        if isinstance(node.op, ast.Mult) and _is(left, 0) and isinstance(right, ast.Compare):
            return left
        if not (isinstance(node.op, ast.Add) and isinstance(right, ast.BinOp) and isinstance(right.op, ast.Mult)):
            return node
        times = right.left.value if isinstance(right.left, ast.Constant) else None
        same = isinstance(left, ast.Name) and ast.dump(left) == ast.dump(right.right)
        return ast.BinOp(ast.Constant(times + 1), ast.Mult(), left) if same and isinstance(times, int) else node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        name = ast.unparse(node.func)
        sizes = node.args[0] if name.endswith(".split") and node.args else None
        if isinstance(sizes, ast.List) and len({ast.dump(item) for item in sizes.elts}) == 1:
            node.args[0] = sizes.elts[0]  # parts of one size
        if name == "F.dropout" and len(node.args) > 1 and _is(node.args[1], 0):
            return node.args[0]
        if name.startswith("torch."):
            node.keywords = [item for item in node.keywords if not (item.arg == "device" and _is(item.value, None))]
        if name == "F.scaled_dot_product_attention":
            usual = {"attn_mask": None, "dropout_p": 0.0, "is_causal": False, "enable_gqa": False}
            node.keywords = [
                item for item in node.keywords if not (item.arg in usual and _is(item.value, usual[item.arg]))
            ]
        if name == "F.embedding" and len(node.args) == 3 and _is(node.args[2], None):
            node.args.pop()
        for item in node.keywords if name == "nn.Conv2d" else ():  # (size, size) is what the layer makes of size
            sides = item.value.elts if isinstance(item.value, ast.Tuple) else []
            if len(sides) == 2 and ast.dump(sides[0]) == ast.dump(sides[1]):
                item.value = sides[0]
        if name in ("nn.Linear", "nn.Conv1d", "nn.Conv2d"):
            node.keywords = [item for item in node.keywords if not (item.arg == "bias" and _is(item.value, True))]
        if name == "any" and is_constant(node.args[0]):
            return ast.Constant(any(item.value for item in node.args[0].elts))  # type: ignore[attr-defined]
        if name == "isinstance" and isinstance(node.args[0], ast.Constant) and ast.unparse(node.args[1]) == "int":
            return ast.Constant(isinstance(node.args[0].value, int))
        return node


def _is(node: ast.expr, value: Any) -> bool:
    return isinstance(node, ast.Constant) and node.value == value and (value is not None or node.value is None)


def is_constant(value: ast.AST) -> bool:
    """A tuple of constants."""
    return isinstance(value, ast.Tuple) and all(isinstance(item, ast.Constant) for item in value.elts)


def is_own(node: ast.Attribute) -> bool:
    """`self.name`."""
    return isinstance(node.value, ast.Name) and node.value.id == "self"


def assigned(nodes: list[ast.stmt]) -> set[str]:
    """Names that statements set."""
    found = [node for item in nodes for node in ast.walk(item) if isinstance(node, ast.Name)]
    return {node.id for node in found if isinstance(node.ctx, ast.Store)}


def fold(body: list[ast.stmt], known: Known, attributes: Mapping[str, Any]) -> list[ast.stmt]:
    """The statements with what is known written in; `known` follows the assignments."""
    result: list[ast.stmt] = []
    for raw in body:
        for statement in _split(raw):
            result += _statement(statement, known, attributes)
            if result and isinstance(result[-1], ast.Return | ast.Raise):
                return result
    return result


def _statement(statement: ast.stmt, known: Known, attributes: Mapping[str, Any]) -> list[ast.stmt]:
    if isinstance(statement, ast.If):
        test = Folder(known, attributes).visit(statement.test)
        if isinstance(test, ast.Constant):
            return fold(statement.body if test.value else statement.orelse, known, attributes)
        ways = (dict(known), dict(known))
        first, second = (
            fold(part, way, attributes) for part, way in zip((statement.body, statement.orelse), ways, strict=True)
        )
        for name in assigned(first + second):
            known.pop(name, None)
            if all(way.get(name) is PRESENT for way in ways):
                known[name] = PRESENT
        if not first and not second:
            return []
        if not first:
            return [ast.If(ast.UnaryOp(ast.Not(), test), second, [])]
        return [ast.If(test, first, second)]
    if isinstance(statement, ast.For | ast.While | ast.With):
        for name in assigned([statement]):
            known.pop(name, None)
        for word in ("iter", "test"):
            if hasattr(statement, word):
                setattr(statement, word, Folder(known, attributes).visit(getattr(statement, word)))
        statement.body = fold(statement.body, dict(known), attributes)
        return [statement] if statement.body else []
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return [statement]
    statement = Folder(known, attributes).visit(statement)
    if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == ast.unparse(statement.value):
        return []
    for part in _split(statement):
        for name in assigned([part]):
            known.pop(name, None)
        if isinstance(part, ast.Assign) and isinstance(part.value, ast.Constant):
            known.update({target.id: part.value.value for target in part.targets if isinstance(target, ast.Name)})
        elif isinstance(part, ast.Assign) and _is_there(part.value):
            known.update({target.id: PRESENT for target in part.targets if isinstance(target, ast.Name)})
    return _split(statement)


def _is_there(value: ast.expr) -> bool:
    """Whether an expression is surely not None: a sum, or what a function of torch gives."""
    if isinstance(value, ast.BinOp):
        return True
    root: ast.AST = value
    while isinstance(root, ast.Call | ast.Attribute):
        root = root.func if isinstance(root, ast.Call) else root.value
    return isinstance(value, ast.Call) and isinstance(root, ast.Name) and root.id in ("F", "torch")


def _split(statement: ast.stmt) -> list[ast.stmt]:
    """`a, b = x, None` as two statements, where one of them is a constant."""
    if not (isinstance(statement, ast.Assign) and len(statement.targets) == 1):
        return [statement]
    target, value = statement.targets[0], statement.value
    if not (isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts)):
        return [statement]
    pairs = list(zip(target.elts, value.elts, strict=True))
    settled = {node.id for a, b in pairs if isinstance(b, ast.Constant) for node in ast.walk(a)
               if isinstance(node, ast.Name)}  # fmt: skip
    if not settled or any(isinstance(node, ast.Name) and node.id in settled for node in ast.walk(value)):
        return [statement]
    made: list[ast.stmt] = []
    variable = [(a, b) for a, b in zip(target.elts, value.elts, strict=True) if not isinstance(b, ast.Constant)]
    made += [ast.Assign([a], b) for a, b in zip(target.elts, value.elts, strict=True) if isinstance(b, ast.Constant)]
    if len(variable) == 1:
        made.append(ast.Assign([variable[0][0]], variable[0][1]))
    elif variable:
        left, right = zip(*variable, strict=True)
        made.append(ast.Assign([ast.Tuple(list(left), ast.Store())], ast.Tuple(list(right), ast.Load())))
    return [ast.fix_missing_locations(ast.copy_location(item, statement)) for item in made]


def drop_unread(function: ast.FunctionDef) -> None:
    """Leave out assignments whose names nobody reads."""
    while True:
        read = {node.id for node in ast.walk(function) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
        before = ast.dump(function)
        function.body = _returned(_without(function.body, read)) or [ast.Pass()]
        if ast.dump(function) == before:
            return


def _returned(body: list[ast.stmt]) -> list[ast.stmt]:
    """`x = f(x)`, `return x` is `return f(x)`."""
    if len(body) < 2 or not isinstance(body[-1], ast.Return) or not isinstance(body[-2], ast.Assign):
        return body
    (target, *others), value = body[-2].targets, body[-1].value
    same = isinstance(target, ast.Name) and isinstance(value, ast.Name) and target.id == value.id and not others
    return [*body[:-2], ast.Return(body[-2].value)] if same else body


def _without(body: list[ast.stmt], read: set[str]) -> list[ast.stmt]:
    kept = []
    for at, statement in enumerate(body):
        if at + 1 < len(body) and _is_overwritten(statement, body[at + 1]):
            continue
        if isinstance(statement, ast.Assign) and pure(statement.value):
            names = [node for target in statement.targets for node in ast.walk(target) if isinstance(node, ast.expr)]
            if all(isinstance(node, ast.Name | ast.Tuple) for node in names) and not any(
                isinstance(node, ast.Name) and node.id in read for node in names
            ):
                continue
        for part in ("body", "orelse"):
            if isinstance(statement, ast.If | ast.For | ast.With) and getattr(statement, part, None):
                setattr(statement, part, _without(getattr(statement, part), read))
        if isinstance(statement, ast.For | ast.If | ast.With) and not statement.body:
            continue
        kept.append(statement)
    return kept


def _is_overwritten(statement: ast.stmt, then: ast.stmt) -> bool:
    """Whether a statement sets a name that the next one sets anew."""
    if not (isinstance(statement, ast.Assign) and isinstance(then, ast.Assign) and pure(statement.value)):
        return False
    name = statement.targets[0].id if isinstance(statement.targets[0], ast.Name) else None
    again = isinstance(then.targets[0], ast.Name) and then.targets[0].id == name
    return again and not any(isinstance(node, ast.Name) and node.id == name for node in ast.walk(then.value))


def pure(value: ast.expr) -> bool:
    """Whether an expression only reads."""
    parts = [item for item in ast.walk(value) if isinstance(item, ast.expr)]
    return all(isinstance(item, (*PURE, ast.IfExp, ast.Slice)) for item in parts)


def first_done(statement: ast.stmt) -> Iterator[ast.expr]:
    """The parts of a statement's value before which nothing is worked out: names and attributes are only read."""
    node: Any = getattr(statement, "value", None)
    while node is not None:
        yield node
        if isinstance(node, ast.Call):
            parts = [node.func, *node.args, *(item.value for item in node.keywords)]
            node = next((part for part in parts if not pure(part)), node.func)
        else:
            node = node.left if isinstance(node, ast.BinOp) else getattr(node, "value", None)
            node = node if isinstance(node, ast.expr) else None


def as_expression(function: ast.FunctionDef) -> ast.expr | None:
    """A short function as one expression of its parameters; None where it is no such."""
    body = [copy.deepcopy(item) for item in function.body if not _is_text(item)]
    if not body or len(body) > 4 or not isinstance(body[-1], ast.Return) or body[-1].value is None:
        return None
    result = body[-1].value
    for statement in reversed(body[:-1]):
        if not (isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name)):
            return None
        name = statement.targets[0].id
        uses = [node for node in ast.walk(result) if isinstance(node, ast.Name) and node.id == name]
        if len(uses) != 1:
            return None
        result = substitute(result, {name: statement.value})
    return result


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def substitute(expression: Tree, values: Mapping[str, ast.expr]) -> Tree:
    """An expression or a statement with others in place of names."""

    class Put(ast.NodeTransformer):
        def visit_Name(self, node: ast.Name) -> ast.AST:
            return copy.deepcopy(values[node.id]) if node.id in values else node

    made: Tree = Put().visit(copy.deepcopy(expression))
    return made
