"""Bodies as classes: those of one structure share a class, with arguments for what differs."""

import ast
import inspect
import itertools
import re
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from torch import nn

from blocks.graph.describe.emit.class_names import suggest_names
from blocks.graph.describe.emit.source import CannotEmit
from blocks.graph.record.module import Graph, Scan
from blocks.graph.record.record import MakeBody, Recipe

WIDTHS = (
    *("dim", "normalized_shape", "in_features", "out_features", "in_channels", "out_channels"),
    *("channels", "num_features", "num_channels", "features", "context_dim", "hidden"),
)
NAMES = {
    "in_features": "dim",
    "normalized_shape": "dim",
    "in_channels": "channels",
    "num_features": "channels",
    "num_channels": "channels",
    "out_features": "features",
    "out_channels": "features",
}


@dataclass(eq=False)
class Group:
    """Graphs that share a class.

    Args:
        forward: what their `forward` does, and the names of the children.
        parts: what each child is.
        members: the graphs.
        holes: the child that is handed in, because it differs.
        parameters: name -> the value for each member.
        lines: child -> the expression that makes it.
        silent: children that do nothing in any member.
    """

    forward: Any
    parts: dict[str, Any]
    members: list[Graph]
    holes: set[str] = field(default_factory=set)
    name: str = ""
    parameters: dict[str, list[Any]] = field(default_factory=dict)
    lines: dict[str, str] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)


@dataclass(eq=False)
class Made:
    """How a module is made: by a class or a group with arguments; or a container of modules."""

    callee: Any
    arguments: dict[str, Any]
    elements: list["Made"] = field(default_factory=list)


class Bodies:
    """The classes of a model's bodies, the innermost first.

    Args:
        model: the whole.
        recipes: the identity of a module -> how it was made.
        idle: the identities of modules that do nothing.
        names: blocks -> their names in the file.
        dropped: name of a block -> arguments that it no longer takes.
        inlined: blocks that are written as an expression where they are called.
        reserved: names that no class, and no variable inside a method, may have.
    """

    def __init__(
        self,
        model: Graph,
        recipes: Mapping[int, Recipe],
        idle: set[int],
        names: Mapping[type, str],
        dropped: Mapping[str, set[str]],
        inlined: Container[type],
        reserved: set[str],
    ):
        self.model, self.recipes, self.idle = model, recipes, idle
        self.names, self.dropped, self.inlined, self.reserved = names, dropped, inlined, reserved
        self.paths: dict[int, str] = {}
        self.aliases: dict[str, str] = {}  # path -> the path at which the same module stands first
        self.aliased: set[tuple[int, str]] = set()
        for path, module in model.named_modules(remove_duplicate=False):
            above, _, name = path.rpartition(".")
            if above in self.aliases:
                self.aliases[path] = ""
            elif self.paths.setdefault(id(module), path) != path:
                self.aliases[path] = self.paths[id(module)]
                self.aliased.add((id(model.get_submodule(above)), name))
        self.groups: list[Group] = []
        self.of: dict[int, Group] = {}
        self._group(model)
        self.ordered: list[Group] = []

    def class_of(self, module: nn.Module) -> Any:
        """The class of a module: what the model's YAML calls a block."""
        recipe = self.recipes.get(id(module))
        return recipe.factory if recipe is not None else type(module)

    def children_of(self, graph: nn.Module) -> dict[str, nn.Module]:
        """Modules that the class of a body makes itself and keeps."""
        found = {}
        for name, child in graph.named_children():
            if (id(graph), name) not in self.aliased and self.class_of(child) not in self.inlined:
                found[name] = child
        return found

    def input_name(self, module: nn.Module, name: str) -> str:
        """The name of an input in the class of a body."""
        inner = isinstance(module, Graph) and module is not self.model
        return f"{name}_" if inner and name in self.reserved else name

    def container_of(self, graph: nn.Module) -> str | None:
        """The container of torch that a repeat can be, "list" for others; None for no repeat."""
        if not isinstance(graph, Graph) or isinstance(graph, Scan):
            return None
        if not all(map(str.isdigit, graph._modules)):
            return None
        value: Any = None
        given = set()
        called = []
        for node in graph.graph.nodes:
            if node.op == "placeholder":
                value = value or node
            elif node.op == "call_module" and node.args and node.args[0] is value:
                value = node
                called.append(node.target)
                given.add((tuple(node.args[1:]), tuple(node.kwargs.items())))
                others: list[Any] = [*node.args[1:], *node.kwargs.values()]
            elif node.op != "output" or node.args[0] is not value:
                return "list"
        if (
            called != list(graph._modules)
            or len(given) != 1
            or len(self.children_of(graph)) != len(called)
        ):
            return "list"
        for item in others:
            if item.op != "placeholder":
                return "list"
        return "ModuleList" if others else "Sequential"

    # Grouping -------------------------------------------------------------------------------------

    def _group(self, module: nn.Module) -> Any:
        """Find the group of a body and of all inside it; what stands for its structure."""
        if not isinstance(module, Graph):
            self._group_parts(self.recipes.get(id(module)), self.paths.get(id(module), ""))
            return self.class_of(module)
        parts = {}
        for name, child in self.children_of(module).items():
            parts[name] = self._group(child)
        kind = self.container_of(module)
        if kind is not None and "0" not in module._modules:
            path = self.paths[id(module)]
            raise CannotEmit(
                f"the entry begins inside {path}, and a list of PyTorch begins at 0: "
                "cut before or after it"
            )
        if kind in ("Sequential", "ModuleList"):
            return kind, tuple(dict.fromkeys(parts.values()))
        forward = self._forward(module)
        for group in self.groups:
            differ = set(group.holes)
            for name, part in parts.items():
                if group.parts.get(name) != part:
                    differ.add(name)
            apart = bool(differ) and (len(parts) == 1 or kind == "list")
            if group.forward == forward and len(differ) <= 1 and not apart:
                group.holes |= differ
                break
        else:
            group = Group(forward, parts, [])
            self.groups.append(group)
        group.members.append(module)
        self.of[id(module)] = group
        return group

    def _group_parts(self, recipe: Recipe | None, path: str) -> None:
        """Find the groups of the parts of a block that are bodies."""
        for name, part in ({} if recipe is None else recipe.parts).items():
            below = f"{path}.{name}"
            if isinstance(part.factory, MakeBody) and id(part.factory.graph) not in self.of:
                graph = part.factory.graph
                for inner, module in graph.named_modules():
                    self.paths[id(module)] = f"{below}.{inner}".rstrip(".")
                self._group(graph)
            self._group_parts(part, below)

    def _forward(self, graph: Graph) -> Any:
        """What a body does, apart from what its children are."""
        found: list[Any] = [re.sub(r"\s+", " ", graph.graph.python_code("self").src)]
        for name, child in graph.named_children():
            if (id(graph), name) in self.aliased:
                found.append(id(graph))
            elif self.class_of(child) in self.inlined:
                found.append((name, self.class_of(child), repr(self.recipes[id(child)].arguments)))
            elif isinstance(child, Graph):
                renamed = self.reserved.intersection(child.input_names)
                if self.container_of(child) or renamed:
                    found.append((name, self.container_of(child), sorted(renamed)))
        for key in ("axis", "states", "sequence", "step_outputs", "reverse"):
            found.append(graph.meta.get(key))
        return [*map(str, found), *self.children_of(graph)]

    # Arguments ------------------------------------------------------------------------------------

    def describe_making(self, module: nn.Module) -> Made:
        """How a module is made."""
        if id(module) in self.of:
            group = self.of[id(module)]
            self.settle_group(group)
            arguments = {}
            for name, values in group.parameters.items():
                arguments[name] = values[group.members.index(module)]  # type: ignore[arg-type]
            return Made(group, arguments)
        if isinstance(module, Graph):
            return Made(
                f"nn.{self.container_of(module)}",
                {},
                list(map(self.describe_making, module.children())),
            )
        return self._describe_recipe(self.recipes[id(module)])

    def _describe_recipe(self, recipe: Recipe) -> Made:
        if isinstance(recipe.factory, MakeBody):
            return self.describe_making(recipe.factory.graph)
        arguments = dict(recipe.arguments)
        for key, value in arguments.items():
            if isinstance(value, Recipe):
                arguments[key] = self._describe_recipe(value)
        return Made(recipe.factory, arguments)

    def settle_group(self, group: Group) -> None:
        """Find the parameters of a class, and the expression that makes each child."""
        if group in self.ordered or group.lines:
            return
        members = list(map(self.children_of, group.members))
        constructor = Constructor(self)
        for name in members[0]:
            column: list[Any] = [children[name] for children in members]
            if set(map(id, column)) <= self.idle:
                group.silent.add(name)
            elif name in group.holes:
                group.lines[name] = constructor.add_parameter(name, "", column)
            else:
                group.lines[name] = constructor.write_value(name, "", column)
        for name, (_, values) in constructor.columns.items():
            group.parameters[name] = values
        self.ordered.append(group)

    # Names ----------------------------------------------------------------------------------------

    def name_classes(self, title: str, labels: Mapping[str, str]) -> None:
        """Name the classes: after the model, the slots and the nodes.

        Args:
            title: the name of the class of the whole.
            labels: path of a node -> what stands there, "residual: prenorm".
        """
        taken = {title, *self.reserved}
        for group in reversed(self.groups):
            if self.model in group.members:
                group.name = title
                continue
            names = suggest_names([self.paths[id(graph)] for graph in group.members], labels)
            name, number = names.pop(0), 2
            while name in taken and names:
                name = names.pop(0) + name
            first = name
            while name in taken:
                name, number = f"{first}{number}", number + 1
            group.name = name
            taken.add(name)


class Constructor:
    """The parameters of a class: columns of values, one for each body that shares it."""

    def __init__(self, bodies: Bodies):
        self.bodies = bodies
        self.columns: dict[str, tuple[str, list[Any]]] = {}

    def write_value(self, child: str, argument: str, values: Sequence[Any]) -> str:
        """The text of a value: as it is where all bodies have the same, else a parameter."""
        found = []
        for value in values:
            found.append(
                self.bodies.describe_making(value) if isinstance(value, nn.Module) else value
            )
        first = found[0]
        if not isinstance(first, Made):
            if all(map(partial(_is_same, first), found)):
                return ast.unparse(ast.Constant(first))
            return self.add_parameter(child, argument, found)
        if {getattr(value, "callee", None) for value in found} != {first.callee}:
            return self.add_parameter(child, argument, found)
        if first.elements:
            return self._write_container(child, found)
        texts = {}
        for key in self._arguments_of(found):
            texts[key] = self.write_value(child, key, _column(found, key))
        return self._write_call(first.callee, texts)

    def _write_call(self, callee: Any, texts: Mapping[str, str]) -> str:
        """The call that makes a module: what is usual is left out, what is needed stands first."""
        name = callee.name if isinstance(callee, Group) else self.bodies.names.get(callee)
        known = {} if isinstance(callee, Group) else inspect.signature(callee).parameters
        shown, bare = [], True
        for index, (key, text) in enumerate(texts.items()):
            parameter = known.get(key)
            required = parameter is None or parameter.default is parameter.empty
            if not required and text == repr(parameter.default):  # type: ignore[union-attr]
                bare = False
                continue
            if parameter is None:
                bare = index < 3 and isinstance(callee, Group)
            else:
                in_place = list(known).index(key) == index
                bare = bare and in_place and parameter.kind is not parameter.KEYWORD_ONLY
                bare = bare and (required or index == 0)
            shown.append(text if bare else f"{key}={text}")
        return f"{name or f'nn.{callee.__name__}'}({', '.join(shown)})"

    def _arguments_of(self, values: Sequence[Made]) -> list[str]:
        """Arguments that any of the calls gives, in the order of the constructor."""
        callee, given = values[0].callee, dict[str, None]()
        for made in values:
            given |= dict.fromkeys(made.arguments)
        if isinstance(callee, Group):
            return list(given)
        dropped = self.bodies.dropped.get(self.bodies.names.get(callee, ""), set())
        order = list(inspect.signature(callee).parameters)
        kept = sorted(given, key=lambda key: order.index(key) if key in order else len(order))
        return [key for key in kept if key not in dropped]

    def _write_container(self, child: str, values: Sequence[Made]) -> str:
        """A repeat: a loop over what differs where its elements are of one class, else a list."""
        kind, rows = values[0].callee, [made.elements for made in values]
        calls = list(itertools.chain(*rows))
        alike = len(set(map(len, rows))) == 1
        if len({made.callee for made in calls}) == 1 and len(calls) > len(rows):
            varying = self._find_varying(rows)
            if self._shares_modules(rows):  # a loop would call one module given from outside
                varying = None
            if varying is not None and not (varying and alike and len(rows[0]) <= 3):
                loop = self._write_loop(child, rows, varying)
                return f"{kind}(*{loop})" if kind == "nn.Sequential" else f"{kind}{loop}"
        if not alike:
            return self.add_parameter(child, "", list(values))
        texts = []
        for index, column in enumerate(zip(*rows, strict=True)):
            texts.append(self.write_value(f"{child}_{index}", "", column))
        shown = ", ".join(texts)
        return f"{kind}({shown})" if kind == "nn.Sequential" else f"{kind}([{shown}])"

    def _find_varying(self, rows: list[list[Made]]) -> list[str] | None:
        """Arguments that differ within a row; None where such a one is a module."""
        found = []
        calls = list(itertools.chain(*rows))
        if calls[0].elements:
            return None
        for key in self._arguments_of(calls):
            trial = Constructor(self.bodies)
            for row in rows:
                for made in row[1:]:
                    trial.write_value("", "", _column([row[0], made], key))
            if trial.columns:
                found.append(key)
                if any(isinstance(value, Made | nn.Module) for value in _column(calls, key)):
                    return None
        return found

    def _shares_modules(self, rows: list[list[Made]]) -> bool:
        """Whether rows of more than one element differ in a module, which a parameter would
        hold.
        """
        if max(map(len, rows)) == 1:
            return False
        trial = Constructor(self.bodies)
        first = [row[0] for row in rows]
        for key in self._arguments_of(first):
            trial.write_value("", key, _column(first, key))
        for _, values in trial.columns.values():
            if any(isinstance(value, Made | nn.Module) for value in values):
                return True
        return False

    def _write_loop(self, child: str, rows: list[list[Made]], varying: list[str]) -> str:
        texts, loops = {}, {}
        for key in self._arguments_of(list(itertools.chain(*rows))):
            if key in varying:
                texts[key] = f"{key}_" if key in self.columns else key
                columns = [tuple(_column(row, key)) for row in rows]
                loops[texts[key]] = self.write_value(child, f"{key}s", columns)
            else:
                texts[key] = self.write_value(child, key, _column([row[0] for row in rows], key))
        call = self._write_call(rows[0][0].callee, texts)
        if not loops:
            depth = self.write_value(child, "depth", list(map(len, rows)))
            return f"({call} for _ in range({depth}))"
        over = next(iter(loops.values()))
        if len(loops) > 1:
            over = f"zip({', '.join(loops.values())}, strict=True)"
        return f"({call} for {', '.join(loops)} in {over})"

    def add_parameter(self, child: str, argument: str, values: list[Any]) -> str:
        """A parameter for values that differ: a known one, a multiple of it, or a new one."""
        kind = {"height": "side", "width": "side"}.get(argument, argument)
        if argument in WIDTHS and set(map(type, values)) == {int}:
            kind = "width"
        for name, (known, others) in self.columns.items():
            if known != kind or not kind:
                continue
            if all(map(_is_same, values, others)):
                return name
            if kind == "width" and (times := _times(values, others)):
                return f"{times} * {name}"
            if kind == "width" and (times := _times(others, values)):
                return f"{name} // {times}"
        name = NAMES.get(argument, argument) or child
        if name in self.columns or hasattr(nn.Module, name):
            name = f"{child}_{name}"
        self.columns[name] = kind, list(values)
        return name


def _column(calls: Iterable[Made], key: str) -> list[Any]:
    """An argument of each call, as its constructor has it where it is not given."""
    found = []
    for made in calls:
        if key in made.arguments:
            found.append(made.arguments[key])
        else:
            found.append(inspect.signature(made.callee).parameters[key].default)
    return found


def _is_same(value: Any, other: Any) -> bool:
    return type(value) is type(other) and bool(value == other)


def _times(values: list[int], others: list[int]) -> int | None:
    """How many times the others the values are, where that is the same small number for all."""
    times = values[0] // others[0]
    for value, other in zip(values, others, strict=True):
        if value != times * other or not 2 <= times <= 8:
            return None
    return times
