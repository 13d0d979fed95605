"""The inside of a network while it runs: attention weights, and the outputs of its nodes.

from blocks.graph import inspect_attention
weights = inspect_attention(model, {"image": images})["layers.0.attention.inner"]

A block with attention has the attribute `return_weights`: while it is true, `forward` returns
`(output, weights)`. Where not every token attends to every other, its method `places(height,
width)` returns which cells of the grid each window contains. During an inspection hooks remove the
weights from the output, so that the network around receives the output alone. Its code, its mode
and what `torch.compile` made of it stay as they are, also where a forward pass fails.
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
    """The attention weights of one call of a block.

    Args:
        weights: (batch, heads, queries, keys), before dropout; of attention inside windows (batch,
            heads, windows, cells, cells).
        cross: whether the keys come from other tokens than the queries.
        tokens: the axes of the queries: (tokens,), or (height, width) of a grid.
        places: the cells of the grid in each window, or in each token where a token is a patch of
            cells, in row-major order; -1 for a padded cell. None where the tokens are the cells.
    """

    weights: Tensor
    cross: bool
    tokens: tuple[int, ...]
    places: Tensor | None = None

    def received(self) -> Tensor:
        """Return the attention that each token of the input receives, averaged over the queries:
        (batch, heads, *tokens).

        1 is an equal share. Windows and patches are mapped back to the grid, without shifts and
        padding.
        """
        weights = self.weights
        return self._to_grid(weights.mean(-2) * weights.shape[-1])

    def sent_from(self, query: int) -> Tensor:
        """Return the attention of one query: (batch, heads, *tokens), 0 outside its window. Cells
        count in row-major order.

        Raises:
            IndexError: there is no such query.
        """
        if self.places is None:
            return self._to_grid(self.weights[:, :, query])
        window, cell = (self.places == query).nonzero()[0].tolist()
        if self.weights.dim() == 4:
            return self._to_grid(self.weights[:, :, window])
        sent = torch.zeros_like(self.weights[:, :, :, 0])
        sent[:, :, window] = self.weights[:, :, window, cell]
        return self._to_grid(sent)

    def _to_grid(self, values: Tensor) -> Tensor:
        """(batch, heads, keys) or (batch, heads, windows, cells) -> (batch, heads, *tokens)."""
        if self.places is None:
            if len(self.tokens) > 1 and not self.cross:
                return values.unflatten(-1, self.tokens)
            return values
        batch, heads = values.shape[:2]
        if values.dim() == 3:
            values = values[..., None].expand(-1, -1, -1, self.places.shape[1])
        grid = values.new_zeros(batch, heads, int(self.places.max()) + 1)
        real = self.places >= 0
        grid[:, :, self.places[real]] = values[:, :, real]
        return grid.unflatten(-1, self.tokens)


def inspect_attention(network: nn.Module, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the attention weights of a batch, by the path of the block, in the order of
    computation.

    Args:
        network: any module; for a `Graph`, entries of the batch other than its inputs are ignored.
        batch: the inputs by name, on any device. They run in evaluation mode without gradients.

    Returns:
        (batch, heads, queries, keys) on the CPU, before dropout: rows sum to 1, a masked key has 0,
        a query without keys has zeros. Attention inside windows gives (batch, heads, windows,
        cells, cells); `record_attention` returns their positions on the grid. Inside a `scan` there
        is one query a step, in the order of the tokens. A block that is called several times, by
        `share: true`, has "path#2", "path#3", ... as well.
    """
    return {path: found.weights for path, found in record_attention(network, batch).items()}


def record_attention(network: nn.Module, batch: Mapping[str, Tensor]) -> dict[str, Attention]:
    """Return what `inspect_attention` does, with what maps the weights back to a grid."""
    calls: dict[nn.Module, list[Attention]] = {}

    def take(module: nn.Module, inputs: tuple, named: dict[str, Any], result: Any) -> Any:
        output, weights = result
        calls.setdefault(module, []).append(_make_attention(module, inputs, named, weights))
        return result if module in returning else output

    blocks = [module for module in network.modules() if hasattr(module, "return_weights")]
    returning = {module for module in blocks if module.return_weights}
    with evaluation_mode(network), ExitStack() as stack:
        for module in blocks:
            stack.callback(setattr, module, "return_weights", module.return_weights)
            module.return_weights = True  # type: ignore[assignment]
            stack.callback(module.register_forward_hook(take, with_kwargs=True).remove)
        _run(network, batch)
    return _name_by_path(network, calls)


def record_activations(network: nn.Module, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the first output of each node of `list_nodes`, on the CPU, in the order of
    computation.
    """
    found: dict[str, Tensor] = {}

    def make_hook(path: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: tuple, result: Any) -> None:
            value = result[0] if isinstance(result, tuple) else result
            if isinstance(value, Tensor):
                found[path] = value.detach().cpu()

        return hook

    with evaluation_mode(network), ExitStack() as stack:
        for path, module in list_nodes(network).items():
            stack.callback(module.register_forward_hook(make_hook(path)).remove)
        _run(network, batch)
    return found


def list_nodes(network: nn.Module) -> dict[str, nn.Module]:
    """Return the nodes of a graph by path, each repeat by itself: "patch", "layers.0",
    "stages.1.units.0", "head".

    A body is opened only where it contains repeats.
    """
    found: dict[str, nn.Module] = {}

    def collect(path: str, module: nn.Module) -> None:
        for name, child in module.named_children():
            below = f"{path}.{name}" if path else name
            if any(map(_has_repeats, (child, *child.children()))):
                collect(below, child)
            else:
                found[below] = child

    collect("", network)
    return found


def _has_repeats(module: nn.Module) -> bool:
    names = list(module._modules)
    return isinstance(module, Graph) and bool(names) and all(map(str.isdigit, names))


@contextmanager
def evaluation_mode(network: nn.Module) -> Iterator[None]:
    """Run in evaluation mode without gradients; afterwards each module has its mode again."""
    modes = [(module, module.training) for module in network.modules()]
    try:
        network.eval()
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes:
            module.training = mode


def _run(network: nn.Module, batch: Mapping[str, Tensor]) -> None:
    """Run the code that is not compiled, with hooks."""
    names = network.input_names if isinstance(network, Graph) else tuple(batch)
    example = next(network.parameters(), torch.zeros(()))
    inputs = {}
    for name in names:
        if name in batch:
            inputs[name] = batch[name].to(example.device)
            if inputs[name].is_floating_point():
                inputs[name] = inputs[name].to(example.dtype)
    network._call_impl(**inputs)


def _make_attention(
    module: Any, inputs: tuple, named: dict[str, Any], weights: Tensor
) -> Attention:
    arguments = inspect.signature(module.forward).bind(*inputs, **named).arguments
    x, context = next(iter(arguments.values())), arguments.get("context")
    axes = tuple(x.shape[1:-1])
    places = module.places(*axes) if hasattr(module, "places") else None
    cross = context is not None and context is not x
    if getattr(module, "heads_first", False):
        axes = axes[1:]
        cross = weights.shape[-1] != axes[0]
    return Attention(weights.detach().float().cpu(), cross=cross, tokens=axes, places=places)


def _name_by_path(
    network: nn.Module, calls: dict[nn.Module, list[Attention]]
) -> dict[str, Attention]:
    """Return the calls of each block by the paths of the block."""
    paths: dict[nn.Module, list[str]] = {}
    for path, module in network.named_modules(remove_duplicate=False):
        if module in calls:
            paths.setdefault(module, []).append(path)
    found = {}
    for module, made in calls.items():
        own = paths[module]
        for number, path in enumerate(own):
            scan = _find_scan(network, path)
            if scan is not None:
                found[path] = _join_steps(made[number :: len(own)], scan)
            elif number < len(made):
                found[path] = made[number]
        if _find_scan(network, own[0]) is None:
            for number, call in enumerate(made[len(own) :], start=2):
                found[f"{own[-1]}#{number}"] = call
    return found


def _find_scan(network: nn.Module, path: str) -> Scan | None:
    """Return the innermost scan around the module at a path."""
    parent = path.rpartition(".")[0]
    while parent:
        module = network.get_submodule(parent)
        if isinstance(module, Scan):
            return module
        parent = parent.rpartition(".")[0]
    return None


def _join_steps(steps: list[Attention], scan: Scan) -> Attention:
    ordered = steps[::-1] if scan.meta["reverse"] else steps
    weights = torch.cat([step.weights for step in ordered], dim=2)
    return Attention(weights, cross=steps[0].cross, tokens=(weights.shape[2],))
