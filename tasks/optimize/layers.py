"""Learning rates that fall from the last layer of a network to the first one."""

from collections.abc import Iterator

from torch import fx, nn

from blocks.graph import find_repeats
from tasks.errors import ArgumentError


def layer_rates(network: nn.Module, decay: float) -> dict[str, float]:
    """Return the multiplier of the learning rate of each parameter, by name.

    The multiplier is `decay` for each layer between a parameter and the end: 1 for what comes after
    the last layer, e.g. the head. A layer is a repeat of the graph; what comes between two layers
    counts to the second.

    Args:
        network: read only.
        decay: in (0, 1], e.g. 0.75.

    Raises:
        ArgumentError: another decay, or a network that repeats nothing.

    Source:
        Bao et al. 2022, arXiv:2106.08254, appendix; He et al. 2022, arXiv:2111.06377, appendix A.2.
    """
    if not 0 < decay <= 1:
        raise ArgumentError(
            "layer_decay",
            "layer_decay must be in (0, 1]",
            got=f"layer_decay={decay}",
            fits="e.g. 0.75",
        )
    repeats = list(find_repeats(network))
    if not repeats:
        raise ArgumentError(
            "layer_decay",
            "this network repeats nothing, so it has no layers",
            fits="null",
            fix="weights.learning_rate={PATTERN: 0.1}",
        )
    last = len(repeats) + 1
    depths: dict[str, int] = {}
    passed = 0
    for path in walk_modules(network):
        depth = 0
        if passed:
            depth = passed + 1
        for number, repeat in enumerate(repeats, 1):
            if f"{path}.".startswith(f"{repeat}."):
                depth = passed = number
        depths[path] = depth
    rates = {}
    for name, _ in network.named_parameters():
        depth = last
        owner = name
        while owner and owner not in depths:
            owner = owner.rpartition(".")[0]
        if owner:
            depth = depths[owner]
        rates[name] = decay ** (last - depth)
    return rates


def walk_modules(module: nn.Module, path: str = "") -> Iterator[str]:
    """Yield the paths of the blocks of a graph in the order in which they run."""
    if not isinstance(module, fx.GraphModule):
        yield path
        return
    for node in module.graph.nodes:
        if node.op == "call_module":
            child = module.get_submodule(str(node.target))
            yield from walk_modules(child, f"{path}.{node.target}".lstrip("."))
