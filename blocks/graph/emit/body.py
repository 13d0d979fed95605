"""Bodies as classes: equal ones share one, with constructor arguments for what differs."""

import inspect
import re
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from blocks.graph.atom import Recipe
from blocks.graph.emit.group import Code, Group, Made, mode
from blocks.graph.module import Graph

WIDTHS = ("dim", "normalized_shape", "in_features", "out_features", "channels", "in_channels", "out_channels",
          "num_features", "num_channels", "features", "hidden_size", "groups", "context_dim")  # fmt: skip

SIDES = {"height": "side", "width": "side"}


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


def is_layer(kind: Any, ports: Mapping[type, set[str]]) -> bool:
    """Whether a block is a layer of torch.nn here, by its own word: nothing is given but its first input."""
    return hasattr(kind, "layer") and len(ports.get(kind, ())) == 1


class Bodies:
    """All classes of a model's bodies, the innermost first."""

    def __init__(self, model: Graph, assembler: Any, labels: Mapping[str, str], title: str,
                 taken: set[str], settled: Mapping[type, set[str]], ports: Mapping[type, set[str]]):  # fmt: skip
        self.model, self.labels, self.settled = model, labels, settled
        self.recipes: Mapping[int, Recipe] = assembler.recipes
        self.idle: set[int] = assembler.idle
        self.ports = ports
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
        self._name(title, taken)
        for group in self.groups:
            children = [self.children(member) for member in group.members]
            group.silent = {name for name in children[0] if all(id(each[name]) in self.idle for each in children)}
        for group in self.groups:
            self._parameters(group)

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
        return recipe is not None and hasattr(recipe.factory, "expression")

    def callee(self, module: nn.Module) -> Any:
        if id(module) in self.of:
            return self.of[id(module)]
        if isinstance(module, Graph):
            kinds = {self.callee(child): None for child in module._modules.values() if child is not None}
            return mode(module), tuple(kinds) if len(kinds) == 1 else tuple(map(self.callee, module.children()))
        recipe = self.recipes[id(module)]
        layer = self.layer(module)
        return layer[0] if layer else recipe.factory

    def layer(self, module: nn.Module) -> tuple[Any, dict[str, Any], tuple[str, ...]] | None:
        """The layer of torch.nn that a block comes down to here: its class, arguments and outputs."""
        recipe = self.recipes.get(id(module))
        kind: Any = getattr(recipe, "factory", None)
        return kind.layer(**recipe.arguments) if recipe and is_layer(kind, self.ports) else None

    def _code(self, graph: Graph) -> Any:
        joints = [
            (name, child.__class__.__name__, repr(self.recipes[id(child)].arguments))
            for name, child in graph._modules.items() if child is not None and self.joint(child)
        ]  # fmt: skip
        meta = {key: value for key, value in graph.meta.items() if key != "origins"}
        return re.sub(r"\s+", " ", graph.code), repr(meta), tuple(joints)

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
                if other.key[0] == group.key[0] and group is not other and len(group.key[1]) == len(other.key[1]) > 1:
                    differ = {
                        a[0] for a, b in zip(group.key[1], other.key[1], strict=True) if a[1] != b[1]
                    } | other.holes
                    nested = id(other) in self._inside(group) or id(group) in self._inside(other)
                    if len(differ) == 1 and not nested:
                        self.of.update({id(graph): other for graph in group.members})
                        other.members += group.members
                        other.holes |= differ
                        break
            else:
                merged.append(group)
        self.groups = [g for g in self.groups if g not in merged and not g.key[1]] + merged
        self.of = {id(graph): group for group in self.groups for graph in group.members}

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

    # ---------------------------------------------------------------- arguments

    def made(self, module: nn.Module) -> Made:
        if id(module) in self.of:
            group = self.of[id(module)]
            index = next(i for i, member in enumerate(group.members) if member is module)
            return Made(group, {name: values[index] for name, values in group.parameters.items()})
        if isinstance(module, Graph):
            return Made(mode(module), {}, [self.made(child) for child in module.children()])
        if layer := self.layer(module):
            return Made(*layer[:2])
        recipe = self.recipes[id(module)]
        return Made(recipe.factory, {k: self._value(v) for k, v in recipe.arguments.items()})

    def _value(self, value: Any) -> Any:
        if isinstance(value, Recipe):
            return Made(value.factory, {k: self._value(v) for k, v in value.arguments.items()})
        return value

    def text(self, made: Made) -> str:
        if made.elements:
            return self._container(made.callee, [made], None)[0]
        return self.call(made.callee, {k: self.literal(v) for k, v in made.arguments.items()}, made.arguments)

    def literal(self, value: Any) -> str:
        if isinstance(value, Made):
            return self.text(value)
        return str(value) if isinstance(value, Code) else repr(value)

    def call(self, callee: Any, texts: Mapping[str, str], values: Mapping[str, Any]) -> str:
        """The call that makes a module: what is usual is left out, what is positional stands first."""
        if isinstance(callee, Group):
            return f"{callee.name}({', '.join(texts[name] for name in callee.parameters)})"
        name = f"nn.{callee.__name__}" if callee.__module__.startswith("torch.") else callee.__name__
        known = inspect.signature(callee.__init__).parameters
        if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in known.values()):
            given = [text if at < 2 else f"{key}={text}" for at, (key, text) in enumerate(texts.items())]
            return f"{name}({', '.join(given)})"
        shown, position = [], 0
        gone = self.settled.get(callee, set())
        for key, parameter in list(known.items())[1:]:
            if key in gone:
                continue
            if key not in texts:
                position = 99
                continue
            if texts[key] == repr(parameter.default) and parameter.default is not parameter.empty:
                position = 99
                continue
            bare = parameter.kind is not parameter.KEYWORD_ONLY and position < 2 and not (
                parameter.default is not parameter.empty and position == 0 and key in ("p", "eps"))  # fmt: skip
            shown.append(texts[key] if bare else f"{key}={texts[key]}")
            position += 1 if bare else 99
        return f"{name}({', '.join(shown)})"

    def _parameters(self, group: Group) -> None:
        columns: dict[str, tuple[str, list[Any]]] = {}

        def parameter(child: str, argument: str, values: list[Any]) -> str:
            literals = [self.literal(value) for value in values]
            if len(set(literals)) == 1:
                return literals[0]
            first = values[0]
            if isinstance(first, Made) and all(
                isinstance(v, Made) and v.callee is first.callee and not v.elements for v in values
            ):
                return self.call(first.callee, {
                    key: parameter(child, key, [self._argument(made, key) for made in values])
                    for key in self._keys(values)
                }, first.arguments)  # fmt: skip
            wide = argument in WIDTHS
            same = "width" if wide else SIDES.get(argument, argument)
            for name, (kind, known) in columns.items():
                if isinstance(first, Code | Made):
                    break
                if kind == same and repr(known) == repr(values):
                    return name
                if kind == "width" and (wide or argument == "hidden") and (times := _multiple(values, known)):
                    return f"{times} * {name}"
            name = argument
            if argument.startswith(("in_", "normalized", "num_")) or argument in ("dim", "channels"):
                name = "channels" if "channels" in argument or argument == "num_features" else "dim"
            elif wide:
                name = "hidden" if child == "expand" else "features"
            if name in columns or name in dir(nn.Module):
                name = f"{child}_{argument}" if not child.isdigit() else f"{argument}_{child}"
            columns[name] = (same, values)
            return name

        for name in (name for name in self.children(group.members[0]) if name not in group.silent):
            mades = [self.made(self.children(member)[name]) for member in group.members]
            first = mades[0]
            if name in group.holes or any(made.callee is not first.callee for made in mades):
                texts = [self.text(made) for made in mades]
                group.lines[name] = texts[0] if len(set(texts)) == 1 else name
                if len(set(texts)) > 1:
                    columns[name] = ("hole", [*mades])
            elif first.elements:
                kinds = {id(e.callee) for made in mades for e in made.elements}
                if len(kinds) > 1 or len(mades) == 1:
                    texts = [Code(self.text(made)) for made in mades]
                    group.lines[name] = texts[0] if len(set(texts)) == 1 else name
                    if len(set(texts)) > 1:
                        columns[name] = ("hole", texts)
                else:
                    group.lines[name] = self._container(first.callee, mades, lambda a, v, n=name: parameter(n, a, v))[0]
            else:
                texts_of = {
                    key: parameter(name, key, [self._argument(made, key) for made in mades])
                    for key in self._keys(mades)
                }
                group.lines[name] = self.call(first.callee, texts_of, first.arguments)
        group.parameters = {name: values for name, (_, values) in columns.items()}

    def _tuple(self, row: Sequence[Any]) -> str:
        return f"({', '.join(map(self.literal, row))}{',' if len(row) == 1 else ''})"

    def _keys(self, mades: Sequence[Made]) -> dict[str, None]:
        """Arguments that the constructor still takes, of any of them."""
        callee = mades[0].callee
        gone = set() if isinstance(callee, Group) else self.settled.get(callee, set())
        return {key: None for made in mades for key in made.arguments if key not in gone}

    def _argument(self, made: Made, key: str) -> Any:
        if key in made.arguments:
            return made.arguments[key]
        return inspect.signature(made.callee.__init__).parameters[key].default

    def _container(self, kind: str, mades: list[Made], parameter: Any) -> tuple[str]:
        """A repeat: a comprehension where its elements are of one class, a list otherwise."""
        first, name = mades[0].elements, "nn.Sequential" if kind == "Sequential" else "nn.ModuleList"
        if len({id(item.callee) for item in first}) > 1 or first[0].elements:
            inner = ", ".join(self.text(item) for item in first)
            return (f"{name}({inner})" if kind == "Sequential" else f"{name}([{inner}])",)
        keys = self._keys([item for made in mades for item in made.elements])
        give = parameter or (lambda argument, values: self.literal(values[0]))
        texts, loops = {}, []
        for key in keys:
            rows = [[self._argument(item, key) for item in made.elements] for made in mades]
            alike = all(len({self.literal(v) for v in row}) == 1 for row in rows)
            # A module that is handed in stands once: each element needs one of its own.
            handed = isinstance(rows[0][0], Code | Made) and len({self.literal(row[0]) for row in rows}) > 1
            if alike and not handed:
                texts[key] = give(key, [row[0] for row in rows])
            else:
                literal = [Code(_progression(row) or self._tuple(row)) for row in rows]
                texts[key] = key
                loops.append((key, give(f"{key}s", literal)))
        call = self.call(first[0].callee, texts, first[0].arguments)
        if not loops and all(len(made.elements) == 1 for made in mades):
            return (f"{name}({call})" if kind == "Sequential" else f"{name}([{call}])",)
        if not loops:
            head = f"for _ in range({give('depth', [len(made.elements) for made in mades])})"
        elif len(loops) == 1:
            name_of, source = loops[0]
            walked = re.fullmatch(r"\[(.*) for i in (range\(.*\))\]", source)
            head = f"for i in {walked[2]}" if walked else f"for {name_of} in {source}"
            if walked:
                call = self.call(first[0].callee, {**texts, name_of: walked[1]}, first[0].arguments)
        else:
            head = f"for {', '.join(a for a, _ in loops)} in zip({', '.join(b for _, b in loops)}, strict=True)"
        inner = f"{call} {head}"
        return (f"{name}(*({inner}))" if kind == "Sequential" else f"{name}({inner})",)


def _progression(row: Sequence[Any]) -> str | None:
    """Rates that rise evenly, `0.1 * (i / 11)`, where that gives each of them to the bit and the numbers are many."""
    if len(row) < 4 or not all(type(value) is float for value in row) or row[-1] <= 0:
        return None
    for whole in range(1, 200):
        for last in range(len(row) - 1, whole + 1):
            first, top = last - len(row) + 1, float(f"{row[-1] * whole / last:.4g}")
            if all(top * ((first + at) / whole) == value for at, value in enumerate(row)):
                return f"[{top!r} * (i / {whole}) for i in range({f'{first}, ' if first else ''}{last + 1})]"
    return None


def _multiple(values: Sequence[Any], known: Sequence[Any]) -> int | None:
    """How many times `known` each of the values is, where they differ and it is the same for all."""
    numbers = [*values, *known]
    if not all(type(number) is int and number > 0 for number in numbers) or len(set(known)) == 1:
        return None
    times = values[0] // known[0]
    return times if 2 <= times <= 4 and all(a == times * b for a, b in zip(values, known, strict=True)) else None
