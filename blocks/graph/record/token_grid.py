"""The grid that tokens came from, and the parameters that are tables over a grid."""

import math
from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from blocks.graph.errors import show
from blocks.graph.language.expression import ExpressionError
from blocks.graph.record.module import Graph
from blocks.graph.record.value import Value

Grid = tuple[int, int]  # rows, columns


def trace_grid(module: nn.Module, before: Value | None, tensor: Tensor) -> Grid | None:
    """Return the grid of the tokens that a block gives: of its `patch_grid`, or that of its input.

    A block without `patch_grid` that flattens a grid keeps the cells or cuts it into square
    patches.
    """
    grid = before.cells if before is not None else None
    if before is None or grid is None:
        return None
    if callable(cut := getattr(module, "patch_grid", None)):
        return cut(*grid)
    if len(before.shape) == 4 and tensor.dim() == 3:
        side = math.isqrt(math.prod(grid) // max(tensor.shape[1], 1))
        rows, columns = (size // max(side, 1) for size in grid)
        return (rows, columns) if rows * columns == tensor.shape[1] else None
    return grid


def read_grid(raw: Any) -> Grid:
    """Rows and columns as a user or a file writes them; raises ExpressionError."""
    sizes = tuple(raw) if isinstance(raw, list | tuple) else ()
    if len(sizes) != 2 or not all(type(size) is int and size > 0 for size in sizes):
        problem = f"a grid is its rows and columns, not {show(raw)}"
        raise ExpressionError(problem, "grid: [4, 8]")
    return sizes[0], sizes[1]


def find_tables(model: nn.Module) -> dict[str, tuple[str, Grid]]:
    """Each parameter that is a table over a grid: how it is resampled ("grid" or "window"), its
    rows and columns.
    """
    return {name: (kind, grid) for name, kind, grid in _tables(model)}


def _tables(model: nn.Module) -> Iterator[tuple[str, str, Grid]]:
    for path, graph in model.named_modules(remove_duplicate=False):
        grids: dict[str, Any] = graph.meta.get("grids", {}) if isinstance(graph, Graph) else {}
        for node, grid in grids.items():
            block = f"{path}.{node}" if path else node
            tables = model.get_submodule(block).position_tables(*grid)  # type: ignore[operator]
            for name, (kind, size) in tables.items():
                yield f"{block}.{name}", kind, size
