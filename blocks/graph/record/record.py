"""The record of a built graph: one node per node of the YAML, with shapes, edges and arguments.

Tables, costs, differences, drawings and reports read it; nothing derives it a second time.
"""

import copy
from collections.abc import Callable, Container, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import nn

from blocks.graph.errors import Origin
from blocks.graph.language.scope import Text
from blocks.graph.record.initialise import Start
from blocks.graph.record.limits import must_fit
from blocks.graph.record.module import Graph, bind_parameters, materialise, resolve_ties
from blocks.graph.record.value import Value

Path = tuple[Any, ...]
UNREAD = object()  # the value of an argument that is evaluated where it is read


@dataclass(frozen=True)
class Recipe:
    """How a module is made: kept, so that the model can be made again on a real device.

    Args:
        factory: its class.
        arguments: of the constructor.
        shared: of a part that shares its parameters: the path in the configuration that all
            such parts have, or the path of the part in the model whose parameters they are.
    """

    factory: Callable[..., nn.Module]
    arguments: Mapping[str, Any]
    shared: Path | str | None = None

    @property
    def name(self) -> str:
        return self.factory.__name__

    def __str__(self) -> str:
        """As it would be called: "Rotary(head_dim=16, base=10000.0)"."""
        if isinstance(self.factory, MakeBody):
            return str(self.factory)
        arguments = [f"{name}={value}" for name, value in self.arguments.items()]
        return f"{self.name}({', '.join(arguments)})"

    @cached_property
    def key(self) -> tuple[Any, ...]:
        """Equal for recipes that make equal modules."""
        inside = [each.key for each in self.parts.values()]
        return self.factory, repr(self.arguments), *inside

    @property
    def parts(self) -> dict[str, "Recipe"]:
        """Arguments that are blocks: {"rotary": ...}."""
        found = {}
        for name, value in self.arguments.items():
            if isinstance(value, Recipe):
                found[name] = value
        return found

    def bodies(self) -> Iterator["MakeBody"]:
        """The parts inside that are written as a body."""
        for part in self.parts.values():
            if isinstance(part.factory, MakeBody):
                yield part.factory
            yield from part.bodies()

    def make(self) -> nn.Module:
        arguments = dict(self.arguments)
        for name, value in arguments.items():
            if isinstance(value, Recipe):
                arguments[name] = value.make()
        return self.factory(**arguments)


class MakeBody:
    """The factory of a part that is written as a body.

    Args:
        graph: the body, on the meta device.
        recipes: id of a module -> how it was made; those of its blocks.
        name: what the part is called, "body".
    """

    def __init__(self, graph: Graph, recipes: Mapping[int, Recipe], name: str):
        self.graph, self.recipes, self.__name__ = graph, recipes, name
        code: list[tuple[Any, ...]] = []
        for path, module in graph.named_modules(remove_duplicate=False):
            if isinstance(module, Graph):
                inside = {key: value for key, value in module.meta.items() if key != "origins"}
                code.append((path, type(module).__name__, module.code, repr(inside)))
            elif id(module) in recipes:
                code.append((path, repr(recipes[id(module)])))
        self.code = repr(code)

    def __call__(self) -> nn.Module:
        """The body with blocks made now."""
        made: dict[int, Any] = {}
        for module in self.graph.modules():
            if id(module) in self.recipes:
                made[id(module)] = self.recipes[id(module)].make()
        return copy.deepcopy(self.graph, made)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MakeBody) and self.code == other.code

    def __hash__(self) -> int:
        return hash(self.code)

    def __repr__(self) -> str:
        return self.code

    def __str__(self) -> str:
        blocks = []
        for path, module in self.graph.named_modules():
            if id(module) in self.recipes:
                blocks.append(f"{path}: {self.recipes[id(module)]}")
        return f"{self.__name__}({', '.join(blocks)})"


@dataclass(frozen=True)
class Argument:
    """One argument of a node.

    Args:
        value: what the block was given; `UNREAD` for an argument of a body, which is evaluated
            where it is read.
        text: what was written and where; None where the value was inferred from an input.
    """

    value: Any = UNREAD
    text: Text | None = None

    @property
    def how(self) -> str:
        return "inferred" if self.text is None else "written"


@dataclass(eq=False)
class Node:
    """One node of a built graph. The calls of the generated code carry it: `call.meta["node"]`.

    Args:
        name: in the body around it.
        path: in the model, "layers.0.attention".
        label: the block's name, or "residual: prenorm", "12 times", "scan x16", "share: head".
        origin: where it was written.
        module: its module; None where it does nothing, or uses the module of another node.
        recipe: how its block is made; None where it is a body.
        input_shapes: of a block's inputs, in the order of its ports.
        flow: what flows in, by name; each value names its source.
        outputs: what flows out, by name.
        arguments: of its block or body, by name.
        children: the nodes of its body.
        repeat: how often its child is repeated; 0 where it is not.
    """

    name: str
    path: str
    label: str
    origin: str
    module: nn.Module | None = None
    recipe: Recipe | None = None
    input_shapes: tuple[tuple[int, ...], ...] = ()
    flow: dict[str, Value] = field(default_factory=dict)
    outputs: dict[str, Value] = field(default_factory=dict)
    arguments: dict[str, Argument] = field(default_factory=dict)
    children: list["Node"] = field(default_factory=list)
    repeat: int = 0

    @property
    def values(self) -> dict[str, Any]:
        """Arguments whose value is known."""
        known = {}
        for name, argument in self.arguments.items():
            if argument.value is not UNREAD:
                known[name] = argument.value
        return known

    @property
    def written(self) -> dict[str, Text]:
        """Arguments that were written, as they were written."""
        found = {}
        for name, argument in self.arguments.items():
            if argument.text is not None:
                found[name] = argument.text
        return found

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the outputs."""
        return {name: value.shape for name, value in self.outputs.items()}

    @cached_property
    def parameters(self) -> int:
        """Parameters of its module, a tied or shared one counted once: of a model that is built."""
        if self.module is None:
            return 0
        return count_parameters(self.module)

    @property
    def parts(self) -> dict[str, Recipe]:
        """Its arguments that are blocks: {"rotary": ...}."""
        return {} if self.recipe is None else self.recipe.parts

    @property
    def title(self) -> str:
        """Its label and the blocks of its parts: "SelfAttention +Rotary"."""
        return " +".join([self.label, *(part.name for part in self.parts.values())])

    @cached_property
    def form(self) -> Hashable:
        """Equal for nodes that are the same but for their names and numbers (a rate, a shift).

        The numbers of a part count, and whether there is a number at all: a layer with a window
        is not like one without.
        """
        arguments: list[tuple[str, Any]] = []
        for name, value in (self.recipe.arguments if self.recipe else {}).items():
            if isinstance(value, Recipe):
                arguments.append((name, value.key))
            elif isinstance(value, int | float) and not isinstance(value, bool):
                arguments.append((name, "a number"))
            else:
                arguments.append((name, repr(value)))
        inside = tuple((child.name, child.form) for child in self.children)
        shapes = tuple(self.shapes.items())
        known = (self.label, self.input_shapes, shapes, self.parameters)
        return *known, tuple(arguments), inside

    def walk(self) -> Iterator["Node"]:
        """This node and all below it, outer before inner."""
        yield self
        for child in self.children:
            yield from child.walk()

    def is_like(self, other: "Node") -> bool:
        """Whether two nodes look the same but for their names and arguments (a rate, a shift)."""
        if (self.label, self.input_shapes) != (other.label, other.input_shapes):
            return False
        if self.shapes != other.shapes or self.parameters != other.parameters:
            return False
        if len(self.children) != len(other.children):
            return False
        pairs = zip(self.children, other.children, strict=True)
        return all(mine.name == theirs.name and mine.is_like(theirs) for mine, theirs in pairs)


def maker_of(value: Value) -> Node | None:
    """The node whose call made a value; None for an input of the body."""
    call: Any = value.node
    if call is not None and call.op == "call_function":  # one of several outputs
        call = call.args[0]
    return None if call is None else call.meta.get("node")


def fold(nodes: Sequence[Node]) -> list[list[Node]]:
    """Nodes of a body, with neighbours in a repeat together that differ in arguments at most."""
    groups: list[list[Node]] = []
    for node in nodes:
        before = groups[-1][0] if groups else None
        if before is not None and _are_repeats(before, node) and before.is_like(node):
            groups[-1].append(node)
        else:
            groups.append([node])
    return groups


def gather(nodes: Sequence[Node]) -> list[list[Node]]:
    """Nodes of a body, with repeats of one form together wherever they stand."""
    groups: dict[Hashable, list[Node]] = {}
    for node in nodes:
        key: Hashable = node.name
        if node.name.isdigit():
            key = node.form
        groups.setdefault(key, []).append(node)
    return list(groups.values())


def list_differences(nodes: Sequence[Node]) -> dict[str, list[Any]]:
    """Arguments in which nodes that are folded differ, but for rates: name -> the values in order;
    None where a node has no such argument.
    """
    found: dict[str, list[Any]] = {}
    known = []
    for node in nodes:
        if node.recipe is None:
            return found
        known.append({**node.values, **node.parts})
    for name in dict.fromkeys(name for each in known for name in each):
        values: list[Any] = []
        for each in known:
            if each.get(name) not in values:
                values.append(each.get(name))
        if len(values) > 1 and not all(isinstance(value, float) for value in values):
            found[name] = values
    return found


def _are_repeats(before: Node, node: Node) -> bool:
    return before.name.isdigit() and node.name.isdigit()


def count_parameters(*modules: nn.Module | None) -> int:
    """Parameters of modules, a tied or shared one counted once: what a sum over
    `module.parameters()` gives, in a fifth of the time.
    """
    found: dict[int, nn.Parameter] = {}
    waiting = list(modules)
    while waiting:
        each = waiting.pop()
        if each is None:
            continue
        waiting += each._modules.values()
        for parameter in each._parameters.values():
            if parameter is not None:
                found[id(parameter)] = parameter
    return sum(parameter.numel() for parameter in found.values())


@dataclass(frozen=True)
class Built:
    """A model on the meta device with its record: it takes no memory, and every shape is known.

    Args:
        model: the composed module, parameters on the meta device.
        nodes: the nodes of its outermost body.
        inputs: what flows into the model, by name.
        outputs: what the model gives, by name.
        params: of the model, as they were written.
        config: the section `model`.
        facts: what the data state.
        catalog: block name -> class or layer.
        recipes: id of a module -> how it was made.
        starts: initial values that `initialise` states.
        registered: paths of all modules.
        read_params: paths of params and template arguments that something read.
        used_slots: slots that a node used.
        origin: path in the configuration -> where that was written.
        ties: parameter of a part -> the parameter of another part that it is.
    """

    model: Graph
    nodes: list[Node]
    inputs: Mapping[str, Value]
    outputs: Mapping[str, Value]
    params: Mapping[str, Text]
    config: Mapping[str, Any]
    facts: Mapping[str, Any]
    catalog: Mapping[str, Any]
    recipes: Mapping[int, Recipe]
    starts: Sequence[Start]
    registered: Container[str]
    read_params: Container[Path]
    used_slots: Container[str]
    origin: Callable[[Path], Origin]
    ties: Mapping[str, str] = field(default_factory=dict)

    def walk(self) -> Iterator[Node]:
        """Every node, outer before inner."""
        for node in self.nodes:
            yield from node.walk()

    def find_tied(self) -> dict[str, dict[str, str]]:
        """Parameters of blocks that are those of a block before: path of the node -> name ->
        the parameter that it is.
        """
        first: dict[int, str] = {}
        for name, parameter in self.model.named_parameters(remove_duplicate=False):
            first.setdefault(id(parameter), name)
        found: dict[str, dict[str, str]] = {}
        for node in self.walk():
            if node.recipe is None or node.module is None:
                continue
            for name, parameter in node.module.named_parameters():
                source = first[id(parameter)]
                if source != f"{node.path}.{name}":
                    found.setdefault(node.path, {})[name] = source
        return found

    def find(self, path: str) -> Node | None:
        """The node at a path; None where there is none."""
        return next((node for node in self.walk() if node.path == path), None)

    def run(self, samples: int) -> None:
        """Run the model in training mode on the meta device, with `samples` in the batch.

        Raises whatever a block raises.
        """
        given = {}
        for name, value in self.inputs.items():
            if value.tensor is not None:
                given[name] = value.tensor[:samples]
        with torch.no_grad(), torch.device("meta"):
            self.model(**given)

    def materialise(self, device: str | torch.device = "cpu") -> Graph:
        """The same model with real parameters: as each block starts, then as `initialise` states.

        Raises:
            ConfigError: its parameters do not fit into memory.
        """
        if torch.device(device).type == "cpu":
            must_fit(self.model, self.origin(("model",)))
        names = [name for name, _ in self.model.named_parameters(remove_duplicate=False)]
        ties = {**self.ties, **resolve_ties(names, self.config.get("tie") or {})}
        replaced = {*ties, *(start.path for start in self.starts if not start.part)}
        with torch.device(device):
            materialise(self.model, self.recipes, replaced)
        for target, source in ties.items():
            bind_parameters(self.model, target, source)
        for start in self.starts:
            start.apply(self.model)
        return self.model
