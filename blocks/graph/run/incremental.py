"""Incremental decoding: whatever depends on the growing inputs is computed for new tokens only.

The top level of the network is split by what grows. Nodes that do not depend on the growing inputs
(an encoder) run once for each session, and their values are kept. The rest becomes a network of its
own, made once for each session, in which the `forward` of a block is its method `step`, with one
cache for each call in a pass. Blocks without `step` are assumed to work on each token alone;
`blocks.graph.run.verify_incremental` compares the result with the whole network.
"""

from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn

from blocks.graph.record.module import Graph, Scan
from blocks.graph.record.part import copy_calls
from blocks.graph.run.flatten import FlatGraph
from blocks.graph.run.onednn import prepare_linear
from blocks.graph.run.replace import convert
from blocks.graph.run.split_head import split_head
from blocks.support.decode_cache import DecodeCache, StepError, in_order

MAX_COPIED = 2**31  # bytes of weights that a session may copy into the layout for few rows


class IncrementalModel:
    """The two parts of a network, from which sessions are started.

    Args:
        network: in evaluation mode; its parameters are shared, not copied.
        grows: names of the inputs that grow; names that the network does not have are ignored.

    Raises:
        StepError: no output of the network depends on the growing inputs.
    """

    def __init__(self, network: Graph, grows: Collection[str]):
        self.network = network
        self.grows = tuple(name for name in network.input_names if name in grows)
        growing = _find_growing(network, self.grows)
        fixed = [
            node
            for node in network.graph.nodes
            if node not in growing and set(node.users) & growing
        ]
        self.names = tuple(node.name for node in fixed)
        part, copies = copy_calls(network.graph, fixed, {})
        part.output(tuple(copies[node] for node in fixed))
        self.fixed_part = Graph(network, part)
        cuts = {node: node.name for node in fixed}
        part, _ = copy_calls(network.graph, [network.graph.output_node()], cuts)
        self.growing_part = Graph(network, part)
        self.flat = FlatGraph(self.growing_part)
        self.parts = split_head(self.growing_part)
        self.flat_body: FlatGraph | None = None
        if self.parts is not None:
            self.flat_body = FlatGraph(self.parts.body)
        self.prepared = PreparedLayers()
        self.classes: dict[nn.Module, type[nn.Module]] = {}
        for path, block, step in _find_steps(self.growing_part):
            self.classes[block] = _make_incremental_class(block, path, step)

    def make_network(self, caches: "Caches", rows: int, copied: bool = False) -> nn.Module:
        """Return the growing part with these caches, body by body.

        Args:
            rows: the expected number of rows.
            copied: whether linear layers copy their weights into the layout for few rows.
        """
        return self.make_maker(caches, rows, copied).make(self.growing_part)

    def make_maker(self, caches: "Caches", rows: int, copied: bool) -> "_Maker":
        """Return what makes the modules of a session. Arguments: those of `make_network`."""
        return _Maker(self.classes, caches, self.prepared, rows, copied)

    def start(
        self,
        limit: int,
        fixed: Mapping[str, Any] | None = None,
        several: int = 1,
        *,
        history: int = 0,
    ) -> "IncrementalSession":
        """Run what does not grow, and return a session that expects the first tokens.

        Args:
            limit: the largest number of tokens.
            fixed: the inputs that do not grow, by name.
            several: number of consecutive rows of tokens for each row of the fixed inputs.
            history: number of last steps that can be taken back where blocks keep states.
        """
        values: tuple[Any, ...] = ()
        if self.names:
            with torch.no_grad():
                values = self.fixed_part(**(fixed or {}))
        caches = Caches(limit, several, history)
        return IncrementalSession(self, dict(zip(self.names, values, strict=True)), caches)


class IncrementalSession:
    """A started network and its caches.

    Args:
        model: the network.
        fixed: the outputs of the fixed part, by the name of the node.
        caches: empty.
    """

    def __init__(self, model: IncrementalModel, fixed: dict[str, Any], caches: "Caches"):
        self.model, self.fixed, self.caches = model, fixed, caches
        self.sources: Tensor | None = None  # row of tokens -> row of the fixed inputs
        self.maker: _Maker | None = None
        self.run: Callable[..., Any] | None = None
        self.run_body: Callable[..., Any] | None = None

    @torch.no_grad()
    def step(self, **new: Tensor) -> Any:
        """Return the outputs of the network for the new tokens.

        Args:
            new: the growing inputs, (rows, new tokens, ...), the same names at every step.

        Raises:
            StepError: a block cannot process tokens in pieces, or more tokens than `limit`.
        """
        if self.run is None:
            self.run = self._make_run(new)
        return self._step(self.run, new)

    @torch.no_grad()
    def step_to_head(self, **new: Tensor) -> tuple[Tensor, nn.Linear] | None:
        """Return what the head takes for the new tokens, and the head; None, with no step taken,
        where the logits do not come from a linear layer, or a hook waits for calls.

        Arguments and errors are those of `step`.
        """
        if self.run_body is None:
            maker = self._prepare(new)
            if self.model.flat_body is None or _has_hooks(self.model.growing_part):
                return None
            self.run_body = self.model.flat_body.bind(maker.made)
        assert self.maker is not None
        assert self.model.parts is not None
        head: Any = self.maker.made[self.model.parts.head]
        return self._step(self.run_body, new), head

    def _step(self, run: Callable[..., Any], new: Mapping[str, Tensor]) -> Any:
        first = next(iter(new.values()))
        rows, tokens = first.shape[:2]
        if self.sources is None:
            several = self.caches.several
            self.sources = torch.arange(rows // several, device=first.device)
            self._select(self.sources.repeat_interleave(several))
        self.caches.begin()
        result = run(**self.fixed, **new)
        self.caches.advance(tokens)
        return result

    def reorder(self, rows: Tensor, begin: int = 0) -> None:
        """Let row i of the next tokens continue row `rows[i]` of the previous ones.

        Args:
            rows: (rows,).
            begin: the number of first tokens that are known to be the same in both. It counts only
                where both have the same fixed inputs.
        """
        if self.sources is None or in_order(rows):
            return
        if torch.equal(self.sources[rows], self.sources):
            self.caches.reorder(rows, begin)
            return
        self.caches.reorder(rows, 0)
        self.caches.separate()
        self._select(rows)

    def rewind(self, tokens: int) -> int:
        """Forget all but the first `tokens` tokens, or more where a block needs what is not known
        any more: an earlier state, tokens outside its window. Return the number of tokens left.
        """
        return self.caches.rewind(tokens)

    def _select(self, rows: Tensor) -> None:
        """Select the rows of the fixed values; a value without rows serves all of them."""
        assert self.sources is not None
        before = len(self.sources)
        self.sources = self.sources[rows]
        if in_order(rows) and len(rows) == before:
            return
        for name, value in self.fixed.items():
            if isinstance(value, Tensor) and value.dim() > 0 and value.shape[0] == before:
                self.fixed[name] = value.index_select(0, rows)

    def _prepare(self, new: Mapping[str, Tensor]) -> "_Maker":
        """Make the modules of the incremental network, for as many rows as these inputs have."""
        if self.maker is None:
            growing_part = self.model.growing_part
            modules = list(growing_part.modules())
            weights = sum(layer.weight.nbytes for layer in modules if isinstance(layer, nn.Linear))
            rows = len(next(iter(new.values())))
            self.maker = self.model.make_maker(self.caches, rows, copied=weights <= MAX_COPIED)
            self.maker.make(growing_part)
        return self.maker

    def _make_run(self, new: Mapping[str, Tensor]) -> Callable[..., Any]:
        """Make the incremental network: flat, unless a hook waits for calls of bodies or blocks."""
        maker, growing_part = self._prepare(new), self.model.growing_part
        if _has_hooks(growing_part):
            return maker.make(growing_part)
        return self.model.flat.bind(maker.made)


class Caches:
    """The caches of one session: for each block, one for each of its calls in a pass.

    Args:
        limit: the largest number of tokens.
        several: number of consecutive rows that share the inputs that do not grow.
        history: number of last passes whose states are kept.
    """

    def __init__(self, limit: int, several: int = 1, history: int = 0):
        self.limit, self.several, self.seen = limit, several, 0
        self.caches: dict[tuple[str, int], DecodeCache] = {}
        self.calls: Counter[str] = Counter()
        self.history: deque[tuple[int, dict[tuple[str, int], dict[str, Tensor]]]]
        self.history = deque(maxlen=history)

    def begin(self) -> None:
        """Begin a pass: the next call of each block is its first."""
        self.calls.clear()
        if self.history.maxlen:
            states = {call: dict(cache.states) for call, cache in self.caches.items()}
            self.history.append((self.seen, states))

    def next_of(self, path: str) -> DecodeCache:
        """Return the cache for the next call of the block at a path."""
        call = path, self.calls[path]
        self.calls[path] += 1
        if call not in self.caches:
            self.caches[call] = DecodeCache(self.limit, self.seen, self.several)
        return self.caches[call]

    def advance(self, tokens: int) -> None:
        """End a pass over new tokens."""
        self.seen += tokens
        for cache in self.caches.values():
            cache.seen = self.seen

    def rewind(self, tokens: int) -> int:
        """Forget all but the first `tokens`, or as many as states are known of."""
        if tokens >= self.seen:
            return self.seen
        states: dict[tuple[str, int], dict[str, Tensor]] = {}
        if any(cache.states for cache in self.caches.values()):
            while self.history and self.history[-1][0] > tokens:
                self.history.pop()
            tokens = 0
            if self.history:
                tokens, states = self.history.pop()
        if not all(cache.reaches(tokens) for cache in self.caches.values()):
            tokens, states = 0, {}
        self.seen = tokens
        for call, cache in self.caches.items():
            cache.rewind(tokens, states.get(call, {}))
        return tokens

    def reorder(self, rows: Tensor, begin: int) -> None:
        """Let row i continue row `rows[i]`, whose tokens before `begin` are the same."""
        self.history.clear()
        moved = (rows != torch.arange(len(rows), device=rows.device)).nonzero()[:, 0]
        sources = rows[moved]
        for cache in self.caches.values():
            cache.move(moved, sources, begin)

    def separate(self) -> None:
        """Let no rows share the inputs that do not grow."""
        self.several = 1
        for cache in self.caches.values():
            cache.several = 1


class PreparedLayers:
    """Linear layers for few rows, kept from one session to the next as long as nothing changes
    their weights.
    """

    def __init__(self) -> None:
        self.layers: dict[nn.Linear, tuple[tuple[Any, ...], nn.Linear | None]] = {}

    def prepare(self, layer: nn.Linear, rows: int, copied: bool) -> nn.Linear | None:
        """Return `prepare_linear` of a layer."""
        weight = layer.weight
        if weight.is_inference():  # it does not count its changes
            return prepare_linear(layer, rows, copied)
        state = (weight.data_ptr(), weight._version, rows, copied)
        known = self.layers.get(layer)
        if known is None or known[0] != state:
            known = state, prepare_linear(layer, rows, copied)
            self.layers[layer] = known
        return known[1]


class _Maker:
    """Makes the modules of a session. What they share with the network stays shared; a module that
    contains nothing incremental is taken as it is.

    Args:
        classes: block -> its class whose `forward` is `step`.
        caches: of the session.
        prepared: linear layers for few rows.
        rows: the expected number of rows.
        copied: whether linear layers copy their weights into the layout for few rows.
    """

    def __init__(
        self,
        classes: Mapping[nn.Module, type[nn.Module]],
        caches: Caches,
        prepared: PreparedLayers,
        rows: int,
        copied: bool,
    ):
        self.classes, self.caches, self.prepared = classes, caches, prepared
        self.rows, self.copied = rows, copied
        self.made: dict[nn.Module, nn.Module] = {}

    def make(self, module: nn.Module) -> nn.Module:
        """Return the incremental module for a module, the same one each time."""
        if module not in self.made:
            self.made[module] = self._make(module)
        return self.made[module]

    def _make(self, module: nn.Module) -> nn.Module:
        if isinstance(module, nn.Linear):
            prepared = self.prepared.prepare(module, self.rows, self.copied)
            if prepared is not None:
                return prepared
        children = dict(module._modules)
        changed = False
        for name, child in module._modules.items():
            if child is not None:
                children[name] = self.make(child)
                changed |= children[name] is not child
        if module not in self.classes and not changed:
            return module
        made = convert(module, self.classes.get(module, type(module)))
        vars(made).update(_modules=children, _incremental_caches=self.caches)
        vars(made).pop("_compiled_call_impl", None)  # it would call the original
        return made


def _make_incremental_class(
    block: nn.Module, path: str, step: Callable[..., Any]
) -> type[nn.Module]:
    """Make the class of a block whose `forward` is its `step`."""

    def forward(self: Any, *inputs: Any, **named: Any) -> Any:
        return step(self, self._incremental_caches.next_of(path), *inputs, **named)

    kind = type(block)
    return type(f"Incremental{kind.__name__}", (kind,), {"forward": forward})


def _has_hooks(network: nn.Module) -> bool:
    """Return whether any module waits for its calls."""
    return any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


def _find_growing(network: Graph, grows: Collection[str]) -> set[fx.Node]:
    """Return the nodes that depend on the growing inputs."""
    growing: set[fx.Node] = set()
    for node in network.graph.nodes:
        if node.op == "placeholder":
            depends = node.target in grows
        else:
            depends = not growing.isdisjoint(node.all_input_nodes)
        if depends:
            growing.add(node)
    if network.graph.output_node() not in growing:
        raise StepError(
            "no output of the network depends on the growing inputs",
            got=", ".join(grows),
            fits=f"one of {', '.join(network.input_names)}",
        )
    return growing


def _find_steps(
    module: nn.Module, path: str = "", known: set[nn.Module] | None = None
) -> Iterator[tuple[str, nn.Module, Callable[..., Any]]]:
    """Yield (path, block, step) for each block that has a step, a shared one once.

    A scan is one block: the modules of its body run as they are.
    """
    known = set() if known is None else known
    for name, child in module.named_children():
        if child in known:
            continue
        known.add(child)
        inner = f"{path}.{name}" if path else name
        if isinstance(child, Scan):
            yield inner, child, continue_scan
            continue
        step = getattr(type(child), "step", None)
        if callable(step):
            yield inner, child, step
        yield from _find_steps(child, inner, known)


def continue_scan(scan: Scan, cache: DecodeCache, x: Tensor, /, **given: Tensor) -> Any:
    """Run a scan over new tokens, from the states that the cache keeps.

    It is a function, not a method: a method's name could not be the name of a node in the body.

    Raises:
        StepError: the scan does not run over the tokens in their order.
    """
    if scan.meta["reverse"]:
        raise StepError("only a scan over the tokens in order can continue", got="reverse: true")
    if scan.meta["axis"] != 1:
        got = f"axis {scan.meta['axis']}"
        raise StepError("only a scan over the tokens in order can continue", got=got)
    names = scan.meta["states"]
    for name in names:
        state = cache.get(name, given.get(name))
        if state is not None:
            given[name] = state
    sequence, *last = Scan.forward(scan, x, **given)
    for name, state in zip(names, last, strict=True):
        cache.keep(name, state)
    return sequence, *last
