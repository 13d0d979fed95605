"""The composed module: an `fx.GraphModule` whose `forward` is plain generated Python."""

import linecache
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, fx, nn
from torch.fx.graph import PythonCode
from torch.fx.graph_module import _WrappedCall

from blocks.graph.language.patterns import match_name
from blocks.graph.record.skip_init import make

MOST = 1024  # graphs whose code is kept
GENERATED: dict[Any, tuple[PythonCode, Callable[..., Any]]] = {}


def _key_of(graph: fx.Graph) -> tuple[Any, ...]:
    """What is equal for graphs of the same code."""
    found: list[Any] = [type(graph._codegen), getattr(graph, "_co_fields", None) is None]
    for node in graph.nodes:
        target = node.target
        found.append((node.op, node.name, target, repr((node.args, node.kwargs)), node.type))
    return tuple(found)


class Graph(fx.GraphModule):
    """A body as a module. `print(graph.code)` prints its forward; `meta` has the place of each
    node in the YAML.
    """

    def recompile(self) -> Any:
        """Generate `forward`, without the wrapper of fx around it, which costs time and hides
        tracebacks.
        """
        key = _key_of(self.graph)
        if key in GENERATED:
            return self._generate_again(*GENERATED[key])
        code = super().recompile()
        if "__call__" in vars(type(self)):
            delattr(type(self), "__call__")
        if len(GENERATED) >= MOST:
            GENERATED.clear()
        GENERATED[key] = code, vars(type(self))["forward"]
        return code

    def _generate_again(self, code: PythonCode, forward: Callable[..., Any]) -> PythonCode:
        """Take the code of an equal graph: generating it takes longer than all else."""
        vars(self).update(
            _code=code.src, _lineno_map=code._lineno_map, _prologue_start=code._prologue_start
        )
        type(self).forward = forward
        if "_wrapped_call" not in vars(type(self)):
            type(self)._wrapped_call = _WrappedCall(type(self), None)  # type: ignore[attr-defined]
        return code

    def _recompile_submodules(self) -> list[Any]:
        """Bodies inside have their code already; fx would make it again at every level above."""
        return []

    def __deepcopy__(self, memo: dict[int, Any]) -> fx.GraphModule:
        """A copy whose calls, as those of a pickle, carry no record: that holds this module."""
        copied = super().__deepcopy__(memo)
        for call in copied.graph.nodes:
            call.meta.clear()
        return copied

    def __reduce__(self) -> Any:
        return _rebuild, (super().__reduce__(), type(self).__mro__[1], self.meta)

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the inputs, in the order of `forward`."""
        return tuple(node.target for node in self.graph.nodes if node.op == "placeholder")

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the outputs; ("out",) where the YAML names none."""
        return tuple(self.meta["outputs"])


class WrappedGraph(Graph):
    """A body whose class has a `forward` around the generated one, which is `_generated`."""

    _generated: ClassVar[Callable[..., Any]]

    def recompile(self) -> Any:
        code = super().recompile()
        type(self)._generated = type(self).__dict__["forward"]
        del type(self).forward
        return code


class Scan(WrappedGraph):
    """A body run once per step along an axis of its first input; named state flows from step to
    step.

    The generated code is one step. States that no input gives start at zero. On the meta device one
    step stands for all.
    """

    @classmethod
    def of(
        cls,
        graph: Graph,
        axis: int,
        states: dict[str, tuple[int, ...]],
        sequence: str,
        outputs: tuple[str, ...],
        reverse: bool,
    ) -> "Scan":
        scan = cls(graph, graph.graph, "Scan")
        scan.meta.update(graph.meta)
        scan.meta.update(
            {
                "axis": axis,
                "states": states,
                "sequence": sequence,
                "step_outputs": outputs,
                "reverse": reverse,
            }
        )
        scan.meta["outputs"] = ("out", *states)
        return scan

    def forward(self, x: Tensor, **given: Tensor) -> tuple[Tensor, ...]:
        axis, states = self.meta["axis"], self.meta["states"]
        carried = {
            name: given.pop(name) if name in given else x.new_zeros(x.shape[0], *shape)
            for name, shape in states.items()
        }
        length = x.shape[axis]
        steps = x.narrow(axis, 0, 1).unbind(axis) if x.is_meta else x.unbind(axis)
        sequence = []
        run = type(self)._generated
        for step in reversed(steps) if self.meta["reverse"] else steps:
            result = run(self, step, **carried, **given)
            named = dict(
                zip(
                    self.meta["step_outputs"],
                    result if isinstance(result, tuple) else (result,),
                    strict=True,
                )
            )
            carried = {name: named[name] for name in carried}
            sequence.append(named[self.meta["sequence"]])
        if self.meta["reverse"]:
            sequence.reverse()
        stacked = torch.stack(sequence, axis)
        if x.is_meta:
            stacked = stacked.expand(*stacked.shape[:axis], length, *stacked.shape[axis + 1 :])
        return stacked, *carried.values()


def _rebuild(
    reduced: tuple[Callable[..., Any], tuple[Any, ...]], kind: type["Graph"], meta: dict[str, Any]
) -> fx.GraphModule:
    make, arguments = reduced[:2]
    module = make(*arguments)
    graph = kind(module, module.graph, kind.__name__)
    for name, value in vars(module).items():
        if name not in vars(graph):
            setattr(graph, name, value)
    graph.training = module.training
    graph.meta.update(meta)
    return graph


def locate(error: BaseException) -> str | None:
    """The node and the YAML line at which a running model failed: "graph.layers.0
    conf/model/vit.yaml:12:7".
    """
    path, origin = [], None
    trace = error.__traceback__
    while trace is not None:
        module = trace.tb_frame.f_locals.get("self")
        if isinstance(module, Graph) and trace.tb_frame.f_code.co_name == "forward":
            line = linecache.getline(trace.tb_frame.f_code.co_filename, trace.tb_lineno)
            call = re.search(r"self\.(\w+)|getattr\(self, \"(\w+)\"\)", line)
            if call:
                name = call[1] or call[2]
                path.append(name)
                origin = module.meta.get("origins", {}).get(name, origin)
        trace = trace.tb_next
    return f"{'.'.join(['graph', *path])}  {origin}" if path else None


def materialise(
    model: nn.Module, recipes: Mapping[int, Any], replaced: Collection[str] = ()
) -> None:
    """Put real modules in place of those on the meta device, each made once by its own constructor.

    Args:
        replaced: paths of parameters that are filled later, so that nothing is drawn for them here.
    """
    made: dict[int, nn.Module] = {}
    for path, module in list(model.named_modules()):
        for name, child in list(module._modules.items()):
            recipe = recipes.get(id(child))
            if recipe is None:
                continue
            if id(child) not in made:
                made[id(child)] = make(recipe.make, f"{path}.{name}".lstrip("."), replaced)
            module._modules[name] = made[id(child)]


def resolve_ties(names: Iterable[str], ties: Mapping[str, str]) -> dict[str, str]:
    """Return parameter -> parameter whose values it takes: of a target with `*` or `?`, all
    parameters that match it, among which may be the source.

    Raises:
        ExpressionError: a target that is no pattern.
    """
    found = {}
    for target, source in ties.items():
        if not any(sign in target for sign in "*?["):
            found[target] = source
            continue
        for name in names:
            if match_name(target, name) is not None:
                found[name] = source
    return found


def bind_parameters(model: nn.Module, target: str, source: str) -> None:
    """Make `target` the very parameter at `source`."""
    owner, _, name = target.rpartition(".")
    model.get_submodule(owner)._parameters[name] = model.get_parameter(source)
