"""Expressions such as `4 * dim` or `0.1 * layer.fraction`: parsed with `ast` against a white list,
never `eval`.
"""

import ast
import operator
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Protocol

from blocks.graph.errors import ConfigError, Origin, Problem, show
from blocks.graph.steps import STEPS, Budget, OutOfSteps, budget, spend

LONGEST = 500  # characters; no honest expression is longer
LARGEST = 2**63  # no dimension is larger, and `9**9**9` must not hang the build
WIDEST = 10_000  # values in a list, with those of the lists inside it
DIGITS = 30  # to which `round` may round

BINARY: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda item, container: item in container,
    ast.NotIn: lambda item, container: item not in container,
}
UNARY: dict[type, Callable[[Any], Any]] = {
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
    ast.Not: operator.not_,
}


class ExpressionError(ValueError):
    """An expression that cannot be read or has no value here. `fits` and `fix` say what to do."""

    def __init__(self, problem: str, fits: str | None = None, fix: str | None = None):
        super().__init__(problem)
        self.problem, self.fits, self.fix = problem, fits, fix


def round_to(value: float, digits: int | None = None) -> float:
    """Python's `round`, which reckons 10 ** -digits for a whole number and would never end."""
    if isinstance(digits, int) and abs(digits) > DIGITS:
        raise ExpressionError(f"round cannot round to {show(digits)} digits", f"at most {DIGITS}")
    return round(value, digits)


FUNCTIONS: dict[str, Callable[..., Any]] = {"min": min, "max": max, "round": round_to, "len": len}
CALLABLE = ", ".join([*FUNCTIONS, "default"])  # `default` is lazy, so it is no plain function


@contextmanager
def limited(steps: int = STEPS, where: Origin | None = None) -> Iterator[None]:
    """Share a number of steps among all expressions, patterns and guesses inside, or those of who
    asked already.

    Raises:
        ConfigError: they need more.
    """
    if budget.get() is not None:
        yield
        return
    token = budget.set(Budget(steps))
    try:
        yield
    except OutOfSteps:
        problem = "the expressions and patterns take too many steps"
        fix = "refer to fewer values, each of them less often"
        raise ConfigError(
            [Problem(problem, where, fits=f"{steps:,} steps in all", fix=fix)]
        ) from None
    finally:
        budget.reset(token)


def measure(value: Any) -> int:
    """How many steps it takes to walk through a value."""
    if isinstance(value, str):
        return 1 + len(value) // 100
    if isinstance(value, Mapping):
        value = value.values()
    elif not isinstance(value, tuple | list):
        return 1
    return 1 + sum(map(measure, value))


def check_size(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """The same values; raises ExpressionError where lists inside lists hold too many."""
    if measure(values) > WIDEST:
        raise ExpressionError(
            "a list holds too many values", f"{WIDEST:,} with those of the lists inside it"
        )
    return values


class Names(Protocol):
    """What an expression may refer to."""

    def value(self, name: str) -> Any:
        """The value of a bare name; raises ExpressionError."""

    def attribute(self, name: str, attribute: str) -> Any:
        """The value of `name.attribute`; raises ExpressionError."""

    def has(self, name: str, attribute: str) -> bool:
        """Whether `name.attribute` has a value; raises ExpressionError where `name` is unknown."""


def whole(value: Any) -> Any:
    """A number such as 64.0 as the whole number that it is; any other value unchanged."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


@lru_cache(maxsize=4096)
def parse(text: str) -> ast.expr:
    """The syntax tree of an expression; raises ExpressionError. A body that is repeated is read
    once.
    """
    if len(text) > LONGEST:
        raise ExpressionError(
            f"an expression of {len(text)} characters is too long", f"at most {LONGEST}"
        )
    try:
        return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ExpressionError(
            f"{text!r} is not an expression",
            f"numbers, names, + - * / // % **, comparisons, a if b else c, {CALLABLE}",
        ) from None


def evaluate(text: str, names: Names) -> Any:
    """The value of `text`, with `names` in scope; raises ExpressionError, and ConfigError beyond
    the budget.
    """
    if budget.get() is None:
        with limited():
            return evaluate(text, names)
    try:
        return _value(parse(text), names)
    except RecursionError:
        raise ExpressionError(
            "the names refer to each other too deep, or in a circle", "a shorter chain"
        ) from None
    except (TypeError, ZeroDivisionError, OverflowError, IndexError, KeyError, ValueError) as error:
        if isinstance(error, ExpressionError):
            raise
        raise ExpressionError(
            f"{text!r} has no value: {error}", "numbers that the operation takes"
        ) from None


def _value(node: ast.expr, names: Names) -> Any:
    """The value of a part of an expression, counted by its size."""
    value = _read(node, names)
    if isinstance(value, str | tuple | list | Mapping):
        spend(measure(value))
    elif isinstance(value, int) and abs(value) > LARGEST:
        raise ExpressionError(f"{ast.unparse(node)} is too large", f"values up to {LARGEST:.0e}")
    else:
        spend(1)
    return value


def _read(node: ast.expr, names: Names) -> Any:
    match node:
        case ast.Constant(value=int() | float() | str() | bool() | None as constant):
            return constant
        case ast.Name(id=name):
            return names.value(name)
        case ast.Attribute(value=ast.Name(id=name), attr=attribute):
            return names.attribute(name, attribute)
        case ast.Attribute(value=inner, attr=attribute):
            return member(_value(inner, names), ast.unparse(inner), attribute)
        case ast.Subscript(value=inner, slice=ast.Slice(lower=lower, upper=upper, step=step)):
            bounds = (bound and whole(_value(bound, names)) for bound in (lower, upper, step))
            return _value(inner, names)[slice(*bounds)]
        case ast.Subscript(value=inner, slice=index):
            return _value(inner, names)[whole(_value(index, names))]
        case ast.UnaryOp(op=op, operand=operand) if type(op) in UNARY:
            return UNARY[type(op)](_value(operand, names))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in BINARY:
            return _bounded(type(op), _value(left, names), _value(right, names))
        case ast.BoolOp(op=op, values=values):
            return _boolean(op, values, names)
        case ast.Compare(left=left, ops=ops, comparators=rights) if all(
            type(op) in BINARY for op in ops
        ):
            operands = [_value(operand, names) for operand in (left, *rights)]
            return all(
                BINARY[type(op)](a, b)
                for op, a, b in zip(ops, operands, operands[1:], strict=False)
            )
        case ast.IfExp(test=test, body=body, orelse=orelse):
            return _value(body if _value(test, names) else orelse, names)
        case ast.List(elts=elements) | ast.Tuple(elts=elements):
            return check_size(tuple(_value(element, names) for element in elements))
        case ast.Call(func=ast.Name(id=function), args=arguments, keywords=[]) if (
            function in FUNCTIONS
        ):
            return FUNCTIONS[function](*(_value(argument, names) for argument in arguments))
        case ast.Call(func=ast.Name(id="default"), args=arguments, keywords=[]):
            return _value(_choose_default(arguments, names), names)
        case ast.Call(func=function):
            raise ExpressionError(f"an expression cannot call {ast.unparse(function)}", CALLABLE)
    raise ExpressionError(
        f"{ast.unparse(node)!r} is not allowed in an expression", "arithmetic, comparison, if else"
    )


def _choose_default(arguments: list[ast.expr], names: Names) -> ast.expr:
    """Of `default(params.heads, 4)`, the name where it has a value, else the second argument.

    Raises:
        ExpressionError: the first argument is no dotted name, or there are not two of them.
    """
    match arguments:
        case [ast.Attribute(value=ast.Name(id=name), attr=attribute) as dotted, fallback]:
            return dotted if names.has(name, attribute) else fallback
    raise ExpressionError(
        "default takes a dotted name and the value to use where that name is absent",
        "default(params.heads, 4)",
    )


def _boolean(op: ast.boolop, values: list[ast.expr], names: Names) -> Any:
    """`and` and `or` stop early, so that `a.exists and a.shape` style guards work."""
    result: Any = None
    for value in values:
        result = _value(value, names)
        if bool(result) is isinstance(op, ast.Or):
            break
    return result


def _bounded(op: type, left: Any, right: Any) -> Any:
    if op is ast.Pow and (abs(right) > 64 or (abs(left) > 1 and abs(left) ** abs(right) > LARGEST)):
        raise ExpressionError(f"{left} ** {right} is too large", f"values up to {LARGEST:.0e}")
    if op in (ast.Mult, ast.Mod, ast.Add) and not all(
        isinstance(side, int | float) for side in (left, right)
    ):
        raise ExpressionError(f"{left!r} and {right!r} cannot be combined", "numbers")
    return BINARY[op](left, right)


def member(value: Any, name: str, attribute: str) -> Any:
    """`value.attribute` for the mappings that a scope hands out."""
    if isinstance(value, Mapping) and attribute in value:
        return value[attribute]
    known = ", ".join(map(str, value)) if isinstance(value, Mapping) else "nothing"
    raise ExpressionError(f"{name} has no {attribute!r}", f"{name} has {known}")
