"""The first layers of a network, those that read its inputs, and the last ones."""

from collections.abc import Callable

from torch import Tensor, fx, nn

Collect = Callable[[fx.GraphModule, str, set[str]], None]


def find_first(model: nn.Module) -> set[str]:
    """Return the names of the top-level nodes that read an input, directly or through nodes without
    parameters.
    """
    found: set[str] = set()
    if not isinstance(model, fx.GraphModule):
        return found
    raw: set[fx.Node] = set()  # nodes that depend on no parameter
    for node in model.graph.nodes:
        reads = node.op == "placeholder" or bool(raw.intersection(node.all_input_nodes))
        if not reads:
            continue
        if node.op != "call_module":
            raw.add(node)
            continue
        found.add(str(node.target))
        if next(model.get_submodule(node.target).parameters(), None) is None:
            raw.add(node)
    return found


def find_ends(model: nn.Module) -> set[str]:
    """Return the paths of the modules with parameters that read an input and nothing else, or whose
    result is an output.
    """
    found: set[str] = set()
    if isinstance(model, fx.GraphModule):
        _collect_first(model, "", found)
        _collect_last(model, "", found)
    return found


def _collect_first(graph: fx.GraphModule, path: str, found: set[str]) -> None:
    raw: set[fx.Node] = set()  # nodes that depend on no parameter
    for node in graph.graph.nodes:
        if node.op == "placeholder":
            raw.add(node)
            continue
        if not node.all_input_nodes or not raw.issuperset(node.all_input_nodes):
            continue
        if node.op == "call_module" and _collect(graph, node, path, found, _collect_first):
            continue
        raw.add(node)


def _collect_last(graph: fx.GraphModule, path: str, found: set[str]) -> None:
    for node in graph.graph.output_node().all_input_nodes:
        while True:
            if node.op == "call_module" and _collect(graph, node, path, found, _collect_last):
                break
            if len(node.all_input_nodes) != 1:
                break
            node = node.all_input_nodes[0]


def _collect(
    graph: fx.GraphModule, node: fx.Node, path: str, found: set[str], into: Collect
) -> bool:
    """Add the module of a node, or the ones inside; return whether it has parameters of at least
    two axes.
    """
    module = graph.get_submodule(str(node.target))
    if not any(parameter.ndim > 1 for parameter in module.parameters()):
        return False
    below = f"{path}{node.target}"
    if isinstance(module, fx.GraphModule):
        into(module, f"{below}.", found)
    else:
        found.add(below)
    return True


def find_last(model: nn.Module) -> set[str]:
    """Return the names of the top-level nodes that give an output."""
    found: set[str] = set()
    if not isinstance(model, fx.GraphModule):
        return found
    for node in model.graph.nodes:
        if node.op == "output":
            for source in node.all_input_nodes:
                if source.op == "call_module":
                    found.add(str(source.target))
    return found


def is_rgb(value: Tensor, shape: tuple[int, ...]) -> bool:
    """Return whether a tensor contains filters of RGB images, and `shape` differs in the number of
    channels only.
    """
    given = tuple(value.shape)
    if len(given) != 4 or len(shape) != 4 or not value.is_floating_point():
        return False
    return given[1] == 3 != shape[1] and given[:1] + given[2:] == shape[:1] + shape[2:]
