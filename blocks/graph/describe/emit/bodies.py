"""Bodies as classes: those of one structure share a class, with arguments for what differs."""

import ast
import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from blocks.graph.assemble.block import Recipe
from blocks.graph.record.module import Graph, Scan

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
UPPER = ("bert", "cat", "cnn", "gpt", "gpt2", "gru", "lstm", "mlp", "rnn", "vgg16")
TITLES = {
    "vit": "ViT",
    "unet": "UNet",
    "resnet": "ResNet",
    "resnet18": "ResNet18",
    "resnet50": "ResNet50",
    "alexnet": "AlexNet",
    "lenet5": "LeNet5",
    "convnext": "ConvNeXt",
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


def container_of(graph: nn.Module, aliased: set[tuple[int, str]]) -> str | None:
    """The container that a repeat can be, "list" where it is none of torch; None for other bodies."""
    if (
        not isinstance(graph, Graph)
        or isinstance(graph, Scan)
        or not all(name.isdigit() for name in graph._modules)
    ):
        return None
    nodes = list(graph.graph.nodes)
    inputs = [node for node in nodes if node.op == "placeholder"]
    calls = [node for node in nodes if node.op == "call_module"]
    names = [str(index) for index in range(len(calls))]
    value: Any = inputs[0] if inputs else None
    others = set()
    for node in calls:
        if not node.args or node.args[0] is not value or (id(graph), str(node.target)) in aliased:
            return "list"
        value = node
        others.add((tuple(node.args[1:]), tuple(node.kwargs.items())))
    straight = (
        len(nodes) == len(inputs) + len(calls) + 1 and [node.target for node in calls] == names
    )
    if (
        not straight
        or len(calls) != len(graph._modules)
        or nodes[-1].args[0] is not value
        or len(others) != 1
    ):
        return "list"
    given = [*others.copy().pop()[0], *dict(others.pop()[1]).values()]
    if any(item.op != "placeholder" for item in given):
        return "list"
    return "ModuleList" if given else "Sequential"


class Bodies:
    """The classes of a model's bodies, the innermost first.

    Args:
        model: the whole.
        recipes: the identity of a module -> how it was made.
        idle: the identities of modules that do nothing.
        labels: path of a node -> what stands there, "residual: prenorm".
        gone: the name of a block -> the arguments that it no longer takes.
        names: blocks -> their names in the file.
        inlined: blocks that are written as an expression where they are called.
        title: the name of the class of the whole.
        taken: names that no class may have.
    """

    def __init__(
        self,
        model: Graph,
        recipes: Mapping[int, Recipe],
        idle: set[int],
        labels: Mapping[str, str],
        gone: Mapping[str, set[str]],
        names: Mapping[type, str],
        inlined: set[type],
        title: str,
        taken: set[str],
    ):
        self.model, self.recipes, self.idle, self.gone, self.names = (
            model,
            recipes,
            idle,
            gone,
            names,
        )
        self.inlined, self.reserved = inlined, taken | {"reversed"}
        self.paths: dict[int, str] = {}
        self.aliases: dict[str, str] = {}
        aliased: set[tuple[int, str]] = set()
        for path, module in model.named_modules(remove_duplicate=False):
            above, _, name = path.rpartition(".")
            if above in self.aliases:
                self.aliases[path] = ""
            elif self.paths.setdefault(id(module), path) != path:
                self.aliases[path] = self.paths[id(module)]
                aliased.add((id(model.get_submodule(above)), name))
        self.aliased = aliased
        self.groups: list[Group] = []
        self.of: dict[int, Group] = {}
        self._group(model)
        self._name(title, labels, taken)
        self.ordered: list[Group] = []
        self._settle(self.of[id(model)])

    def container(self, module: nn.Module) -> str | None:
        return container_of(module, self.aliased)

    def children(self, graph: nn.Module) -> dict[str, nn.Module]:
        """Modules that the class makes itself and keeps."""
        found = {}
        for name, child in graph._modules.items():
            if (
                child is not None
                and (id(graph), name) not in self.aliased
                and self.kind(child) not in self.inlined
            ):
                found[name] = child
        return found

    def kind(self, module: nn.Module) -> Any:
        recipe = self.recipes.get(id(module))
        return recipe.factory if recipe else type(module)

    # ------------------------------------------------------------------ grouping

    def _group(self, module: nn.Module) -> Any:
        """Find the group of a body and of all inside it; what stands for its structure."""
        if id(module) in self.of:
            return self.of[id(module)]
        if not isinstance(module, Graph):
            return self.kind(module)
        parts = {name: self._group(child) for name, child in self.children(module).items()}
        kind = self.container(module)
        if kind in ("Sequential", "ModuleList"):
            return kind, tuple(dict.fromkeys(parts.values()))
        forward = self._forward(module)
        for group in self.groups:
            differ = {name for name in parts if group.parts.get(name) != parts[name]} | group.holes
            apart = bool(differ) and (len(parts) == 1 or kind == "list")
            if group.forward == forward and len(differ) <= 1 and not apart:
                group.holes |= differ
                group.members.append(module)
                self.of[id(module)] = group
                return group
        group = self.of[id(module)] = Group(forward, parts, [module])
        self.groups.append(group)
        return group

    def _forward(self, graph: Graph) -> Any:
        """What a body does, apart from what its children are."""
        code = re.sub(r"\s+", " ", graph.graph.python_code("self").src)
        written: list[Any] = []
        for name, child in graph._modules.items():
            if (id(graph), name) in self.aliased:
                written.append(id(graph))
            elif child is not None and self.kind(child) in self.inlined:
                written.append((self.kind(child), repr(self.recipes[id(child)].arguments)))
            elif isinstance(child, Graph) and (
                self.container(child) or self.reserved.intersection(child.input_names)
            ):
                written.append(
                    (name, self.container(child), self.reserved.intersection(child.input_names))
                )
        scan = [
            graph.meta[key]
            for key in ("axis", "states", "sequence", "step_outputs", "reverse")
            if key in graph.meta
        ]
        return code, tuple(self.children(graph)), tuple(map(str, written)), str(scan)

    # ------------------------------------------------------------------ arguments

    def made(self, module: nn.Module) -> Made:
        """How a module is made."""
        if id(module) in self.of:
            group = self.of[id(module)]
            self._settle(group)
            index = next(i for i, member in enumerate(group.members) if member is module)
            return Made(group, {name: values[index] for name, values in group.parameters.items()})
        if isinstance(module, Graph):
            return Made(
                f"nn.{self.container(module)}",
                {},
                [self.made(child) for child in module.children()],
            )
        return self._made(self.recipes[id(module)])

    def _made(self, recipe: Recipe) -> Made:
        arguments = dict(recipe.arguments)
        for key, value in arguments.items():
            if isinstance(value, Recipe):
                arguments[key] = self._made(value)
        return Made(recipe.factory, arguments)

    def _settle(self, group: Group) -> None:
        """Find the parameters of a class, and the expression that makes each child."""
        if group in self.ordered or group.lines:
            return
        members = [self.children(member) for member in group.members]
        constructor = Constructor(self)
        for name in members[0]:
            column: list[Any] = [children[name] for children in members]
            if all(id(child) in self.idle for child in column):
                group.silent.add(name)
            elif name in group.holes:
                group.lines[name] = constructor.parameter(name, "", column)
            else:
                group.lines[name] = constructor.text(
                    name, "", [self.made(child) for child in column]
                )
        group.parameters = {name: values for name, (_, values) in constructor.columns.items()}
        self.ordered.append(group)

    # ------------------------------------------------------------------ names

    def _name(self, title: str, labels: Mapping[str, str], taken: set[str]) -> None:
        self.of[id(self.model)].name = title
        taken = taken | {title}
        for group in reversed(self.groups):
            if group.name:
                continue
            paths = [self.paths[id(graph)].split(".") for graph in group.members]
            words = _words(paths[0], {labels.get(".".join(path), "") for path in paths})
            name, number = words[0], 2
            while name in taken:
                if len(words) > 1:
                    words[:2] = [words[1] + words[0]]
                    name = words[0]
                else:
                    name, number = f"{words[0]}{number}", number + 1
            group.name = name
            taken.add(name)


def _words(path: list[str], labels: set[str]) -> list[str]:
    """Names for a class, the plainest first: its slot or its node, then the nodes around it."""
    slots = {label.partition(":")[0] for label in labels}
    names = [part for part in path if not part.isdigit() and part != "inner"] or ["part"]
    word = names.pop()
    if path[-1].isdigit():
        word = word[:-1] if word.endswith("s") and not word.endswith("ss") else f"{word}_layer"
    if len(slots) == 1 and ":" in next(iter(labels)):
        names.append(word)
        word = slots.pop()
    outer = [part for part in reversed(names) if part.rstrip("s") != word.rstrip("s")]
    return list(map(camel, [word, *outer]))


def camel(word: str) -> str:
    """ "cross_attention" -> "CrossAttention", "mlp" -> "MLP"."""
    parts = []
    for part in re.split(r"\W+|_", word):
        parts.append(
            part.upper() if part in UPPER else TITLES.get(part, part[:1].upper() + part[1:])
        )
    return "".join(parts)


class Constructor:
    """The parameters of a class: columns of values, one for each body that shares it."""

    def __init__(self, bodies: Bodies):
        self.bodies = bodies
        self.columns: dict[str, tuple[str, list[Any]]] = {}

    def text(self, child: str, argument: str, values: Sequence[Any]) -> str:
        """The text of a value: as it is where all bodies have the same, else a parameter."""
        values = [
            self.bodies.made(value) if isinstance(value, nn.Module) else value for value in values
        ]
        first = values[0]
        if not isinstance(first, Made):
            same = all(type(value) is type(first) and value == first for value in values)
            return (
                ast.unparse(ast.Constant(first))
                if same
                else self.parameter(child, argument, values)
            )
        if not all(isinstance(value, Made) and value.callee == first.callee for value in values):
            return self.parameter(child, argument, values)
        if first.elements:
            return self._container(child, list(values))
        return self._call(child, values)

    def _call(self, child: str, values: Sequence[Made]) -> str:
        callee, texts = values[0].callee, {}
        for key in self._keys(values):
            texts[key] = self.text(child, key, [self._argument(made, key) for made in values])
        return self._written(callee, texts)

    def _written(self, callee: Any, texts: Mapping[str, str]) -> str:
        if isinstance(callee, Group):
            shown = [
                text if at < 3 else f"{key}={text}" for at, (key, text) in enumerate(texts.items())
            ]
            return f"{callee.name}({', '.join(shown)})"
        name = self.bodies.names.get(callee, f"nn.{callee.__name__}")
        return f"{name}({', '.join(_shown(callee, texts))})"

    def _keys(self, values: Sequence[Made]) -> list[str]:
        """Arguments that any of the calls gives, in the order of the constructor."""
        callee = values[0].callee
        given = {key: None for made in values for key in made.arguments}
        if isinstance(callee, Group):
            return list(given)
        gone = self.bodies.gone.get(self.bodies.names.get(callee, ""), set())
        order = [key for key in inspect.signature(callee).parameters if key in given]
        order += [key for key in given if key not in order]
        return [key for key in order if key not in gone]

    def _argument(self, made: Made, key: str) -> Any:
        if key in made.arguments:
            return made.arguments[key]
        return inspect.signature(made.callee).parameters[key].default

    def _container(self, child: str, values: list[Made]) -> str:
        """A repeat: a loop over what differs where its elements are of one class, else a list."""
        rows, kind = [made.elements for made in values], values[0].callee
        calls = [made for row in rows for made in row]
        same_length = len({len(row) for row in rows}) == 1
        if (
            len({id(made.callee) for made in calls}) == 1
            and not calls[0].elements
            and len(calls) > len(rows)
        ):
            keys = self._keys(calls)
            varying = [key for key in keys if any(self._varies(row, key) for row in rows)]
            plain = not any(
                isinstance(self._argument(made, key), Made | nn.Module)
                for key in varying
                for made in calls
            )
            if plain and not (varying and same_length and len(rows[0]) <= 3):
                loop = self._loop(child, rows, keys, varying)
                return f"{kind}(*{loop})" if kind == "nn.Sequential" else f"{kind}{loop}"
        if not same_length:
            return self.parameter(child, "", values)
        texts = []
        for index, column in enumerate(zip(*rows, strict=True)):
            texts.append(self.text(f"{child}_{index}", "", column))
        shown = ", ".join(texts)
        return f"{kind}({shown if kind == 'nn.Sequential' else f'[{shown}]'})"

    def _varies(self, row: list[Made], key: str) -> bool:
        values = [self._argument(made, key) for made in row]
        constructor = Constructor(self.bodies)
        for value in values[1:]:
            constructor.text("", "", [values[0], value])
        return bool(constructor.columns)

    def _loop(self, child: str, rows: list[list[Made]], keys: list[str], varying: list[str]) -> str:
        texts, loops = {}, {}
        for key in keys:
            if key in varying:
                name = f"{key}_" if key in self.columns else key
                columns = [tuple(self._argument(made, key) for made in row) for row in rows]
                texts[key], loops[name] = name, self.text(child, f"{key}s", columns)
            else:
                texts[key] = self.text(child, key, [self._argument(row[0], key) for row in rows])
        callee = rows[0][0].callee
        call = self._written(callee, texts)
        if not loops:
            return (
                f"({call} for _ in range({self.text(child, 'depth', [len(row) for row in rows])}))"
            )
        over = next(iter(loops.values()))
        if len(loops) > 1:
            over = f"zip({', '.join(loops.values())}, strict=True)"
        return f"({call} for {', '.join(loops)} in {over})"

    def parameter(self, child: str, argument: str, values: list[Any]) -> str:
        """A parameter for values that differ: a known one, a multiple of it, or a new one."""
        wide = argument in WIDTHS and all(type(value) is int for value in values)
        kind = "width" if wide else {"height": "side", "width": "side"}.get(argument, argument)
        for name, (known, others) in self.columns.items():
            if known == kind and all(map(_same, values, others)) and kind:
                return name
            if known == kind == "width" and (times := _times(values, others)):
                return f"{times} * {name}"
            if known == kind == "width" and (times := _times(others, values)):
                return f"{name} // {times}"
        name = NAMES.get(argument, argument) or child
        if not name.isidentifier() or name in self.columns or hasattr(nn.Module, name):
            name = f"{child}_{name}" if name != child and name.isidentifier() else f"{child}_module"
        self.columns[name] = kind, list(values)
        return name


def _same(value: Any, other: Any) -> bool:
    return type(value) is type(other) and bool(value == other)


def _times(values: list[Any], others: list[Any]) -> int | None:
    """How many times the others the values are, where that is the same small number for all."""
    times = values[0] // others[0]
    if 2 <= times <= 8 and all(
        value == times * other for value, other in zip(values, others, strict=True)
    ):
        return int(times)
    return None


def _shown(callee: Any, texts: Mapping[str, str]) -> list[str]:
    """The arguments of a call: without what is usual, by position where they are needed."""
    known = inspect.signature(callee).parameters
    shown, bare = [], True
    for index, (key, text) in enumerate(texts.items()):
        parameter = known.get(key)
        if (
            parameter is not None
            and parameter.default is not parameter.empty
            and text == repr(parameter.default)
        ):
            bare = False
            continue
        required = parameter is not None and parameter.default is parameter.empty
        bare = bare and list(known)[index : index + 1] == [key] and (required or index == 0)
        bare = bare and parameter.kind is not parameter.KEYWORD_ONLY  # type: ignore[union-attr]
        shown.append(text if bare else f"{key}={text}")
    return shown
