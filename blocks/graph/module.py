"""The composed module: an `fx.GraphModule` whose `forward` is plain generated Python."""

import linecache
import re
from collections.abc import Callable
from typing import Any

from torch import fx, nn


class Graph(fx.GraphModule):
    """A body as a module. `print(graph.code)` shows its forward; `meta` says where each node stands in YAML."""

    def recompile(self) -> Any:
        """Generate `forward` and call it as any module is called: fx's own wrapper costs time and eats tracebacks."""
        code = super().recompile()
        vars(type(self)).get("__call__") and delattr(type(self), "__call__")
        return code

    def __reduce__(self) -> Any:
        return _rebuild, (super().__reduce__(), self.meta)

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the inputs, in the order of `forward`."""
        return tuple(node.target for node in self.graph.nodes if node.op == "placeholder")

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the outputs; ("out",) where the YAML names none."""
        return tuple(self.meta["outputs"])


def _rebuild(reduced: tuple[Callable[..., Any], tuple[Any, ...]], meta: dict[str, Any]) -> fx.GraphModule:
    make, arguments = reduced[:2]
    module = make(*arguments)
    graph = Graph(module, module.graph, "Graph")
    for name, value in vars(module).items():
        if name not in vars(graph):
            setattr(graph, name, value)
    graph.training = module.training
    graph.meta.update(meta)
    return graph


def locate(error: BaseException) -> str | None:
    """The node and the YAML line at which a running model failed: "graph.layers.0.attention  conf/model/vit.yaml:12:7"."""
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


def materialise(model: nn.Module, recipes: dict[int, Any]) -> None:
    """Put real modules in place of those on the meta device, each made once by its own constructor."""
    made: dict[int, nn.Module] = {}
    for module in list(model.modules()):
        for name, child in list(module._modules.items()):
            recipe = recipes.get(id(child))
            if recipe is None:
                continue
            if id(child) not in made:
                made[id(child)] = recipe.make()
            module._modules[name] = made[id(child)]
