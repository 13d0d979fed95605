"""Looking inside a network while it runs: what its attention looks at, and what its nodes give.

from blocks.graph import look
weights = look(model, {"image": images})["layers.0.attention.inner"]

A block that attends declares `return_weights`: while that is true, its `forward` gives `(output,
weights)`. Nothing else is known of it here. Where not every token meets every other, its method
`places(height, width)` says which cells of the grid a window holds. While somebody looks, hooks
take the weights away, so that the network around sees the output alone; its code, its mode and what
`torch.compile` made of it stay as they are, also where a forward fails.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from blocks.graph.record.module import Graph, Scan


@dataclass(frozen=True)
class Attention:
    """What one attention looked at in one pass.

    Args:
        weights: (batch, heads, queries, keys), as they were used, before dropout; of attention
            inside windows (batch, heads, windows, cells, cells).
        cross: the keys come from other tokens than the queries.
        tokens: the axes of the queries: (tokens,), or (height, width) of a grid.
        places: the cells that each window, or each token where a token is a patch of cells, holds
            of the grid, in row-major order; -1 for a padded cell. None where tokens are the cells
            themselves.
    """

    weights: Tensor
    cross: bool
    tokens: tuple[int, ...]
    places: Tensor | None = None

    def looked_at(self) -> Tensor:
        """How much each token of the input is looked at, on average over the queries: (batch,
        heads, *tokens).

        1 is an equal share. Of windows and patches it is put back on the grid, shifts undone,
        padding left out.
        """
        weights = self.weights
        return self._put_back(weights.mean(-2) * weights.shape[-1])

    def seen_from(self, query: int) -> Tensor:
        """Where one query looks: (batch, heads, *tokens), 0 outside its window. Cells count in
        row-major order.

        Raises:
            IndexError: there is no such query.
        """
        if self.places is None:
            return self._put_back(self.weights[:, :, query])
        group, cell = (self.places == query).nonzero()[0].tolist()
        if self.weights.dim() == 4:
            return self._put_back(self.weights[:, :, group])
        rest = torch.zeros_like(self.weights[:, :, :, 0])
        rest[:, :, group] = self.weights[:, :, group, cell]
        return self._put_back(rest)

    def _put_back(self, values: Tensor) -> Tensor:
        """(batch, heads, keys) or (batch, heads, windows, cells) -> (batch, heads, *tokens)."""
        if self.places is None:
            return (
                values.unflatten(-1, self.tokens)
                if len(self.tokens) > 1 and not self.cross
                else values
            )
        batch, heads = values.shape[:2]
        if values.dim() == 3:
            values = values[..., None].expand(-1, -1, -1, self.places.shape[1])
        grid = values.new_zeros(batch, heads, int(self.places.max()) + 1)
        real = self.places >= 0
        grid[:, :, self.places[real]] = values[:, :, real]
        return grid.unflatten(-1, self.tokens)


def look(network: nn.Module, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The attention weights of a batch, by the path of the block, in the order in which the network
    came by.

    Args:
        network: any module; of a `Graph`, only the entries of the batch that bear its input names
            are taken.
        batch: what flows in, by name, on any device. Dropout is off, there are no gradients.

    Returns:
        (batch, heads, queries, keys) on the CPU, the weights that were used, before dropout: rows
        sum to 1, a masked key has 0, a query that may look at nothing has zeros. Attention inside
        windows gives (batch, heads, windows, cells, cells); `attentions` knows where they stand on
        the grid. Inside a `scan` there is one query a step, in the order of the tokens. A block
        that is called several times, as `share: true` does, has "path#2", "path#3",
        ... as well.
    """
    return {path: found.weights for path, found in attentions(network, batch).items()}


def attentions(network: nn.Module, batch: Mapping[str, Tensor]) -> dict[str, Attention]:
    """As `look`, with what is needed to put weights back on a grid."""
    calls: dict[int, list[Attention]] = {}

    def take(module: nn.Module, given: tuple, named: dict[str, Any], result: Any) -> Any:
        output, weights = result
        calls.setdefault(id(module), []).append(_attention(module, given, named, weights))
        return result if id(module) in shown else output

    tellers = [module for module in network.modules() if hasattr(module, "return_weights")]
    shown = {id(module) for module in tellers if module.return_weights}
    with at_rest(network), ExitStack() as stack:
        for module in tellers:
            stack.callback(setattr, module, "return_weights", module.return_weights)
            module.return_weights = True  # type: ignore[assignment]
            stack.enter_context(_handle(module.register_forward_hook(take, with_kwargs=True)))
        _run(network, batch)
    return _by_path(network, calls)


def activations(network: nn.Module, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What each node of `nodes` gives, on the CPU, in the order of computation; of several outputs
    the first.
    """
    found: dict[str, Tensor] = {}

    def take(path: str) -> Callable[..., None]:
        def hook(module: nn.Module, given: tuple, result: Any) -> None:
            value = result[0] if isinstance(result, tuple) else result
            if isinstance(value, Tensor):
                found[path] = value.detach().cpu()

        return hook

    with at_rest(network), ExitStack() as stack:
        for path, module in nodes(network).items():
            stack.enter_context(_handle(module.register_forward_hook(take(path))))
        _run(network, batch)
    return found


def nodes(network: nn.Module) -> dict[str, nn.Module]:
    """The nodes of a graph by path, with each repeat in its own right: "patch", "layers.0",
    "stages.1.units.0", "head".

    A body is opened only where repeats stand in it.
    """
    found: dict[str, nn.Module] = {}

    def enter(path: str, module: nn.Module) -> None:
        for name, child in module.named_children():
            below = f"{path}.{name}" if path else name
            if _repeats(child) or any(_repeats(inner) for inner in child.children()):
                enter(below, child)
            else:
                found[below] = child

    enter("", network)
    return found


def _repeats(module: nn.Module) -> bool:
    names = [name for name, _ in module.named_children()]
    return isinstance(module, Graph) and bool(names) and all(name.isdigit() for name in names)


@contextmanager
def at_rest(network: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; afterwards each module is in the mode it was in."""
    modes = [(module, module.training) for module in network.modules()]
    try:
        network.eval()
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes:
            module.training = mode


@contextmanager
def _handle(handle: Any) -> Iterator[None]:
    try:
        yield
    finally:
        handle.remove()


def _run(network: nn.Module, batch: Mapping[str, Tensor]) -> None:
    """One pass of the plain code, with hooks: what `__call__` does where nothing is compiled."""
    names = network.input_names if isinstance(network, Graph) else tuple(batch)
    example = next(network.parameters(), torch.zeros(()))
    inputs = {name: batch[name].to(example.device) for name in names if name in batch}
    network._call_impl(
        **{name: x.to(example.dtype) if x.is_floating_point() else x for name, x in inputs.items()}
    )


def _attention(module: Any, given: tuple, named: dict[str, Any], weights: Tensor) -> Attention:
    ports = inspect.signature(module.forward).bind(*given, **named).arguments
    x, context = next(iter(ports.values())), ports.get("context")
    axes = tuple(x.shape[1:-1])
    places = module.places(*axes) if hasattr(module, "places") else None
    return Attention(
        weights.detach().float().cpu(), context is not None and context is not x, axes, places
    )


def _by_path(network: nn.Module, calls: dict[int, list[Attention]]) -> dict[str, Attention]:
    """The calls of each block, by the paths at which it stands."""
    paths: dict[int, list[str]] = {}
    for path, module in network.named_modules(remove_duplicate=False):
        if id(module) in calls:
            paths.setdefault(id(module), []).append(path)
    found = {}
    for module, made in calls.items():
        places = paths[module]
        for number, path in enumerate(places):
            scan = _scan_around(network, path)
            if scan is not None:
                found[path] = _one_row_a_step(made[number :: len(places)], scan)
            elif number < len(made):
                found[path] = made[number]
        extra = made[len(places) :] if _scan_around(network, places[0]) is None else []
        found.update({f"{places[-1]}#{number}": call for number, call in enumerate(extra, start=2)})
    return found


def _scan_around(network: nn.Module, path: str) -> Scan | None:
    """The innermost `scan` that a path leads through."""
    parts = path.split(".")
    around = (network.get_submodule(".".join(parts[:end])) for end in range(len(parts) - 1, 0, -1))
    return next((module for module in around if isinstance(module, Scan)), None)


def _one_row_a_step(steps: list[Attention], scan: Scan) -> Attention:
    ordered = steps[::-1] if scan.meta["reverse"] else steps
    weights = torch.cat([step.weights for step in ordered], dim=2)
    return Attention(weights, steps[0].cross, (weights.shape[2],), None)
