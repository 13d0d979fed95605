"""Expressions such as `4 * dim` or `0.1 * layer.fraction`: parsed by `ast`, and evaluated node by
node; only the nodes listed here are allowed.
"""

import ast
import math
import operator
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Protocol

from blocks.graph.errors import ConfigError, Origin, Problem, show
from blocks.graph.steps import STEPS, Budget, OutOfSteps, budget, spend

LONGEST = 500  # characters of an expression
LARGEST = 2**63  # no dimension is larger; `9**9**9` would never end
WIDEST = 10_000  # values in a list, including those of lists inside it
DIGITS = 30  # that `round` accepts

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
    """An expression cannot be read, or has no value; `fits` and `fix` say what to write."""

    def __init__(
        self,
        problem: str,
        fits: str | None = None,
        fix: str | None = None,
        *,
        code: str = "bad-expression",
    ):
        super().__init__(problem)
        self.problem, self.fits, self.fix, self.code = problem, fits, fix, code


def round_to(value: float, digits: int | None = None) -> float:
    """Round like Python's `round`, which computes 10 ** -digits for a whole number and could take
    forever.
    """
    if isinstance(digits, int) and abs(digits) > DIGITS:
        raise ExpressionError(f"round cannot round to {show(digits)} digits", f"at most {DIGITS}")
    return round(value, digits)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "min": min,
    "max": max,
    "round": round_to,
    "len": len,
    "sqrt": math.sqrt,
    "log": math.log,
}
CALLABLE = ", ".join([*FUNCTIONS, "default"])  # `default` is lazy, so it is no plain function


@contextmanager
def limited(steps: int = STEPS, where: Origin | None = None) -> Iterator[None]:
    """Limit the steps of all expressions, patterns and guesses inside; an outer limit stays valid.

    Raises:
        ConfigError: they need more steps.
    """
    if budget.get() is not None:
        yield
        return
    token = budget.set(Budget(steps))
    try:
        yield
    except OutOfSteps:
        problem = Problem(
            "the expressions and patterns take too many steps",
            where,
            fits=f"{steps:,} steps in all",
            fix="refer to fewer values, each of them less often",
            code="too-large",
        )
        raise ConfigError(problem) from None
    finally:
        budget.reset(token)


def measure(value: Any) -> int:
    """Count the steps of a walk through a value."""
    if isinstance(value, str):
        return 1 + len(value) // 100
    if isinstance(value, Mapping):
        value = value.values()
    elif not isinstance(value, tuple | list):
        return 1
    return 1 + sum(map(measure, value))


def check_size(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the values; raise ExpressionError where nested lists contain too many."""
    if measure(values) > WIDEST:
        raise ExpressionError(
            "a list holds too many values",
            f"{WIDEST:,} with those of the lists inside it",
            code="too-large",
        )
    return values


class Names(Protocol):
    """The names that an expression may refer to."""

    def value(self, name: str) -> Any:
        """Return the value of a bare name; raise ExpressionError."""

    def attribute(self, name: str, attribute: str) -> Any:
        """Return the value of `name.attribute`; raise ExpressionError."""

    def has(self, name: str, attribute: str) -> bool:
        """Return whether `name.attribute` has a value; an unknown name is an ExpressionError."""


def to_whole(value: Any) -> Any:
    """Convert a number such as 64.0 to the int that it equals; return any other value unchanged."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


@lru_cache(maxsize=4096)
def parse(text: str) -> ast.expr:
    """Parse an expression; that of a repeated body is parsed once.

    Raises:
        ExpressionError: the text is no expression, or too long.
    """
    if len(text) > LONGEST:
        raise ExpressionError(
            f"an expression of {len(text)} characters is too long",
            f"at most {LONGEST}",
            code="too-large",
        )
    try:
        return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ExpressionError(
            f"{text!r} is not an expression",
            f"numbers, names, + - * / // % **, comparisons, if else, {CALLABLE}",
        ) from None


def evaluate(text: str, names: Names) -> Any:
    """Evaluate an expression.

    Raises:
        ExpressionError: it cannot be read, or has no value.
        ConfigError: it takes too many steps.
    """
    if budget.get() is None:
        with limited():
            return evaluate(text, names)
    try:
        return _evaluate(parse(text), names)
    except RecursionError:
        raise ExpressionError(
            "the names refer to each other too deep, or in a circle",
            "a shorter chain",
            code="circular",
        ) from None
    except (TypeError, ZeroDivisionError, OverflowError, IndexError, KeyError, ValueError) as error:
        if isinstance(error, ExpressionError):
            raise
        raise ExpressionError(
            f"{text!r} has no value: {error}", "numbers that the operation takes"
        ) from None


def _evaluate(node: ast.expr, names: Names) -> Any:
    """Evaluate a part of an expression, and count steps by the size of its value."""
    if type(node) not in EVALUATORS:
        raise _not_allowed(node)
    value = EVALUATORS[type(node)](node, names)
    if isinstance(value, str | tuple | list | Mapping):
        spend(measure(value))
    elif isinstance(value, int) and abs(value) > LARGEST:
        raise ExpressionError(
            f"{ast.unparse(node)} is too large", f"values up to {LARGEST:.0e}", code="too-large"
        )
    else:
        spend(1)
    return value


def _not_allowed(node: ast.expr) -> ExpressionError:
    return ExpressionError(
        f"{ast.unparse(node)!r} is not allowed in an expression", "arithmetic, comparison, if else"
    )


def _evaluate_constant(node: ast.Constant, names: Names) -> Any:
    if not isinstance(node.value, int | float | str | None):
        raise _not_allowed(node)
    return node.value


def _evaluate_name(node: ast.Name, names: Names) -> Any:
    return names.value(node.id)


def _evaluate_attribute(node: ast.Attribute, names: Names) -> Any:
    if isinstance(node.value, ast.Name):
        return names.attribute(node.value.id, node.attr)
    return get_member(_evaluate(node.value, names), ast.unparse(node.value), node.attr)


def _evaluate_subscript(node: ast.Subscript, names: Names) -> Any:
    if not isinstance(node.slice, ast.Slice):
        return _evaluate(node.value, names)[to_whole(_evaluate(node.slice, names))]
    bounds = []
    for bound in (node.slice.lower, node.slice.upper, node.slice.step):
        bounds.append(bound and to_whole(_evaluate(bound, names)))
    return _evaluate(node.value, names)[slice(*bounds)]


def _evaluate_unary(node: ast.UnaryOp, names: Names) -> Any:
    if type(node.op) not in UNARY:
        raise _not_allowed(node)
    return UNARY[type(node.op)](_evaluate(node.operand, names))


def _evaluate_binary(node: ast.BinOp, names: Names) -> Any:
    if type(node.op) not in BINARY:
        raise _not_allowed(node)
    left, right = _evaluate(node.left, names), _evaluate(node.right, names)
    _check_operands(type(node.op), left, right)
    return BINARY[type(node.op)](left, right)


def _evaluate_boolean(node: ast.BoolOp, names: Names) -> Any:
    """Stop early, so that guards such as `a.exists and a.shape` work."""
    result: Any = None
    for value in node.values:
        result = _evaluate(value, names)
        if bool(result) is isinstance(node.op, ast.Or):
            break
    return result


def _evaluate_comparison(node: ast.Compare, names: Names) -> bool:
    if not BINARY.keys() >= set(map(type, node.ops)):
        raise _not_allowed(node)
    left, *rights = (_evaluate(operand, names) for operand in (node.left, *node.comparators))
    for op, right in zip(node.ops, rights, strict=True):
        if not BINARY[type(op)](left, right):
            return False
        left = right
    return True


def _evaluate_conditional(node: ast.IfExp, names: Names) -> Any:
    if _evaluate(node.test, names):
        return _evaluate(node.body, names)
    return _evaluate(node.orelse, names)


def _evaluate_list(node: ast.List | ast.Tuple, names: Names) -> tuple[Any, ...]:
    return check_size(tuple(_evaluate(element, names) for element in node.elts))


def _evaluate_call(node: ast.Call, names: Names) -> Any:
    function = getattr(node.func, "id", None)
    if not node.keywords and function == "default":
        return _evaluate(_choose_default(node.args, names), names)
    if node.keywords or function not in FUNCTIONS:
        raise ExpressionError(f"an expression cannot call {ast.unparse(node.func)}", CALLABLE)
    return FUNCTIONS[function](*(_evaluate(argument, names) for argument in node.args))


def _choose_default(arguments: list[ast.expr], names: Names) -> ast.expr:
    """Return, for `default(params.heads, 4)`, the name where it has a value, else the second
    argument.

    Raises:
        ExpressionError: the first argument is no dotted name, or there are not two of them.
    """
    match arguments:
        case [ast.Attribute(value=ast.Name(id=name), attr=attribute) as dotted, fallback]:
            if names.has(name, attribute):
                return dotted
            return fallback
    raise ExpressionError(
        "default takes a dotted name and the value to use where that name is absent",
        "default(params.heads, 4)",
    )


EVALUATORS: dict[type, Callable[[Any, Names], Any]] = {
    ast.Constant: _evaluate_constant,
    ast.Name: _evaluate_name,
    ast.Attribute: _evaluate_attribute,
    ast.Subscript: _evaluate_subscript,
    ast.UnaryOp: _evaluate_unary,
    ast.BinOp: _evaluate_binary,
    ast.BoolOp: _evaluate_boolean,
    ast.Compare: _evaluate_comparison,
    ast.IfExp: _evaluate_conditional,
    ast.List: _evaluate_list,
    ast.Tuple: _evaluate_list,
    ast.Call: _evaluate_call,
}


def _check_operands(op: type, left: Any, right: Any) -> None:
    """Raise ExpressionError for a power that is too large, and for anything but numbers to add,
    multiply or divide with remainder.
    """
    if op is ast.Pow and (abs(right) > 64 or (abs(left) > 1 and abs(left) ** abs(right) > LARGEST)):
        raise ExpressionError(
            f"{left} ** {right} is too large", f"values up to {LARGEST:.0e}", code="too-large"
        )
    numeric = isinstance(left, int | float) and isinstance(right, int | float)
    if op in (ast.Mult, ast.Mod, ast.Add) and not numeric:
        raise ExpressionError(f"{left!r} and {right!r} cannot be combined", "numbers")


def get_member(value: Any, name: str, attribute: str) -> Any:
    """Return `value.attribute` for the mappings that a scope returns; raise ExpressionError."""
    known = "nothing"
    if isinstance(value, Mapping):
        if attribute in value:
            return value[attribute]
        known = ", ".join(map(str, value))
        if known == "shape":
            known = f"axes without names here: {name}.shape[-1] is the last"
    raise ExpressionError(
        f"{name} has no {attribute!r}", f"{name} has {known}", code="unknown-name"
    )
