"""Bodies as classes: equal ones share one, with constructor arguments for what differs."""

import ast
import copy
import inspect
import re
from collections.abc import Mapping
from typing import Any

from torch import fx, nn

from blocks.graph.atom import Recipe
from blocks.graph.emit.arguments import Arguments
from blocks.graph.emit.call import Texts
from blocks.graph.emit.group import Group, Layer, Made, mode
from blocks.graph.emit.source import Source
from blocks.graph.module import Graph, Scan


def ports_of(model: Graph, recipes: Mapping[int, Recipe]) -> dict[type, set[str]]:
    """Block -> the inputs of its forward that any node gives."""
    ports: dict[type, set[str]] = {}
    for graph in (module for module in model.modules() if isinstance(module, Graph)):
        for node in graph.graph.nodes:
            recipe = recipes.get(id(graph.get_submodule(node.target))) if node.op == "call_module" else None
            kind: Any = getattr(recipe, "factory", None)
            if recipe is not None and not kind.__module__.startswith("torch."):
                code = kind.forward.__code__
                order = code.co_varnames[1 : code.co_argcount]
                ports.setdefault(kind, set()).update(order[: len(node.args)], node.kwargs)
    return ports


def layer_of(recipe: Recipe, ports: Mapping[type, set[str]], path: str) -> Layer | None:
    """The layer of torch.nn that a block is by its own word, where nothing is given but its first input.

    One that starts in its own way has to stand by a name: `self.embedding`, not an element of a list.
    """
    kind: Any = recipe.factory
    if not isinstance(inspect.getattr_static(kind, "layer", None), classmethod) or len(ports.get(kind, ())) != 1:
        return None
    made = kind.layer(**recipe.arguments)
    layer = Layer(*made)
    return None if layer.start and path.rpartition(".")[2].isdigit() else layer


def _code(graph: fx.Graph) -> str:
    return re.sub(r"\s+", " ", graph.python_code("self").src)


def _takes(module: Graph) -> str | None:
    """The child that gets all inputs after the first, by their own names, and alone reads them."""
    inputs = [] if isinstance(module, Scan) else [node for node in module.graph.nodes if node.op == "placeholder"][1:]
    users = {user for node in inputs for user in node.users}
    if len(users) != 1:
        return None
    call = users.pop()
    given = all(call.kwargs.get(node.target) is node and node not in call.args for node in inputs)
    return str(call.target) if call.op == "call_module" and given and len(call.kwargs) == len(inputs) else None


def _loose(group: Group) -> Any:
    """What a body does, whatever else it may take for one of its children."""
    module = group.members[0]
    name = _takes(module)
    if name is None:
        return group.key[0]
    graph = copy.deepcopy(module.graph)
    for node in graph.nodes:
        if node.op == "call_module" and node.target == name:
            node.kwargs = {}
    for node in [node for node in graph.nodes if node.op == "placeholder"][1:]:
        graph.erase_node(node)
    return _code(graph), *group.key[0][1:]


def _without(module: Graph, name: str) -> str | None:
    """The code of a body without one child, which would hand on its only input."""
    graph = copy.deepcopy(module.graph)
    for node in list(graph.nodes):
        if node.op == "call_module" and node.target == name:
            if len(node.args) != 1 or node.kwargs:
                return None
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)
    return _code(graph)


class Bodies:
    """All classes of a model's bodies, the innermost first."""

    def __init__(self, model: Graph, assembler: Any, labels: Mapping[str, str], title: str, source: Source):
        self.model, self.labels, self.texts = model, labels, Texts(source.settled())
        self.expressions = source.expressions()
        self.recipes: Mapping[int, Recipe] = assembler.recipes
        self.idle: set[int] = assembler.idle
        self.ports = source.ports
        self.paths = {id(module): path for path, module in model.named_modules()}
        graphs = [m for m in model.modules() if isinstance(m, Graph) and mode(m) in (None, "list")]
        heights = {id(graph): self._height(graph) for graph in graphs}
        self.groups: list[Group] = []
        self.of: dict[int, Group] = {}
        for height in sorted(set(heights.values())):
            self._group([graph for graph in graphs if heights[id(graph)] == height])
        ordered: list[Group] = []
        for group in self.groups:
            self._order(group, ordered)
        self.groups = ordered
        self._name(title, {kind.__name__ for kind in source.blocks if kind not in self.expressions})
        for group in self.groups:
            children = [self.children(member) for member in group.members]
            group.silent = {name for name in children[0]
                            if all(name not in each or id(each[name]) in self.idle for each in children)}  # fmt: skip
        for group in self.groups:
            Arguments(self, group).settle()

    def _inside(self, group: Group) -> set[int]:
        return {id(self.of[id(m)]) for member in group.members for m in list(member.modules())[1:] if id(m) in self.of}

    def _order(self, group: Group, ordered: list[Group]) -> None:
        """A class is written behind all that it is made of."""
        for member in group.members:
            for module in list(member.modules())[1:]:
                inner = self.of.get(id(module))
                if inner is not None and inner not in ordered:
                    self._order(inner, ordered)
        if group not in ordered:
            ordered.append(group)

    def _height(self, module: nn.Module) -> int:
        if not isinstance(module, Graph):
            return 0
        return 1 + max((self._height(child) for child in module.children()), default=0)

    def children(self, graph: nn.Module) -> dict[str, nn.Module]:
        """Modules that are stored: those that are one expression are not."""
        return {name: child for name, child in graph._modules.items() if child is not None and not self.joint(child)}

    def joint(self, module: nn.Module) -> bool:
        """Whether a block is one expression, by its own word."""
        recipe = self.recipes.get(id(module))
        return recipe is not None and (hasattr(recipe.factory, "expression") or self.short(module) is not None)

    def short(self, module: nn.Module) -> tuple[list[str], ast.expr] | None:
        """The expression that a block comes down to by its source, and its parameters."""
        kind: Any = getattr(self.recipes.get(id(module)), "factory", None)
        return self.expressions.get(kind)

    def callee(self, module: nn.Module) -> Any:
        if id(module) in self.of:
            return self.of[id(module)]
        if isinstance(module, Graph):
            kinds = {self.callee(child): None for child in module._modules.values() if child is not None}
            return mode(module), tuple(kinds) if len(kinds) == 1 else tuple(map(self.callee, module.children()))
        recipe = self.recipes[id(module)]
        layer = self.layer(module)
        return layer.kind if layer else recipe.factory

    def layer(self, module: nn.Module) -> Layer | None:
        """The layer of torch.nn that a block comes down to here."""
        recipe = self.recipes.get(id(module))
        return layer_of(recipe, self.ports, self.paths[id(module)]) if recipe else None

    def _code(self, graph: Graph) -> Any:
        joints: list[Any] = [
            (name, child.__class__.__name__, repr(self.recipes[id(child)].arguments))
            for name, child in graph._modules.items() if child is not None and self.joint(child)
        ]  # fmt: skip
        joints += [
            (name, layer.outputs, layer.start) for name, child in graph._modules.items()
            if child is not None and (layer := self.layer(child))
        ]  # fmt: skip
        meta = {key: value for key, value in graph.meta.items() if key != "origins"}
        return _code(graph.graph), repr(meta), tuple(joints)

    def _group(self, graphs: list[Graph]) -> None:
        found: dict[Any, Group] = {}
        for graph in graphs:
            kinds = tuple((name, self.callee(child)) for name, child in self.children(graph).items())
            key = (self._code(graph), kinds)
            found.setdefault(key, Group(key, [])).members.append(graph)
        merged: list[Group] = []
        self.of.update({id(graph): group for group in found.values() for graph in group.members})
        for group in [*[g for g in self.groups if g.key[1]], *found.values()]:
            for other in merged:
                alike = _loose(other) == _loose(group) and group is not other
                if alike and len(group.key[1]) == len(other.key[1]) > 1:
                    differ = {
                        a[0] for a, b in zip(group.key[1], other.key[1], strict=True) if a[1] != b[1]
                    } | other.holes
                    nested = id(other) in self._inside(group) or id(group) in self._inside(other)
                    takes = {_takes(each.members[0]) for each in (group, other)} - {None}
                    handed = other.key[0] == group.key[0] or takes | other.open | group.open == differ
                    if len(differ) == 1 and not nested and handed and not next(iter(differ)).isdigit():
                        other.open |= group.open | (differ if other.key[0] != group.key[0] else set())
                        self.of.update({id(graph): other for graph in group.members})
                        other.members += group.members
                        other.holes |= differ
                        break
                elif group is not other and self._join(group, other):
                    break
            else:
                merged.append(group)
        self.groups = [g for g in self.groups if g not in merged and not g.key[1]] + merged
        self.of = {id(graph): group for group in self.groups for graph in group.members}

    def _join(self, group: Group, other: Group) -> bool:
        """Make one class of two, where one has a child more and is the other without it; whether that is so."""
        large, small = (group, other) if len(group.key[1]) > len(other.key[1]) else (other, group)
        names = {name for name, _ in large.key[1]} - {name for name, _ in small.key[1]} - large.optional
        kept = tuple(item for item in large.key[1] if item[0] not in names)
        if len(names) != 1 or kept != small.key[1] or not kept or large.holes or small.holes or small.optional:
            return False
        if large.key[0][1:] != small.key[0][1:] or _without(large.members[0], *names) != small.key[0][0]:
            return False
        self.of.update({id(graph): other for graph in group.members})
        other.members, other.key = [*large.members, *small.members], large.key
        other.optional = large.optional | names
        return True

    def _name(self, title: str, taken: set[str]) -> None:
        for group in self.groups:
            if self.model in group.members:
                group.name = title
                taken.add(title)
        for group in reversed(self.groups):
            if group.name:
                continue
            paths = [self.paths[id(graph)].split(".") for graph in group.members]
            labels = {self.labels.get(".".join(path), "") for path in paths}
            slots = {label.partition(":")[0] for label in labels}
            last = paths[0][-1]
            if len(slots) == 1 and ":" in next(iter(labels)):
                word = slots.pop()
            elif last.isdigit():
                word = paths[0][-2] if len(paths[0]) > 1 else "part"
                word = word[:-1] if word.endswith("s") and not word.endswith("ss") else word
            else:
                word = last
            outer = [part for part in paths[0][:-1] if not part.isdigit() and part not in ("inner", word)]
            base = "".join(part.capitalize() for part in word.split("_"))
            base = base.upper() if base.lower() in ("mlp", "gru", "lstm", "rnn") else base
            name, number = base, 2
            while name in taken:
                prefix = "".join(part.capitalize() for part in outer.pop().split("_")) if outer else ""
                name = prefix + base if prefix else f"{base}{number}"
                number += not prefix
            group.name = name
            taken.add(name)

    def made(self, module: nn.Module) -> Made:
        """How a module is made."""
        if id(module) in self.of:
            group = self.of[id(module)]
            index = next(i for i, member in enumerate(group.members) if member is module)
            return Made(group, {name: values[index] for name, values in group.parameters.items()})
        if isinstance(module, Graph):
            return Made(mode(module), {}, [self.made(child) for child in module.children()])
        if layer := self.layer(module):
            return Made(layer.kind, layer.arguments)
        return _made(self.recipes[id(module)])


def _made(recipe: Recipe) -> Made:
    arguments = {key: _made(value) if isinstance(value, Recipe) else value for key, value in recipe.arguments.items()}
    return Made(recipe.factory, arguments)
