"""Equal bodies with equal inputs cost the same: one of them runs, the costs of the others follow.

A body of a repeat, or a template inside of it, is run where it meets inputs of another kind: other
shapes, or tensors that are kept for the backward pass already.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from blocks.graph.describe.receptive_field import Field, storage_of
from blocks.graph.record.kept import open_kept
from blocks.graph.record.module import Graph, Scan


@dataclass(frozen=True)
class Known:
    """What is known about a tensor.

    Args:
        is_kept: whether it is kept for the backward pass.
        field: its receptive field.
        requires_grad: whether the backward pass reaches it.
    """

    is_kept: bool
    field: Field | None
    requires_grad: bool


LookUp = Callable[[Tensor], Known]


@dataclass(frozen=True)
class Outcome:
    """What a body did with its inputs.

    Args:
        costs: of the nodes inside, by path below the body; the body's own under "".
        keeps: which inputs are kept for the backward pass from now on.
        outputs: its outputs, each with what is known about it.
        several: whether the outputs are a tuple.
    """

    costs: Mapping[str, Any]
    keeps: tuple[bool, ...]
    outputs: tuple[tuple[Tensor, Known], ...]
    several: bool


@dataclass
class EqualBodies:
    """What is known about bodies that ran.

    Args:
        recipes: id of a module -> how it was made.
    """

    recipes: Mapping[int, Any]
    keys: dict[int, Any] = field(default_factory=dict)
    ran: set[int] = field(default_factory=set)
    outcomes: dict[Any, Outcome] = field(default_factory=lambda: open_kept().outcomes)

    def key_of(self, module: nn.Module) -> Any:
        """Return what is equal for modules of equal structure with equal arguments."""
        if id(module) not in self.keys:
            self.keys[id(module)] = self._make_key(module)
        return self.keys[id(module)]

    def _make_key(self, module: nn.Module) -> Any:
        if isinstance(module, Graph) and not isinstance(module, Scan):
            children = []
            for name, child in module.named_children():
                children.append((name, self.key_of(child)))
            return (module.code, *children)
        recipe = self.recipes.get(id(module))
        if recipe is None:
            return object()  # equal to nothing
        return recipe.key

    def ask(self, module: nn.Module, inputs: Sequence[Any], look_up: LookUp) -> Any:
        """Return the key of a body or block with its inputs; None where it must run.

        A module that runs again may keep something of its first run.
        """
        if id(module) in self.ran or not all(isinstance(each, Tensor | None) for each in inputs):
            return None
        self.ran.add(id(module))
        return self.key_of(module), *_describe(inputs, look_up)


def _describe(inputs: Sequence[Tensor | None], look_up: LookUp) -> list[Any]:
    """Return all of the inputs that costs depend on."""
    found: list[Any] = []
    order: dict[int, int] = {}
    for each in inputs:
        if each is None:  # an optional input that the data do not have
            found.append(None)
            continue
        alias = order.setdefault(storage_of(each), len(order))
        layout = (each.shape, each.stride(), each.storage_offset(), each.dtype)
        size = each.untyped_storage().nbytes()
        found.append((layout, size, alias, look_up(each)))
    return found


def find_outcome(
    costs: Mapping[str, Any],
    inputs: Sequence[Tensor | None],
    result: Any,
    look_up: LookUp,
) -> Outcome | None:
    """Return what a body did; None where its outputs are no tensors of their own."""
    outputs = result if isinstance(result, tuple) else (result,)
    given = [each for each in inputs if each is not None]
    storages = {storage_of(each) for each in given}
    for each in outputs:
        if not isinstance(each, Tensor) or storage_of(each) in storages:
            return None
        storages.add(storage_of(each))
        if each.untyped_storage().nbytes() != each.numel() * each.element_size():
            return None
    # detached: a graph of autograd would keep all that led to it
    known = tuple((each.detach(), look_up(each)) for each in outputs)
    keeps = tuple(each is not None and look_up(each).is_kept for each in inputs)
    return Outcome(costs, keeps, known, isinstance(result, tuple))


def renew(outcome: Outcome, learn: Callable[[Tensor, Known], None]) -> Any:
    """Return outputs like those of a body that ran, in storages of their own."""
    made = []
    for like, known in outcome.outputs:
        tensor = torch.empty_strided(like.shape, like.stride(), dtype=like.dtype, device="meta")
        if known.requires_grad:
            tensor = tensor.requires_grad_().clone()
        learn(tensor, known)
        made.append(tensor)
    if outcome.several:
        return tuple(made)
    return made[0]
