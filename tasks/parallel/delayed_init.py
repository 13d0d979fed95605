"""A network that stays on the meta device until it is cut among devices, so that no process ever
holds it whole.

Each process then draws the initial values of one module at a time, in the order and with the random
numbers of a single process, keeps its part of them, and drops the rest: the values are equal to the
bit.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from blocks.graph.record.initialise import matrices_of
from blocks.graph.record.module import bind_parameters, resolve_ties
from blocks.graph.record.record import Built, Recipe
from blocks.graph.record.skip_init import make
from tasks.learn.checks.causality import open_branches
from tasks.parallel.optimizer_state import Orders
from tasks.parallel.shards import permute_rows

View = tuple[tuple[int, ...], tuple[int, ...], int]  # shape, stride, first number


class DelayedInit:
    """Draws the initial values of a network that is on the meta device.

    The state of torch's generator is that of now: what `Built.materialise` would draw now is drawn
    later.

    Args:
        built: the network; modules may be replaced by others with the same paths and parameters.
    """

    def __init__(self, built: Built):
        self.network = built.model
        self.random = torch.get_rng_state()
        names = [name for name, _ in built.model.named_parameters(remove_duplicate=False)]
        self.ties = {**built.ties, **resolve_ties(names, built.config.get("tie") or {})}
        self.replaced = {*self.ties, *(start.path for start in built.starts if not start.part)}
        self.recipes = dict(list_recipes(built.model, built.recipes))
        self.starts: list[tuple[str, bool, list[View], Callable[[Tensor], None]]] = []
        for start in built.starts:
            views = []
            for matrix in matrices_of(built.model, start.path, start.part):
                views.append((tuple(matrix.shape), matrix.stride(), int(matrix.storage_offset())))
            fill = FilledBy(start.fill, start.arguments)
            self.starts.append((start.path, bool(start.part), views, fill))

    @torch.no_grad()
    def fill(self, network: nn.Module, device: torch.device, orders: Orders) -> None:
        """Give a network that has been cut its initial values, and leave torch's generator as
        `Built.materialise` does.

        Args:
            network: on the meta device.
            device: of its parts.
            orders: of rows among the devices, by name of the weight.
        """
        network.to_empty(device=device)
        for target, source in self.ties.items():
            bind_parameters(network, target, source)
        torch.set_rng_state(self.random)
        done: set[str] = set()
        for path, recipe in self.recipes.items():
            with torch.device("cpu"):
                module = make(recipe.make, path, self.replaced)
            if not any(path.startswith(f"{outer}.") for outer in done):
                self._keep(network, path, module, orders)
            done.add(path)
        before: str | None = None
        whole = torch.empty(0)
        for path, is_part, views, fill in self.starts:
            parameter = network.get_parameter(path)
            if path != before:
                if before is not None:
                    put(network.get_parameter(before), whole, orders.get(before))
                whole = torch.empty(parameter.shape, dtype=parameter.dtype)
                if is_part:  # the other parts are as they were drawn
                    whole = gather(parameter, orders.get(path))
                before = path
            for shape, stride, offset in views:
                fill(whole.as_strided(shape, stride, offset))
        if before is not None:
            put(network.get_parameter(before), whole, orders.get(before))

    def _keep(self, network: nn.Module, path: str, module: nn.Module, orders: Orders) -> None:
        """Copy what a module has into its place in the network, of parameters the own part."""
        target = network.get_submodule(path)
        for name, parameter in module.named_parameters():
            full = f"{path}.{name}"
            if full not in self.replaced:
                put(target.get_parameter(name), parameter, orders.get(full))
        for name, buffer in module.named_buffers():
            target.get_buffer(name).copy_(buffer)

    @contextmanager
    def streamed(self) -> Iterator[None]:
        """Let the network compute on the CPU within this context, with random weights that exist
        only while their module computes.

        Branches that start closed are open.
        """
        places = []
        made: dict[int, nn.Module] = {}
        for number, (path, recipe) in enumerate(self.recipes.items()):
            owner, _, name = path.rpartition(".")
            parent = self.network.get_submodule(owner)
            own = parent._modules[name]
            places.append((parent, name, own))
            made.setdefault(id(own), Streamed(recipe, number))
        for parent, name, own in places:
            parent._modules[name] = made[id(own)]
        try:
            yield
        finally:
            for parent, name, own in places:
                parent._modules[name] = own


class FilledBy:
    """Fills a tensor by a distribution with its arguments."""

    def __init__(self, fill: Callable[..., None], arguments: Mapping[str, Any]):
        self.distribution, self.arguments = fill, arguments

    def __call__(self, x: Tensor) -> None:
        self.distribution(x, **self.arguments)


class Streamed(nn.Module):
    """A module that is made, with the same random weights, whenever it computes.

    Args:
        recipe: how it is made.
        number: seed of its weights.
    """

    def __init__(self, recipe: Recipe, number: int):
        super().__init__()
        self.recipe, self.number = recipe, number

    def forward(self, *inputs: Any, **named: Any) -> Any:
        with torch.random.fork_rng(devices=[]), torch.device("cpu"):
            torch.manual_seed(self.number)
            module = self.recipe.make()
        module.train(self.training)
        with torch.no_grad(), open_branches(module):
            return module(*inputs, **named)


def list_recipes(model: nn.Module, recipes: Mapping[int, Recipe]) -> Iterator[tuple[str, Recipe]]:
    """Yield the path and the recipe of each module in the order in which they are made, a shared
    one once.
    """
    made = set()
    for path, module in list(model.named_modules()):
        for name, child in module._modules.items():
            recipe = recipes.get(id(child))
            if recipe is not None and id(child) not in made:
                made.add(id(child))
                yield f"{path}.{name}".lstrip("."), recipe


def put(parameter: Tensor, whole: Tensor, order: Tensor | None) -> None:
    """Copy the values of a whole tensor into a parameter, or its own part of them into a cut one.

    Args:
        parameter: of this process.
        whole: with rows in the order of a single device.
        order: of the rows among the devices, where it differs.
    """
    if order is not None:
        whole = whole[order]
    if not isinstance(parameter, DTensor):
        parameter.copy_(whole)
        return
    mesh, placements = parameter.device_mesh, parameter.placements
    part = distribute_tensor(whole.detach(), mesh, placements, src_data_rank=None)
    parameter.to_local().copy_(part.to_local())


def gather(parameter: Tensor, order: Tensor | None) -> Tensor:
    """Return a whole copy of a parameter on the CPU, with rows in the order of a single device."""
    whole = parameter.detach()
    if isinstance(whole, DTensor):
        whole = whole.full_tensor()
    whole = whole.cpu().clone()
    if order is not None:
        whole = permute_rows(whole, order.argsort())
    return whole
