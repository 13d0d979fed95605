"""A network that goes on token by token: what hangs on the growing inputs is asked for the new
tokens only.

The top level is split by what grows. Nodes that do not hang on it (an encoder) run once for a start
and are held. For the rest, blocks with a `step` are asked for it in place of `forward`, each with a
memory of its own for each of its calls in a pass; those without are taken to work on each token
alone. `blocks.graph.run.verify_incremental` holds that against the whole.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, fx, nn

from blocks.graph.record.module import Graph, Scan
from blocks.graph.run.flatten import Flat
from blocks.graph.run.onednn import at_hand
from blocks.support.decode_cache import Memory, StepError, in_order

COPIED = (
    2**31
    # bytes of weights that are held twice for the time of the steps, so that they lie as a few rows
    # need them
)


class Stepper:
    """The two parts of a network, ready to be started.

    Args:
        network: in evaluation mode; its modules are shared, not copied.
        grows: names of the inputs that get longer; those that the network does not have are passed
            over.

    Raises:
        StepError: nothing of what the network gives hangs on what grows.
    """

    def __init__(self, network: Graph, grows: Collection[str]):
        self.network = network
        self.grows = tuple(name for name in network.input_names if name in grows)
        growing = _growing(network, self.grows)
        held = [
            node
            for node in network.graph.nodes
            if node not in growing and set(node.users) & growing
        ]
        self.names = tuple(node.name for node in held)
        self.fixed_part = Graph(network, _fixed_graph(network, growing, held))
        self.growing_part = Graph(network, _growing_graph(network, growing, held))
        self.flat = Flat(self.growing_part)
        self.remembering = dict(_remembering(self.growing_part))

    def start(
        self, limit: int, fixed: Mapping[str, Any] | None = None, several: int = 1
    ) -> "Steps":
        """Run what does not grow, and be ready for the first tokens.

        Args:
            limit: how many tokens come at most.
            fixed: the inputs that do not grow, by name.
            several: how many rows of tokens go with each row of the fixed inputs, side by side.
        """
        with torch.no_grad():
            held = self.fixed_part(**(fixed or {})) if self.names else ()
        return Steps(self, dict(zip(self.names, held, strict=True)), limit, several)


class Steps:
    """A network that has been started, and what it remembers.

    Args:
        stepper: the network.
        held: what the fixed part gave, by the name of the node.
        limit: how many tokens come at most.
        several: how many rows of tokens go with each row of `held`.
    """

    def __init__(self, stepper: Stepper, held: dict[str, Any], limit: int, several: int):
        self.stepper, self.held, self.limit, self.several = stepper, held, limit, several
        self.seen = 0
        self.sources: Tensor | None = (
            None  # which row of the fixed inputs each row of tokens belongs to
        )
        self.memories: dict[tuple[str, int], Memory] = {}
        self.calls: Counter[str] = Counter()
        self.steps: dict[nn.Module, Callable[..., Any]] = {
            module: self._remembered(name, module, step)
            for name, (module, step) in stepper.remembering.items()
        }
        self.run: Callable[..., Any] = stepper.growing_part

    @torch.no_grad()
    def step(self, **new: Tensor) -> Any:
        """What the network gives for the tokens that come now, as it names its outputs.

        Args:
            new: the inputs that grow, (rows, new tokens, ...), the same names at every step.

        Raises:
            StepError: a block cannot go on token by token; more tokens than `limit`.
        """
        rows, tokens = next(iter(new.values())).shape[:2]
        if self.sources is None:
            self._be_quick(rows)
            self.sources = torch.arange(
                rows // self.several, device=next(iter(new.values())).device
            )
            self._move(self.sources.repeat_interleave(self.several))
        self.calls.clear()
        with self._stepping():
            result = self.run(**self.held, **new)
        self.seen += tokens
        for memory in self.memories.values():
            memory.seen = self.seen
        return result

    def reorder(self, rows: Tensor) -> None:
        """Node number i of the next tokens goes on from row number `rows[i]` of the last ones."""
        if self.sources is None or in_order(rows):
            return
        for memory in self.memories.values():
            memory.reorder(rows)
        if not torch.equal(self.sources[rows], self.sources):
            self._move(rows)

    def _move(self, rows: Tensor) -> None:
        """Give each row what is held for it; tensors without rows are for all."""
        assert self.sources is not None
        before = len(self.sources)
        self.sources = self.sources[rows]
        if not in_order(rows) or len(rows) != before:
            self.held = {
                name: value.index_select(0, rows) if _has_rows(value, before) else value
                for name, value in self.held.items()
            }

    def _remembered(
        self, name: str, module: nn.Module, step: Callable[..., Any]
    ) -> Callable[..., Any]:
        def forward(*inputs: Any, **named: Any) -> Any:
            call = name, self.calls[name]
            self.calls[name] += 1
            if call not in self.memories:
                self.memories[call] = Memory(self.limit, self.seen)
            return step(module, self.memories[call], *inputs, **named)

        return forward

    def _be_quick(self, rows: int) -> None:
        """Take linear layers for so many rows, and no levels, unless somebody waits for calls of
        bodies or blocks.
        """
        modules = list(self.stepper.growing_part.modules())
        linear = [module for module in modules if isinstance(module, nn.Linear)]
        copied = sum(module.weight.nbytes for module in linear) <= COPIED
        for module in linear:
            if (forward := at_hand(module, rows, copied)) is not None:
                self.steps[module] = forward
        if not any(module._forward_hooks or module._forward_pre_hooks for module in modules):
            self.run = self.stepper.flat.bind(self.steps)

    @contextmanager
    def _stepping(self) -> Iterator[None]:
        """Within, a call of a module that remembers is a call of its `step`."""
        before = [vars(module).get("forward") for module in self.steps]
        try:
            for module, step in self.steps.items():
                vars(module)["forward"] = step
            yield
        finally:
            for module, forward in zip(self.steps, before, strict=True):
                if forward is None:
                    vars(module).pop("forward", None)
                else:
                    vars(module)["forward"] = forward


def _has_rows(value: Any, rows: int) -> bool:
    return isinstance(value, Tensor) and value.dim() > 0 and value.shape[0] == rows


def _growing(network: Graph, grows: Collection[str]) -> set[fx.Node]:
    """The nodes that hang on what grows."""
    growing: set[fx.Node] = set()
    for node in network.graph.nodes:
        if (
            node.target in grows
            if node.op == "placeholder"
            else growing.intersection(node.all_input_nodes)
        ):
            growing.add(node)
    if network.graph.output_node() not in growing:
        fits = f"one of {', '.join(network.input_names)}"
        raise StepError(
            "what the network gives does not hang on what grows",
            got=f"{', '.join(grows)}",
            fits=fits,
        )
    return growing


def _fixed_graph(network: Graph, growing: set[fx.Node], held: list[fx.Node]) -> fx.Graph:
    graph = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    for node in network.graph.nodes:
        if node not in growing:
            copies[node] = graph.node_copy(node, copies.__getitem__)
    graph.output(tuple(copies[node] for node in held))
    return graph


def _growing_graph(network: Graph, growing: set[fx.Node], held: list[fx.Node]) -> fx.Graph:
    graph = fx.Graph()
    copies = {node: graph.placeholder(node.name) for node in held}
    for node in network.graph.nodes:
        if node in growing:
            copies[node] = graph.node_copy(node, copies.__getitem__)
    return graph


def _remembering(
    module: nn.Module, path: str = "", known: set[int] | None = None
) -> Iterator[tuple[str, tuple[nn.Module, Callable[..., Any]]]]:
    """Modules with a step, by path, each once. The steps of a scan are within it: its body runs
    as it is.
    """
    known = set() if known is None else known
    for name, child in module.named_children():
        if id(child) in known:
            continue
        known.add(id(child))
        inner = f"{path}.{name}" if path else name
        step = resume if isinstance(child, Scan) else getattr(type(child), "step", None)
        if callable(step):
            yield inner, (child, step)
        if not isinstance(child, Scan):
            yield from _remembering(child, inner, known)


def resume(scan: Scan, memory: Memory, x: Tensor, /, **given: Tensor) -> tuple[Tensor, ...]:
    """What `step` is of a block. No method: every name of a Scan is one that a node of its body
    cannot bear.
    """
    if scan.meta["reverse"] or scan.meta["axis"] != 1:
        got = "reverse: true" if scan.meta["reverse"] else f"axis {scan.meta['axis']}"
        raise StepError(
            "only a scan from the first token to the last goes on token by token", got=got
        )
    states = {name: memory.get(name, given.get(name)) for name in scan.meta["states"]}
    given.update({name: state for name, state in states.items() if state is not None})
    sequence, *last = Scan.forward(scan, x, **given)
    for name, state in zip(states, last, strict=True):
        memory.keep(name, state)
    return sequence, *last
