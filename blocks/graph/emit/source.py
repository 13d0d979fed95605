"""The source of the used blocks for a file that needs torch alone: plain annotations, no checks, options settled."""

import ast
import copy
import inspect
import sys
from collections.abc import Mapping
from typing import Any

from torch import nn

from blocks.graph.emit.block import Block, CannotEmit, Plainer, Unit
from blocks.graph.emit.fold import PLAIN, PRESENT, Known, as_expression, substitute


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
        self.home: dict[int, str] = {}
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
            self.home[id(unit)] = kind.__module__
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

    def _functions(self) -> list[Unit]:
        return [*[unit for block in self.blocks.values() for unit in block.units.values()], *self.helpers.values()]

    def _settle(self) -> None:
        """Until nothing changes: attributes, the helpers that are called, what their calls agree on."""
        for _ in range(30):
            changed = False
            for block in self.blocks.values():
                if block.settle_attributes():
                    changed = True
                    for name, unit in block.units.items():
                        keep = {key: PRESENT for key, value in unit.gone.items() if value is PRESENT}
                        unit.settle(keep if name == "__init__" else {})
            changed |= self._find_helpers()
            changed |= self._settle_helpers()
            if not changed:
                break
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
            self._resolve(unit.node, self.home[id(unit)], False)

    def _find_helpers(self) -> bool:
        before = len(self.helpers)
        for unit in self._functions():
            for module in sorted(unit.owner.homes) if unit.owner else [self.home[id(unit)]]:
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
                    self.home[id(unit)] = place
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


def _tiny(expression: ast.expr) -> bool:
    return isinstance(expression, ast.Constant | ast.Name | ast.Tuple | ast.BinOp | ast.Call)
