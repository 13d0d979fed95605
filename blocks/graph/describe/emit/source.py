"""The source of the used blocks and of what they need, for a file that needs torch alone."""

import ast
import builtins
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, get_args

from torch import nn

from blocks.errors import BlockError
from blocks.graph.describe.emit.syntax import names_in, parameters_of, walk_each
from blocks.graph.describe.emit.text import is_docstring, shorten

Key = tuple[str, str]  # of a definition: its module and its name there


class CannotEmit(Exception):  # noqa: N818 - reported; it does not end a program
    """A block whose source cannot stand alone."""


@dataclass
class Home:
    """A file of blocks: what it defines, what it imports, and what its names mean."""

    module: str
    space: dict[str, Any]
    definitions: dict[str, ast.stmt] = field(default_factory=dict)
    imports: dict[str, tuple[ast.Import | ast.ImportFrom, ast.alias]] = field(default_factory=dict)


class Source:
    """The definitions that a set of blocks needs, in an order in which they can be read.

    Args:
        kinds: the classes of the blocks.

    Raises:
        CannotEmit: a file whose source is not there, or that needs more than torch.
    """

    def __init__(self, kinds: Iterable[type]):
        self.homes: dict[str, Home] = {}
        self.imports: dict[str, str] = {
            "nn": "from torch import nn",
            "Tensor": "from torch import Tensor",
        }
        self.names: dict[Key, str] = {}
        self.nodes: dict[Key, Any] = {}
        self.visited: set[int] = set()
        kinds = list(kinds)
        self.own = {"blocks", *(kind.__module__.partition(".")[0] for kind in kinds)}
        for kind in kinds:
            self._take(kind.__module__, kind.__name__)
        while self._follow():
            pass
        self._prune()
        for (module, _), node in self.nodes.items():
            self._rename(node, self._home(module))

    def _home(self, module: str) -> Home:
        if module not in self.homes:
            try:
                space = importlib.import_module(module)
                tree = ast.parse(inspect.getsource(space))
            except (OSError, TypeError, ImportError) as error:
                raise CannotEmit(f"no source of {module}") from error
            home = self.homes[module] = Home(module, vars(space))
            for node in tree.body:
                for name in _defined(node):
                    home.definitions[name] = node
                if isinstance(node, ast.Import | ast.ImportFrom):
                    for alias in node.names:
                        home.imports[alias.asname or alias.name.partition(".")[0]] = node, alias
        return self.homes[module]

    def _take(self, module: str, name: str) -> str:
        """Take a definition; its name in the file."""
        key = module, name
        if key not in self.names:
            known, number = name, 2
            while known in {*self.names.values(), *self.imports}:
                known, number = f"{name}_{number}", number + 1
            self.names[key] = known
            home = self._home(module)
            if name not in home.definitions:
                raise CannotEmit(f"no source of {name} in {module}")
            _Plainer(home, self).visit(home.definitions[name])
            self.nodes[key] = home.definitions[name]
        return self.names[key]

    def _follow(self) -> bool:
        """Take what the parts that are needed so far refer to; whether any part is new."""
        wanted = {item.attr for item in walk_each(self._parts(), ast.Attribute)}
        new = False
        for (module, _), node in list(self.nodes.items()):
            for part in _parts(node, wanted):
                if id(part) not in self.visited:
                    new = True
                    self.visited.add(id(part))
                    self._resolve(part, self._home(module))
        return new

    def _parts(self) -> Iterator[ast.AST]:
        for node in self.nodes.values():
            yield from _parts(node, set())
            for part in ast.iter_child_nodes(node):
                if id(part) in self.visited:
                    yield part

    def _resolve(self, part: ast.AST, home: Home) -> None:
        own = {*parameters_of(part), *names_in([part], ast.Store)}
        for item in ast.walk(part):
            if isinstance(item, ast.Name) and item.id not in own - set(home.definitions):
                self.meaning(item.id, home)
            elif isinstance(item, ast.Import | ast.ImportFrom):
                for alias in item.names:
                    self._must_be_plain(_source_of(item, alias, home), home)

    def meaning(self, name: str, home: Home) -> str:
        """Take what a name of a file stands for; the name that it has in the emitted file."""
        if name in home.definitions:
            return self._take(home.module, name)
        if name not in home.imports:
            if name in home.space and not name.startswith("__"):
                raise CannotEmit(f"{home.module} defines {name} in a way that cannot be copied")
            return name
        node, alias = home.imports[name]
        source = _source_of(node, alias, home)
        if source.partition(".")[0] in self.own and isinstance(node, ast.ImportFrom):
            return self._take(source, alias.name)
        self._must_be_plain(source, home)
        line = ast.unparse(type(node)(**{**vars(node), "names": [alias]}))
        if self.imports.setdefault(name, line) != line:
            raise CannotEmit(
                f"{home.module} means something else by {name}: {line}, {self.imports[name]}"
            )
        return name

    def _must_be_plain(self, source: str, home: Home) -> None:
        top = source.partition(".")[0]
        if top != "torch" and top not in sys.stdlib_module_names:
            raise CannotEmit(f"{home.module} imports {source}")

    def _prune(self) -> None:
        """Leave out the methods and attributes of classes that nothing refers to."""
        for node in self.nodes.values():
            if isinstance(node, ast.ClassDef):
                node.body = [
                    item for item in node.body if id(item) in self.visited or is_docstring(item)
                ]

    def _rename(self, node: ast.AST, home: Home) -> None:
        for item in ast.walk(node):
            if isinstance(item, ast.Name) and (home.module, item.id) in self.names:
                item.id = self.names[home.module, item.id]
        for key, known in self.names.items():
            if self.nodes[key] is node and isinstance(node, ast.ClassDef | ast.FunctionDef):
                node.name = known

    def ordered(self) -> list[ast.stmt]:
        """The definitions: constants, functions, classes, each behind what defining it reads."""
        nodes = {self.names[key]: node for key, node in self.nodes.items()}
        done: list[ast.stmt] = []

        def append(node: ast.stmt) -> None:
            if node in done or node in waiting:
                return
            waiting.append(node)
            for part in _eager(node):
                for item in ast.walk(part):
                    if isinstance(item, ast.Name) and item.id in nodes:
                        append(nodes[item.id])
            done.append(node)

        waiting: list[ast.stmt] = []
        rank = {ast.FunctionDef: 1, ast.ClassDef: 2}
        for node in sorted(nodes.values(), key=lambda node: rank.get(type(node), 0)):
            append(node)
        return done


def _eager(node: ast.stmt) -> Iterator[ast.AST]:
    """The parts of a definition that Python reads at once."""
    if isinstance(node, ast.FunctionDef):
        yield from [node.args, *node.decorator_list]
        if node.returns is not None:
            yield node.returns
    elif isinstance(node, ast.ClassDef):
        yield from node.bases
        for item in node.body:
            yield from _eager(item)
    else:
        yield node


def _source_of(node: ast.Import | ast.ImportFrom, alias: ast.alias, home: Home) -> str:
    """The module that an import reads."""
    if isinstance(node, ast.Import):
        return alias.name
    package = str(home.space.get("__package__") or home.module)
    return importlib.util.resolve_name("." * node.level + (node.module or ""), package)


def _defined(node: ast.stmt) -> list[str]:
    """The names that a statement defines."""
    if isinstance(node, ast.ClassDef | ast.FunctionDef):
        return [node.name]
    targets: list[Any] = []
    if isinstance(node, ast.Assign):
        targets = node.targets
    elif isinstance(node, ast.AnnAssign):
        targets = [node.target]
    names = []
    for target in targets:
        names += [item.id for item in ast.walk(target) if isinstance(item, ast.Name)]
    return names


def _parts(node: ast.AST, wanted: set[str]) -> Iterator[ast.AST]:
    """The parts of a definition that are needed: of a class, those that something reads."""
    if not isinstance(node, ast.ClassDef):
        yield node
        return
    yield from node.bases
    for item in node.body:
        if isinstance(item, ast.FunctionDef):
            names = {item.name}
            always = item.name.startswith("__") or hasattr(nn.Module, item.name)
        else:
            names = set(_defined(item))
            always = not names and not is_docstring(item)
        if always or names & wanted:
            yield item


class _Plainer(ast.NodeTransformer):
    """Plain annotations, one line of documentation, no decorators and no checks of ours."""

    def __init__(self, home: Home, source: Source):
        self.home, self.source = home, source

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        shorten(node)
        return self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        shorten(node)
        node.decorator_list = [item for item in node.decorator_list if not self._is_ours(item)]
        before = names_in([node], ast.Load)
        node.body = self._without_checks(node.body)
        unread = set(before).difference(names_in([node], ast.Load), vars(builtins))
        node.body = _without_values_of(node.body, unread)
        self.generic_visit(node)
        if node.returns is not None:
            node.returns = self._plain(node.returns)
        return node

    def visit_arg(self, node: ast.arg) -> ast.AST:
        if node.annotation is not None:
            node.annotation = self._plain(node.annotation)
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        node.annotation = self._plain(node.annotation)
        return self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        if self._is_error(node.func):
            return ast.Call(ast.Name("ValueError", ast.Load()), node.args[:1], [])
        return self.generic_visit(node)

    def _value(self, node: ast.expr) -> Any:
        while isinstance(node, ast.Call | ast.Subscript):
            node = node.func if isinstance(node, ast.Call) else node.value
        return self.home.space.get(node.id) if isinstance(node, ast.Name) else None

    def _is_ours(self, node: ast.expr) -> bool:
        module = getattr(self._value(node), "__module__", "") or ""
        return module.partition(".")[0] in ("jaxtyping", *self.source.own)

    def _is_error(self, node: ast.expr) -> bool:
        value = self._value(node)
        return (
            isinstance(node, ast.Name) and inspect.isclass(value) and issubclass(value, BlockError)
        )

    def _plain(self, node: ast.expr) -> ast.expr:
        """An annotation in which an array of jaxtyping is a Tensor."""
        if isinstance(node, ast.Subscript):
            if _is_array(self._value(node)):
                return node.slice.elts[0] if isinstance(node.slice, ast.Tuple) else node.slice
            return ast.Subscript(node.value, self._plain(node.slice), ast.Load())
        if isinstance(node, ast.Tuple):
            return ast.Tuple([self._plain(item) for item in node.elts], ast.Load())
        if isinstance(node, ast.BinOp):
            left, right = self._plain(node.left), self._plain(node.right)
            same = ast.unparse(left) == ast.unparse(right)
            return left if same else ast.BinOp(left, node.op, right)
        if isinstance(node, ast.Name) and _is_array(self._value(node)):
            return ast.Name("Tensor", ast.Load())
        return node

    def _without_checks(self, body: list[ast.stmt]) -> list[ast.stmt]:
        """Leave out statements that have no other purpose than to raise a BlockError."""
        kept: list[ast.stmt] = []
        for node in body:
            if isinstance(node, ast.Try) and all(map(self._is_check, node.handlers)):
                body = self._without_checks([*node.body, *node.orelse])
                node.body, node.handlers, node.orelse = body, [], []
                kept += [node] if node.finalbody else body
            elif not self._is_check(node):
                if isinstance(node, ast.If | ast.For):
                    node.body = self._without_checks(node.body)
                    node.orelse = self._without_checks(node.orelse)
                kept.append(node)
        return kept

    def _is_check(self, node: ast.AST) -> bool:
        if isinstance(node, ast.Raise):
            return isinstance(node.exc, ast.Call) and self._is_error(node.exc.func)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            called = ast.unparse(node.value.func).lstrip("_")
            return self._is_ours(node.value) and called.startswith("must_")
        if not isinstance(node, ast.If | ast.For | ast.ExceptHandler):
            return False
        *others, last = node.body
        if getattr(node, "orelse", None) or not self._is_check(last):
            return False
        return all(self._is_check(item) or _is_local(item) for item in others)


def _is_local(node: ast.stmt) -> bool:
    """Whether a statement does no more than give a variable its value."""
    return isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)


def _is_array(value: Any) -> bool:
    """Whether a value is a type of jaxtyping, or a union of such."""
    if isinstance(value, type):
        return (value.__module__ or "").partition(".")[0] == "jaxtyping"
    return bool(get_args(value)) and all(map(_is_array, get_args(value)))


def _without_values_of(body: list[ast.stmt], unread: set[str]) -> list[ast.stmt]:
    """Leave out assignments to names that only the checks read."""
    kept = []
    for node in body:
        names = set(names_in([node], ast.Store))
        if not (isinstance(node, ast.Assign) and names & unread and names <= unread | {"_"}):
            kept.append(node)
    return kept
