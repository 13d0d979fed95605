"""The first layers of a network: those that read its inputs."""

from torch import Tensor, fx, nn


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


def is_rgb(value: Tensor, shape: tuple[int, ...]) -> bool:
    """Return whether a tensor contains filters of RGB images, and `shape` differs in the number of
    channels only.
    """
    given = tuple(value.shape)
    if len(given) != 4 or len(shape) != 4 or not value.is_floating_point():
        return False
    return given[1] == 3 != shape[1] and given[:1] + given[2:] == shape[:1] + shape[2:]
