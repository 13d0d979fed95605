"""What a model costs for one sample: multiply-adds, memory kept for the backward pass, receptive
field.

The model runs once, on the meta device, node by node, in training mode and in its own precision.
Counted are the products of matrices and convolutions as they reach the kernels, so a block needs to
say nothing. What a batch shares (a mask, a table of positions) counts once, as for a batch of one.
"""

import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from blocks.graph.describe.equal_bodies import (
    EqualBodies,
    Known,
    Outcome,
    find_outcome,
    renew,
)
from blocks.graph.describe.fused_kernels import Kernels
from blocks.graph.describe.receptive_field import Field, Fields, storage_of
from blocks.graph.record.kept import open_kept
from blocks.graph.record.module import Graph, Scan
from blocks.graph.record.operations import Operations
from blocks.graph.record.record import Built
from blocks.graph.record.value import BATCH


@dataclass
class Cost:
    """What one node costs for one sample, with everything inside it.

    Args:
        macs: multiply-adds of matrix products and convolutions.
        memory: bytes that the backward pass needs, of tensors that no node before has kept already.
        field: how much of the input one place of the output sees, where convolutions and pools
            alone decide that.
    """

    macs: int = 0
    memory: int = 0
    field: Field | None = None


# beside those whose operations torch itself counts, two for each multiply-add
MACS: dict[str, Callable[..., int]] = {
    "addbmm": lambda out, base, a, b: a.numel() * b.shape[-1],
    "mv": lambda out, matrix, vector: matrix.numel(),
    "addmv": lambda out, base, matrix, vector: matrix.numel(),
    "dot": lambda out, a, b: a.numel(),
    "linear": lambda out, x, weight, *bias: x.numel() * weight.shape[0],
}


class _Counter(TorchDispatchMode):
    """Counts what every operation costs, on the account of the node that runs."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """No wrapper for a compiler around each operation: nothing is compiled here."""
        return False

    def __init__(self, accounts: "Accounts"):
        super().__init__()
        self.accounts = accounts

    def __torch_dispatch__(
        self, operation: Any, types: Any, arguments: Any = (), keywords: Any = None
    ) -> Any:
        out = self.accounts.operations.run(operation, arguments, keywords or {})
        name = operation._schema.name.removeprefix("aten::")
        if operation.overloadpacket in flop_registry:
            count = flop_registry[operation.overloadpacket]
            self.accounts.add_macs(count(*arguments, **(keywords or {}), out_val=out) // 2)
        elif name in MACS:
            self.accounts.add_macs(MACS[name](out, *arguments))
        field = self.accounts.fields.follow(name, operation, arguments, out)
        if field is not None:
            self.accounts.see(field)
        return out


class Accounts:
    """The costs of all nodes by path; what a node costs, all around it cost too."""

    def __init__(self, model: nn.Module):
        self.costs: dict[str, Cost] = {"": Cost()}
        self.here: list[Cost] = [self.costs[""]]
        self.times = 1  # a step of a scan stands for many
        held = [*model.parameters(), *model.buffers()]
        self.kept = {storage_of(tensor): tensor for tensor in held}  # weights are there anyway
        self.equal: EqualBodies | None = None
        self.operations = Operations(open_kept().operations)
        self.fields = Fields()
        self.recipes: Mapping[int, Any] = {}
        self.known: dict[Any, tuple[Any, int]] = {}
        self.kernels: AbstractContextManager[Any] = nullcontext()

    def run(self, module: nn.Module, arguments: Any, keywords: Any) -> Any:
        """A block; an equal one with equal inputs is not run again where only products are
        counted.
        """
        recipe = self.recipes.get(id(module))
        if recipe is None:
            return self._call(module, arguments, keywords)
        key = (
            recipe.factory,
            repr(recipe.arguments),
            repr(fx.node.map_aggregate((arguments, keywords), _signature)),
        )
        before = self.here[-1].macs
        if key not in self.known:
            out = self._call(module, arguments, keywords)
            self.known[key] = (out, (self.here[-1].macs - before) // self.times)
        else:
            for cost in self.here:
                cost.macs += self.times * self.known[key][1]
        return self.known[key][0]

    def _call(self, module: nn.Module, arguments: Any, keywords: Any) -> Any:
        """Modes are on while a block runs and no longer: they slow down every look at a tensor."""
        with torch.device("meta"), self.kernels:
            return module(*arguments, **keywords)

    def enter(self, path: str) -> None:
        """From here on, costs go to the node at a path as well."""
        self.here.append(self.costs.setdefault(path, Cost()))

    def leave(self) -> None:
        self.here.pop()

    def add_macs(self, macs: int) -> None:
        for cost in self.here:
            cost.macs += self.times * _for_one(macs)

    def is_kept(self, tensor: Tensor) -> bool:
        return storage_of(tensor) in self.kept

    def mark_kept(self, tensor: Tensor) -> None:
        self.kept[storage_of(tensor)] = tensor

    def forget_tensors(self) -> None:
        """Let go of the tensors: autograd holds this object, and no collector sees that circle."""
        self.kept.clear()
        self.fields = Fields()

    def look_up(self, tensor: Tensor) -> Known:
        return Known(self.is_kept(tensor), self.fields.of(tensor), tensor.requires_grad)

    def learn(self, tensor: Tensor, known: Known) -> None:
        """Treat a tensor as another, of which this is known."""
        if known.is_kept:
            self.mark_kept(tensor)
        if known.field is not None:
            self.fields.give(tensor, known.field)

    def run_once(
        self, module: nn.Module, path: str, given: list[Any], run: Callable[[], Any]
    ) -> Any:
        """Run a body or a block; one that is equal to one that ran, with equal inputs, is not run
        again.
        """
        key = None
        if self.equal is not None and self.times == 1:
            key = self.equal.ask(module, given, self.look_up)
        if self.equal is None or key is None:
            return run()
        if key in self.equal.outcomes:
            return self._repeat(self.equal.outcomes[key], path, given)
        start = len(self.costs)
        result = run()
        inside = {"": self.here[-1]}
        for below in islice(self.costs, start, None):
            inside[below.removeprefix(path)] = self.costs[below]
        outcome = find_outcome(inside, given, result, self.look_up)
        if outcome is not None:
            self.equal.outcomes[key] = outcome
        return result

    def _repeat(self, outcome: Outcome, path: str, given: list[Any]) -> Any:
        """Enter the costs of a body that is equal to one that ran; tensors like those it gave."""
        own = outcome.costs[""]
        for cost in self.here:
            cost.macs += own.macs
            cost.memory += own.memory
        if own.field is not None:
            self.see(own.field)
        for below, cost in outcome.costs.items():
            if below:
                self.costs[f"{path}{below}"] = replace(cost)
        for tensor, keeps in zip(given, outcome.keeps, strict=True):
            if keeps:
                self.mark_kept(tensor)
        return renew(outcome, self.learn)

    def keep(self, tensor: Tensor) -> None:
        """A tensor that autograd saves. A view keeps the whole of what it is a view of.

        Nothing is given to autograd in its place, which no backward pass asks for: an operation
        that saves its own output would hold itself, and no collector sees that circle.
        """
        if not self.is_kept(tensor):
            self.mark_kept(tensor)
            size = self.times * _for_one(tensor.untyped_storage().nbytes())
            for cost in self.here:
                cost.memory += size

    def see(self, field: Field) -> None:
        for cost in self.here[1:]:
            cost.field = field if cost.field is None else field.widest(cost.field)


def _for_one(count: int) -> int:
    return count // BATCH if count % BATCH == 0 else count


def measure(plan: Built) -> dict[str, Cost]:
    """What every node costs, by its path; the whole model under ""."""
    accounts = Accounts(plan.model)
    accounts.equal = EqualBodies(plan.recipes)
    inputs = _inputs(plan)
    accounts.fields.start(inputs.values())
    accounts.kernels = Kernels()
    with saved_tensors_hooks(accounts.keep, lambda packed: packed):
        _count(plan, inputs, accounts)
    accounts.forget_tensors()
    return accounts.costs


def multiply_adds(plan: Built, known: dict[Any, tuple[Any, int]] | None = None) -> int:
    """The multiply-adds of a model for one sample, and nothing else: equal blocks run once.

    Args:
        known: blocks that ran before; shared between models, it spares all they have in common.
    """
    accounts = Accounts(plan.model)
    accounts.recipes, accounts.known = plan.recipes, {} if known is None else known
    with torch.no_grad():
        _count(plan, _inputs(plan), accounts)
    return accounts.costs[""].macs


def _count(plan: Built, inputs: Mapping[str, Tensor], accounts: Accounts) -> None:
    with warnings.catch_warnings(), _Counter(accounts):
        # a kernel may warn of what the meta device cannot do; no number is computed
        warnings.simplefilter("ignore")
        _run(plan.model, "", inputs, accounts)


def _inputs(plan: Built) -> dict[str, Tensor]:
    return {name: wire.tensor for name, wire in plan.inputs.items() if wire.tensor is not None}


def _signature(value: Any) -> Any:
    return (tuple(value.shape), value.dtype) if isinstance(value, Tensor) else value


def _run(graph: Graph, path: str, inputs: Mapping[str, Any], accounts: Accounts) -> Any:
    """The body of a graph, node by node."""
    values: dict[fx.Node, Any] = {}
    calls: Counter[str] = Counter()
    for node in graph.graph.nodes:
        if node.op == "placeholder":
            values[node] = inputs.get(node.target)
            continue
        arguments, keywords = fx.map_arg((node.args, node.kwargs), values.__getitem__)
        if node.op == "output":
            return arguments[0]
        if node.op == "call_function":
            values[node] = node.target(*arguments, **keywords)
            continue
        name = node.meta["node"].name
        calls[name] += 1
        if calls[name] > 1:  # repeats of a shared module: the record has the first alone
            name = f"{name}#{calls[name]}"
        below = f"{path}.{name}" if path else name
        accounts.enter(below)
        values[node] = _call(graph.get_submodule(node.target), below, arguments, keywords, accounts)
        accounts.leave()
    raise AssertionError("a graph ends with its output")


def _call(module: nn.Module, path: str, arguments: Any, keywords: Any, accounts: Accounts) -> Any:
    if not isinstance(module, Graph):
        run = partial(accounts.run, module, arguments, keywords)
        if keywords:
            return run()
        return accounts.run_once(module, path, [*arguments], run)
    if isinstance(module, Scan):
        return _scan(module, path, arguments[0], keywords, accounts)
    inputs = {**dict(zip(module.input_names, arguments, strict=False)), **keywords}
    run = partial(_run, module, path, inputs, accounts)
    return accounts.run_once(module, path, [*inputs.values()], run)


def _scan(
    scan: Scan, path: str, x: Tensor, given: Mapping[str, Any], accounts: Accounts
) -> tuple[Tensor, ...]:
    """Two steps tell what all cost: the first; and, for all others, the second, which begins where
    the first ended.
    """
    axis, steps, sequence = scan.meta["axis"], x.shape[scan.meta["axis"]], scan.meta["sequence"]
    shapes, times = scan.meta["states"], accounts.times
    states = {
        name: given.get(name, x.new_zeros(x.shape[0], *shape)) for name, shape in shapes.items()
    }
    named: dict[str, Tensor] = {}
    for count in (1, steps - 1):
        if count:
            accounts.times = times * count
            result = _run(scan, path, {"x": x.select(axis, 0), **given, **states}, accounts)
            results = result if isinstance(result, tuple) else (result,)
            named = dict(zip(scan.meta["step_outputs"], results, strict=True))
            states = {name: named[name] for name in states}
    accounts.times = times
    last = named[sequence].unsqueeze(axis)
    return last.expand(*last.shape[:axis], steps, *last.shape[axis + 1 :]).clone(), *states.values()
