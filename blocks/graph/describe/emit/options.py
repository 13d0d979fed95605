"""Drop options of blocks that a model does not use: switches that are the same everywhere."""

import ast
import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from torch import nn

from blocks.graph.describe.emit.syntax import (
    UNKNOWN,
    Fold,
    Write,
    defaults_of,
    drop_target,
    names_in,
    pairs_of,
    parameters_of,
    switch_of,
    walk_each,
)
from blocks.graph.describe.emit.text import is_docstring


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
        for function in walk_each(body, ast.FunctionDef):
            _settle_variables(function)
        body = _without_unread(list(map(Fold().visit, body)), uses)
    return body, gone


# Functions ----------------------------------------------------------------------------------------


class _Mentions:
    """Where functions, methods and classes are mentioned and called."""

    def __init__(self, body: list[Any]):
        self.found: dict[tuple[str, str], list[ast.Call | None]] = {}
        self.functions: list[str] = []
        self.bases: list[str] = []
        called = {}
        for node in walk_each(body, ast.AST):
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
    given = [*uses, *map(partial(_arguments_of, node), calls)]
    if None in given:
        return []
    settled = []
    for name, default in defaults_of(node).items():
        values = {_typed_switch(arguments.get(name, default)) for arguments in given}  # type: ignore[union-attr]
        if len(values) == 1 and _settle_parameter(node, name, values.pop()[1], calls):
            settled.append(name)
    if calls:
        _settle_result(node, calls, body)
    return settled


def _arguments_of(node: ast.FunctionDef, call: ast.Call) -> dict[str, Any] | None:
    """The arguments of a call by name; None where they are not known (`*args`, `**options`)."""
    arguments: dict[str | None, Any] = dict(zip(_positional(node), call.args, strict=False))
    for keyword in call.keywords:
        arguments[keyword.arg] = keyword.value
    if None in arguments or any(walk_each(call.args, ast.Starred)):
        return None
    return arguments  # type: ignore[return-value]


def _positional(node: ast.FunctionDef) -> list[str]:
    return [item.arg for item in node.args.args if item.arg != "self"]


def _typed_switch(value: Any) -> tuple[type, Any]:
    """A switch with its type: True is not 1."""
    if not isinstance(value, ast.AST):
        value = ast.Constant(value)
    return type(switch_of(value)), switch_of(value)


def _settle_parameter(node: ast.FunctionDef, name: str, value: Any, calls: list[ast.Call]) -> bool:
    """Write a switch where a parameter is read; False where the function may give it a value."""
    if value is UNKNOWN or parameters_of(node).count(name) > 1:
        return False
    if isinstance(value, str) and not _is_choice(node, name):
        return False
    for function in (copy.deepcopy(node), node):
        Fold().visit(Write({name: ast.Constant(value)}).visit(function))
        if name in names_in([function], ast.Store):
            return False
    positional = _positional(node)
    for call in calls:
        call.keywords = [keyword for keyword in call.keywords if keyword.arg != name]
        if name in positional:
            del call.args[positional.index(name) : positional.index(name) + 1]
    _drop_parameter(node.args, name)
    return True


def _drop_parameter(arguments: ast.arguments, name: str) -> None:
    """Leave out a parameter, with its default."""
    for index, item in enumerate(arguments.args):
        if item.arg == name:
            behind = len(arguments.args) - index
            if behind <= len(arguments.defaults):
                del arguments.defaults[-behind]
            del arguments.args[index]
    for index, item in enumerate(arguments.kwonlyargs):
        if item.arg == name:
            del arguments.kwonlyargs[index], arguments.kw_defaults[index]


def _is_choice(node: ast.FunctionDef, name: str) -> bool:
    """Whether a parameter takes one of several words."""
    for item in walk_each([node], ast.arg):
        if item.arg == name:
            return "Literal" in ast.unparse(item.annotation or ast.Constant(None))
    return False


def _settle_result(node: ast.FunctionDef, calls: list[ast.Call], body: list[Any]) -> None:
    """Write a result that is always the same switch where the function is called."""
    returns = list(walk_each([node], ast.Return))
    if not isinstance(node.body[-1], ast.Return) or any(walk_each(node.body, ast.FunctionDef)):
        return
    shown = _find_results(returns)
    if shown.count(None) == 1 and len(shown) > 1:
        _return_only(node, returns, shown.index(None))
    elif None in shown or not shown or not all(map(_is_step, node.body)):
        return
    for call in calls:
        value: Any = ast.Tuple([item or call for item in shown], ast.Load())
        if len(shown) == 1:
            value = shown[0]
        body[:] = map(Write(calls={call: value}).visit, body)


def _find_results(returns: list[ast.Return]) -> list[ast.Constant | None]:
    """The parts of what a function returns: a switch, or None for what differs."""
    parts = []
    for item in returns:
        parts.append(item.value.elts if isinstance(item.value, ast.Tuple) else [item.value])
    starred = any(isinstance(value, ast.Starred) for values in parts for value in values)
    if starred or len(set(map(len, parts))) > 1:
        return []
    shown: list[ast.Constant | None] = []
    for column in zip(*parts, strict=True):
        values = set(map(switch_of, column))
        is_switch = len(values) == 1 and UNKNOWN not in values
        shown.append(ast.Constant(values.pop()) if is_switch else None)
    return shown


def _return_only(node: ast.FunctionDef, returns: list[ast.Return], at: int) -> None:
    """Return one part of a tuple alone."""
    for item in returns:
        item.value = item.value.elts[at]  # type: ignore[union-attr]
    if isinstance(node.returns, ast.Subscript):
        node.returns = node.returns.slice.elts[at]  # type: ignore[attr-defined]


def _is_step(node: ast.stmt) -> bool:
    """Whether a statement computes and does nothing else."""
    return isinstance(node, ast.Assign | ast.Return) or is_docstring(node)


# Variables and attributes -------------------------------------------------------------------------


def _settle_variables(function: ast.FunctionDef) -> None:
    """Write a switch where its variable is read; leave out variables that nothing reads."""
    for node in list(function.body):
        for target, value in pairs_of(node):
            if not isinstance(target, ast.Name) or target.id in parameters_of(function):
                continue
            if names_in([function], ast.Store).count(target.id) > 1:
                continue
            if switch_of(value) is not UNKNOWN:
                Write({target.id: value}).visit(function)
            if target.id not in names_in([function], ast.Load) and not any(
                walk_each([value], ast.Call)
            ):
                drop_target(function.body, target)


def _settle_attributes(owner: ast.ClassDef, start: ast.FunctionDef, body: list[Any]) -> None:
    """Write a switch where the attribute that holds it is read."""
    if list(map(ast.unparse, owner.bases)) != ["nn.Module"]:
        return
    texts = {item.value for item in walk_each(body, ast.Constant)}
    stored, elsewhere = [], set()
    for item in walk_each(body, ast.Attribute):
        if ast.unparse(item.value) != "self":
            elsewhere.add(item.attr)
    for item in walk_each([owner], ast.Attribute):
        if isinstance(item.ctx, ast.Store):
            stored.append(item.attr)
    for node in list(start.body):
        for target, value in pairs_of(node):
            name = getattr(target, "attr", None)
            if name is None or switch_of(value) is UNKNOWN or stored.count(name) > 1:
                continue
            if name not in texts and name not in elsewhere:
                Write(attributes={name: value}).visit(owner)
                drop_target(start.body, target)


# What is left -------------------------------------------------------------------------------------


def _without_unread(body: list[Any], uses: Mapping[str, Uses]) -> list[Any]:
    """Leave out what nothing refers to, and constructors that do nothing."""
    _drop_methods(body)
    kept = []
    for node in body:
        names = set(names_in([node], ast.Store))
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names = {node.name}
        others = [other for other in body if other is not node]
        if not names.isdisjoint({*uses, *names_in(others, ast.Load)}):
            kept.append(node)
    for function in walk_each(kept, ast.FunctionDef):
        returns = list(walk_each([function], ast.Return))
        either = "| tuple[" in ast.unparse(function.returns or ast.Constant(None))
        if either and not any(walk_each(returns, ast.Tuple)):
            function.returns = function.returns.left
    return kept


def _drop_methods(body: list[Any]) -> None:
    """Leave out methods that nothing calls, and constructors that do nothing."""
    read = {item.attr for item in walk_each(body, ast.Attribute)}
    for owner in walk_each(body, ast.ClassDef):
        for item in list(owner.body):
            if isinstance(item, ast.FunctionDef):
                needed = item.name in read or hasattr(nn.Module, item.name)
                if _is_empty(item) or not (needed or item.name.startswith("__")):
                    owner.body.remove(item)


def _is_empty(node: ast.FunctionDef) -> bool:
    """Whether a constructor does no more than that of its base."""
    if parameters_of(node) != ["self"] or len(node.body) != 1:
        return False
    return ast.unparse(node.body[0]) == "super().__init__()"
