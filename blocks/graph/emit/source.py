"""The source of the used blocks for a file that needs torch alone: plain annotations, no checks, options settled."""

import ast
import copy
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from torch import nn

from blocks.graph.emit.attributes import settle_attributes
from blocks.graph.emit.block import Block, CannotEmit, Plainer, Unit
from blocks.graph.emit.fold import PLAIN, PRESENT, Known, as_expression, is_constant, is_own, substitute
from blocks.graph.emit.inline import calls_in, drop_constant_results, put_in


class Source:
    """All blocks and helper functions of a file.

    Args:
        uses: the arguments with which each block is made, and the ports that are given to it.
    """

    def __init__(self, uses: Mapping[type, list[Mapping[str, Any]]], ports: Mapping[type, set[str]]):
        self.uses, self.ports = uses, ports
        self.blocks: dict[type, Block] = {}
        self.helpers: dict[str, Unit] = {}
        self.values: dict[str, ast.stmt] = {}
        self.imports: set[str] = set()
        self.spaces: dict[str, tuple[ast.Module, Mapping[str, Any]]] = {}
        self.homes: dict[int, set[str]] = {}  # the modules that a function's names come from
        for kind in uses:
            self._take(kind)
        self._settle()

    def _space(self, module: str) -> tuple[ast.Module, Mapping[str, Any]]:
        if module not in self.spaces:
            try:
                text = inspect.getsource(sys.modules[module])
            except (OSError, TypeError) as error:
                raise CannotEmit(f"no source of {module}") from error
            self.spaces[module] = ast.parse(text), vars(sys.modules[module])
        return self.spaces[module]

    def _take(self, kind: type) -> None:
        if kind in self.blocks:
            return
        file, space = self._space(kind.__module__)
        for base in kind.__bases__:
            if not base.__module__.startswith("torch"):
                self._take(base)
        block = self.blocks[kind] = Block(kind, file, space)
        for unit in block.units.values():
            self.homes[id(unit)] = block.homes
        self._absorb(block)
        if not block.plain or any(kind in other.__bases__ for other in self.uses):
            return
        self._settle_block(block)

    def _absorb(self, block: Block) -> None:
        """Do without a base that stands for this class alone."""
        base: Any = block.kind.__base__
        inner = self.blocks.get(base)
        alone = inner is not None and len(block.kind.__bases__) == 1 and base not in self.uses
        others = [
            kind for kind in (*self.uses, *self.blocks) if issubclass(kind, base) and kind not in (block.kind, base)
        ]
        if inner is not None and alone and not others and block.absorb(inner):
            del self.blocks[base]

    def _settle_block(self, block: Block) -> None:
        start, forward = block.units.get("__init__"), block.units.get("forward")
        if start is not None and (made := self.uses.get(block.kind)):
            known = {}
            for name in [item.arg for item in (*start.parameters(), *start.node.args.kwonlyargs)]:
                default = start.defaults().get(name)
                values = [
                    use.get(name, default.value if isinstance(default, ast.Constant) else PRESENT) for use in made
                ]
                first = values[0]
                alike = all(type(v) is type(first) and v == first for v in values) and isinstance(first, PLAIN)
                usual = isinstance(default, ast.Constant) and default.value == first
                if alike and (usual or isinstance(first, bool | str | None.__class__)):
                    known[name] = first
                elif default is not None and all(value is not None for value in values):
                    known[name] = start.gone[name] = PRESENT
                elif all(type(value) is int for value in values):
                    _narrow(start, name)
            start.settle(known)
        if forward is not None:
            defaults = forward.defaults()
            known = {
                item.arg: default.value
                for item in forward.parameters()
                if item.arg not in self.ports.get(block.kind, set())
                and isinstance(default := defaults.get(item.arg), ast.Constant)
            }
            forward.settle(known)

    def settled(self) -> dict[type, set[str]]:
        """Parameters that a constructor takes no more."""
        return {
            kind: {name for name, value in block.units["__init__"].gone.items() if value is not PRESENT}
            for kind, block in self.blocks.items() if "__init__" in block.units
        }  # fmt: skip

    def expressions(self) -> dict[type, tuple[list[str], ast.expr]]:
        """Blocks that keep nothing and come down to one short expression: its parameters, and the expression."""
        found = {}
        for kind, block in self.blocks.items():
            forward = block.units.get("forward")
            others = [unit for name, unit in block.units.items() if name != "forward" and not _starts_nothing(unit)]
            value = as_expression(forward.node) if forward and block.plain and not others else None
            if forward and value is not None and len(ast.unparse(value)) <= 50:
                names = [item.arg for item in forward.parameters()]
                read = {node.id for node in ast.walk(value) if isinstance(node, ast.Name)}
                if "self" not in read and set(names) <= read:
                    found[kind] = names, value
        return found

    def _functions(self) -> list[Unit]:
        return [*[unit for block in self.blocks.values() for unit in block.units.values()], *self.helpers.values()]

    def _settle(self) -> None:
        """Until nothing changes: attributes, the helpers that are called, what their calls agree on."""
        for _ in range(30):
            changed = False
            foreign = {node.attr for unit in self._functions() for node in ast.walk(unit.node)
                       if isinstance(node, ast.Attribute) and not is_own(node)}  # fmt: skip
            for block in self.blocks.values():
                if not self._is_base(block) and settle_attributes(block, foreign):
                    changed = True
                    for name, unit in block.units.items():
                        keep = {key: PRESENT for key, value in unit.gone.items() if value is PRESENT}
                        unit.settle(keep if name == "__init__" else {})
            changed |= self._find_helpers()
            changed |= self._settle_helpers()
            if not (changed or self._write_calls()):
                break
        for unit in self._functions():
            unit.settle_result()
            unit.unstar()
        for block in self.blocks.values():
            for unit in list(block.units.values()):
                if unit.node.name not in ("__init__", "forward") and block.plain and not any(
                    isinstance(node, ast.Attribute) and node.attr == unit.node.name
                    for other in self._functions() for node in ast.walk(other.node) if other is not unit
                ) and not unit.node.name.startswith("__"):  # fmt: skip
                    block.node.body.remove(unit.node)
                    del block.units[unit.node.name]
        reached = {node.id for unit in self._functions() for node in ast.walk(unit.node) if isinstance(node, ast.Name)}
        self.helpers = {name: unit for name, unit in self.helpers.items() if name in reached}
        for block in self.blocks.values():
            for module in sorted(block.homes):
                self._resolve(block.node, module, False)
        for unit in self.helpers.values():
            for module in sorted(self.homes[id(unit)]):
                self._resolve(unit.node, module, False)

    def _write_calls(self) -> bool:
        """Write functions that are called once where they are called; whether there was one."""
        for unit, matches in self._callees():
            others = [other for other in self._functions() if other is not unit]
            if drop_constant_results(unit, others, matches):
                for other in others:
                    other.settle({})
                return True
            callers = [other for other in others for _ in calls_in(other, matches)]
            value = unit.node.body[0].value if isinstance(unit.node.body[0], ast.Return) else None
            if value is not None and is_constant(value):  # short enough to stand at each of its calls
                while len(callers) > 1 and put_in(callers[-1], unit, matches):
                    callers.pop().settle({})
            if len(callers) == 1 and put_in(callers[0], unit, matches):
                home = callers[0].owner.homes if callers[0].owner else self.homes[id(callers[0])]
                home |= unit.owner.homes if unit.owner else self.homes[id(unit)]
                self._forget(unit)
                callers[0].settle({})
                return True
        return False

    def _callees(self) -> Iterator[tuple[Unit, Callable[[ast.Call], bool]]]:
        """Functions of which every mention is a call, and what tells such a call."""
        mentions = [node for unit in self._functions() for node in ast.walk(unit.node)]
        calls = [node for node in mentions if isinstance(node, ast.Call)]
        for name, unit in list(self.helpers.items()):
            named = sum(isinstance(node, ast.Name) and node.id == name for node in mentions)
            if named == sum(_calls_name(call, name) for call in calls):
                yield unit, partial(_calls_name, name=name)
        for block in self.blocks.values():
            lone = block.plain and not self._is_base(block)
            for name, unit in list(block.units.items()) if lone else []:
                named = sum(isinstance(node, ast.Attribute) and node.attr == name for node in mentions)
                own = sum(_calls_method(node, name) for node in ast.walk(block.node) if isinstance(node, ast.Call))
                if name not in ("__init__", "forward") and not unit.node.decorator_list and named == own:
                    yield unit, partial(_calls_method, name=name)

    def _is_base(self, block: Block) -> bool:
        return any(block.kind in other.kind.__bases__ for other in self.blocks.values())

    def _forget(self, unit: Unit) -> None:
        if unit.owner:
            unit.owner.node.body.remove(unit.owner.units.pop(unit.node.name).node)
        else:
            del self.helpers[unit.node.name]

    def _find_helpers(self) -> bool:
        before = len(self.helpers)
        for unit in self._functions():
            for module in sorted(unit.owner.homes if unit.owner else self.homes[id(unit)]):
                self._resolve(unit.node, module, True)
        return len(self.helpers) != before

    def _resolve(self, node: ast.AST, module: str, helpers: bool) -> None:
        """Find what names outside a function mean."""
        file, space = self._space(module)
        for item in ast.walk(node):
            if not isinstance(item, ast.Name) or item.id not in space or item.id in self.helpers:
                continue
            value = space[item.id]
            place = getattr(value, "__module__", None) or ""
            if (
                inspect.isfunction(value)
                and not place.startswith("torch")
                and place in sys.modules
                and self._own(place)
            ):
                if helpers:
                    source, names = self._space(place)
                    found = next(d for d in source.body if isinstance(d, ast.FunctionDef) and d.name == item.id)
                    unit = Unit(Plainer(names).visit(copy.deepcopy(found)), None)
                    self.homes[id(unit)] = {place}
                    self.helpers[item.id] = unit
                    unit.settle({})
                continue
            if inspect.isclass(value) and issubclass(value, nn.Module) and self._own(place):
                if value not in self.blocks:
                    self._take(value)
                continue
            if not helpers:
                self._outside(item.id, module, file)

    def _own(self, place: str) -> bool:
        return place.partition(".")[0] == "blocks" or place.startswith("dougong_library_")

    def _outside(self, name: str, module: str, file: ast.Module) -> None:
        for statement in file.body:
            if isinstance(statement, ast.Import | ast.ImportFrom):
                for alias in statement.names:
                    if (alias.asname or alias.name).partition(".")[0] == name or alias.asname == name:
                        self._import(statement, alias, module)
            elif isinstance(statement, ast.Assign | ast.AnnAssign):
                targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
                if any(isinstance(target, ast.Name) and target.id == name for target in targets) and (
                    name not in self.values
                ):
                    self.values[name] = Plainer(self._space(module)[1]).visit(copy.deepcopy(statement))
                    self._resolve(self.values[name], module, False)

    def _import(self, statement: ast.Import | ast.ImportFrom, alias: ast.alias, module: str) -> None:
        source = statement.module if isinstance(statement, ast.ImportFrom) else alias.name
        top = str(source).partition(".")[0]
        if top in ("jaxtyping", "blocks"):
            return
        if top != "torch" and top not in sys.stdlib_module_names:
            raise CannotEmit(f"{module} imports {source}")
        shown = copy.deepcopy(statement)
        shown.names = [alias]
        self.imports.add(ast.unparse(shown))

    def _settle_helpers(self) -> bool:
        changed = False
        for name, unit in list(self.helpers.items()):
            calls = [
                node for other in self._functions() for node in ast.walk(other.node)
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name
            ]  # fmt: skip
            if not calls:
                continue
            order, defaults = [item.arg for item in unit.parameters()], unit.defaults()
            names = [*order, *(item.arg for item in unit.node.args.kwonlyargs)]
            bound = [
                dict(zip(order, call.args, strict=False)) | {str(k.arg): k.value for k in call.keywords}
                for call in calls
            ]
            known: Known = {}
            for key in names:
                values = [given.get(key, defaults.get(key)) for given in bound]
                if all(isinstance(v, ast.Constant) for v in values) and len({repr(v.value) for v in values}) == 1:  # type: ignore[union-attr]
                    known[key] = values[0].value  # type: ignore[union-attr]
            unread = {n.id for n in ast.walk(unit.node) if isinstance(n, ast.Name)}
            for key in names:
                if key not in unread and key not in known:
                    known[key] = None
            for call, given in zip(calls, bound, strict=True):
                call.args = [given[key] for key in order if key in given and key not in known]
                after = [key for key in names if key in given and key not in order and key not in known]
                late = [k.arg for k in call.keywords if k.arg in order and k.arg in given]
                call.args = [given[key] for key in order if key in given and key not in known and key not in late]
                call.keywords = [ast.keyword(key, given[key]) for key in (*late, *after) if key not in known]
            changed |= unit.settle(known)
            changed |= self._inline(name, unit)
        return changed

    def _inline(self, name: str, unit: Unit) -> bool:
        found = as_expression(unit.node)
        if found is None:
            return False
        expression: ast.expr = found
        if len(ast.unparse(expression)) > 100 or unit.node.name in ast.unparse(expression):
            return False
        if not _tiny(expression) and unit.text:
            return False
        names = [*(i.arg for i in unit.parameters()), *(i.arg for i in unit.node.args.kwonlyargs)]
        done = False

        class Put(ast.NodeTransformer):
            def visit_Call(self, node: ast.Call) -> ast.AST:
                nonlocal done
                self.generic_visit(node)
                if not (isinstance(node.func, ast.Name) and node.func.id == name):
                    return node
                given = dict(zip(names, node.args, strict=False)) | {str(k.arg): k.value for k in node.keywords}
                uses = [n.id for n in ast.walk(expression) if isinstance(n, ast.Name)]
                if any(
                    uses.count(key) > 1 and not isinstance(value, ast.Name | ast.Attribute)
                    for key, value in given.items()
                ):
                    return node
                if set(names) - set(given):
                    return node
                done = True
                return substitute(expression, given)

        for other in self._functions():
            if other is not unit:
                Put().visit(other.node)
                other.settle({})
        if not any(isinstance(n, ast.Name) and n.id == name for o in self._functions() for n in ast.walk(o.node)):
            self.helpers.pop(name, None)
        return done


def _narrow(start: Unit, name: str) -> None:
    """Write a constructor for a parameter that is always a whole number."""
    for item in ast.walk(start.node.args):
        if isinstance(item, ast.arg) and item.arg == name:
            item.annotation = ast.Name("int", ast.Load())
    asked = f"isinstance({name}, int)"
    for node in ast.walk(start.node):
        if isinstance(node, ast.IfExp | ast.If) and ast.unparse(node.test) == asked:
            node.test = ast.Constant(True)


def _calls_name(call: ast.Call, name: str) -> bool:
    return isinstance(call.func, ast.Name) and call.func.id == name


def _calls_method(call: ast.Call, name: str) -> bool:
    return isinstance(call.func, ast.Attribute) and call.func.attr == name and ast.unparse(call.func.value) == "self"


def _starts_nothing(unit: Unit) -> bool:
    """A constructor that keeps nothing."""
    return unit.node.name == "__init__" and len(unit.node.body) == 1 and not unit.node.args.args[1:]


def _tiny(expression: ast.expr) -> bool:
    return isinstance(expression, ast.Constant | ast.Name | ast.Tuple | ast.BinOp | ast.Call)
