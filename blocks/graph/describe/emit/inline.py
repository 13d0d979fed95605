"""Blocks that come down to one expression, which is written where they are called."""

import ast
import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from blocks.graph.describe.emit.syntax import Write, defaults_of, names_in, pairs_of, walk_each

LONG = 60  # letters of an expression that is shorter than the class would be
OPERATORS = {"torch.add": ast.Add, "torch.mul": ast.Mult}


@dataclass(frozen=True)
class Inlined:
    """The `forward` of a block that keeps nothing but numbers.

    Args:
        value: what it returns.
        parameters: the names of its inputs.
        several: the name of its list of inputs, if it takes any number.
        attributes: attribute -> the argument that it holds.
        defaults: arguments that may be left out.
    """

    value: ast.expr
    parameters: list[str]
    several: str | None
    attributes: Mapping[str, str]
    defaults: Mapping[str, ast.expr]

    def names(self) -> set[str]:
        """Names of the file that the expression reads."""
        own = {*self.parameters, self.several, "self"}
        return set(names_in([self.value], ast.Load)) - own

    def write(
        self, operands: list[str], named: Mapping[str, str], arguments: Mapping[str, Any]
    ) -> str:
        """The expression for inputs and arguments."""
        texts = {**dict(zip(self.parameters, operands, strict=False)), **named}
        given = {name: ast.parse(text, mode="eval").body for name, text in texts.items()}
        if self.several:
            elements = [ast.parse(text, mode="eval").body for text in operands]
            given[self.several] = ast.Tuple(elements, ast.Load())
        values = {}
        for attribute, name in self.attributes.items():
            values[attribute] = (
                ast.Constant(arguments[name]) if name in arguments else self.defaults[name]
            )
        return ast.unparse(_Put(given, values).visit(copy.deepcopy(self.value)))


class _Put(Write, ast.NodeTransformer):
    """Put inputs and arguments into an expression."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        operator = OPERATORS.get(ast.unparse(node.args[0])) if node.args else None
        if (
            ast.unparse(node.func) != "reduce"
            or operator is None
            or not isinstance(node.args[1], ast.Tuple)
        ):
            return node
        first, *others = node.args[1].elts
        for item in others:
            first = ast.BinOp(first, operator(), item)
        return first

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        self.generic_visit(node)
        index = getattr(node.slice, "value", None)
        if isinstance(node.value, ast.Tuple) and isinstance(index, int):
            return node.value.elts[index]
        return node


def find_inlined(node: ast.ClassDef) -> Inlined | None:
    """What a block comes down to; None where that is more than one short expression."""
    methods = {item.name: item for item in node.body if isinstance(item, ast.FunctionDef)}
    forward, start = methods.pop("forward", None), methods.pop("__init__", None)
    if forward is None or methods or [ast.unparse(base) for base in node.bases] != ["nn.Module"]:
        return None
    value = forward.body[-1].value if isinstance(forward.body[-1], ast.Return) else None
    if len(forward.body) > 1 or value is None or len(ast.unparse(value)) > LONG:
        return None
    attributes: dict[str, str] = {}
    defaults: dict[str, Any] = {}
    if start is not None:
        defaults = defaults_of(start)
        for statement in start.body[1:]:
            pairs = pairs_of(statement)
            if not pairs:
                return None
            for target, name in pairs:
                if not (isinstance(target, ast.Attribute) and isinstance(name, ast.Name)):
                    return None
                attributes[target.attr] = name.id
    parameters = [item.arg for item in forward.args.args[1:]]
    several = forward.args.vararg.arg if forward.args.vararg else None
    found = Inlined(value, parameters, several, attributes, defaults)
    return found if _reads_once(found) else None


def _reads_once(found: Inlined) -> bool:
    """Whether the expression reads each input once, and of the block only what it was given."""
    names = names_in([found.value], ast.Load)
    for item in walk_each([found.value], ast.Attribute):
        if ast.unparse(item.value) == "self" and item.attr not in found.attributes:
            return False
    if found.several:
        indexed = "reduce(" in ast.unparse(found.value) or names.count(found.several) == 1
        return not found.parameters and (indexed or f"{found.several}[" in ast.unparse(found.value))
    return all(names.count(name) == 1 for name in found.parameters)
