"""The assembler: walks a model's YAML once, with shapes, and puts generated modules together.

It knows no block by name: what a block takes and gives is read from its signature, and `forward` on the meta device
is the one definition of every shape.
"""

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import fx, nn

from blocks.graph.arguments import coerce
from blocks.graph.atom import Atom, Maker, Recipe, Trouble
from blocks.graph.errors import ConfigError, Origin, Problem, did_you_mean, show
from blocks.graph.expression import ExpressionError, evaluate
from blocks.graph.initialise import Reader, Start
from blocks.graph.module import Graph, Scan, materialise
from blocks.graph.node import MODEL_WORDS, arguments_of, check_name, check_node, order
from blocks.graph.room import BATCH, Input, Room, Row, Wire, meta_tensor, show_shape
from blocks.graph.scope import MISSING, Counter, Scope, Text, number
from blocks.graph.signature import Signature, signature_of

DEEPEST = 32  # bodies within bodies; no honest model has more

Path = tuple[Any, ...]
Outputs = dict[str, Wire]


@dataclass(frozen=True)
class Filling:
    """What a node, a hole or an option of a slot is made of: its YAML, where it stands, and the names in reach there."""

    raw: Mapping[str, Any]
    path: Path
    scope: Scope
    label: str = ""


class Assembler:
    """One model under construction.

    Args:
        catalog: block name -> `nn.Module` class or `Layer`.
        origin: path in the config -> where that was written.
        facts: what the data says of itself.
        choices: slot -> name of the chosen option, for display.
        altered: the model was changed on the command line, so that the claims of its file no longer bind.
    """

    def __init__(
        self,
        catalog: Mapping[str, Any],
        origin: Callable[[Path], Origin],
        facts: Mapping[str, Any],
        choices: Mapping[str, str] | None = None,
        altered: bool = False,
    ):
        self.catalog, self.origin, self.facts, self.choices = catalog, origin, facts, choices or {}
        self.altered = altered
        self.maker = Maker(self.signature)
        self.problems: list[Problem] = []
        self.recipes: dict[int, Recipe] = {}
        self.starts: list[Start] = []
        self.rooms: dict[str, tuple[nn.Module, tuple[str, ...]]] = {}  # every module by path, for `share`
        self.slots: Mapping[str, Any] = {}
        self.params: dict[str, Text] = {}
        self.read_params: set[Path] = set()
        self.used_slots: set[str] = set()
        self.passed = 0  # innermost repeats passed inside the present top-level node
        self.total: Callable[[], int] = lambda: 0

    # ---------------------------------------------------------------- the model

    def model(self, config: Mapping[str, Any], path: Path = ("model",)) -> Graph:
        """The whole model on the meta device; `rows` describe it. Problems are collected in `self.problems`."""
        self.slots = config
        scope = Scope(facts=self.facts, read=self.read_params)
        params = config.get("params") or {}
        scope = replace(scope, params=self.params)
        for name, raw in params.items():
            place = (*path, "params", name)
            self.params[name] = Text(raw, self.origin(place), replace(scope, params=_Without(self.params, {}, name), trace=[]), place)
        scope = replace(scope, lexical=self.params)
        room = Room("")
        for name, raw in (config.get("inputs") or {}).items():
            with self.place((*path, "inputs", name), f"inputs.{name}"):
                self._model_input(room, name, Text(raw, self.origin((*path, "inputs", name)), scope))
        room.previous = next(iter(room.inputs.values()), None)
        outputs = self.body(room, config["graph"], (*path, "graph"), scope, config.get("outputs"), (*path, "outputs"))
        self.outputs, self.rows = outputs, room.rows
        return self.close(room, outputs, explicit=tuple(room.inputs), named=isinstance(config.get("outputs"), Mapping))

    def _model_input(self, room: Room, name: str, text: Text) -> None:
        raw, optional = text.raw, False
        if isinstance(raw, Mapping):
            optional = raw.get("optional", False) is True
            raw = raw["shape"] if set(raw) <= {"shape", "optional", "dtype"} and "shape" in raw else raw
        dtype = text.raw.get("dtype") if isinstance(text.raw, Mapping) else None
        try:
            fact = number(replace(text, raw=raw)) if not isinstance(raw, Mapping) else {
                key: item if key == "dtype" else number(replace(text, raw=item)) for key, item in raw.items() if key != "optional"
            }  # fmt: skip
        except ExpressionError as error:
            if optional:
                room.add_input(name, Wire(None, (), None, name), optional=True)
                return
            room.add_input(name, Wire(None, (), None, name, broken=True))
            raise Trouble(Problem(error.problem, got=f"{name}: {show(raw)}", fits=error.fits, fix=error.fix)) from None
        try:
            wire = _wire_of_fact(name, fact, dtype)
        except Trouble:
            room.add_input(name, Wire(None, (), None, name, broken=True))
            raise
        room.add_input(name, wire, optional)

    # ---------------------------------------------------------------- bodies

    def body(self, room: Room, nodes: Any, path: Path, scope: Scope, outputs: Any, outputs_path: Path) -> Outputs:
        """Build every node of a body in order; what the body gives."""
        if not isinstance(nodes, Mapping) or not nodes:
            self.tell(Problem("a body is a mapping of named nodes", got=show(nodes), fits="name: {block: Name}"), path, room.path)
            return {"out": _broken("")}
        scope = replace(scope, nodes=room.view, node_names=lambda: tuple(room.results))
        names, lost = order(nodes)
        for name, anchor in lost:
            known = [other for other in names if other != name]
            problem = Problem(f"'after' names no node {anchor!r}", got=f"after: {anchor}", fits=did_you_mean(anchor, known))
            if anchor in known:
                problem = Problem(f"{name!r} and {anchor!r} wait for each other", got=f"after: {anchor}", fix="leave `after` out at one of them")
            self.tell(problem, (*path, name, "after"), room.below(name))
        later = [ref for name in names for ref in _mentions(nodes[name])] + _mentions({"in": outputs})
        for name in names:
            self._node_of_body(room, str(name), nodes[name], (*path, name), scope, later)
        return self._outputs(room, outputs, outputs_path)

    def _node_of_body(self, room: Room, name: str, raw: Any, path: Path, scope: Scope, later: list[str]) -> None:
        broken = True
        top = room.path == ""
        if top:
            self.passed, self.total = 0, lambda: self.count(raw, path, scope)
        with self.place(path, room.below(name)):
            problem = check_name(name, tuple(room.inputs)) or check_node(raw)
            if problem:
                raise Trouble(problem)
            room.origins[name] = str(self.origin(path))
            wanted = [reference.partition(".")[2] for reference in later if reference.partition(".")[0] == name]
            room.results[name] = self.node(room, name, raw, path, scope, wanted)
            broken = False
        if broken:
            room.skipped = True
            room.results[name] = {"out": _broken(name)}
        room.previous = next(iter(room.results[name].values()))

    def _outputs(self, room: Room, outputs: Any, path: Path) -> Outputs:
        if outputs is None:
            return {"out": room.previous or _broken("")}
        if isinstance(outputs, str):
            named = {"out": outputs}
        elif isinstance(outputs, list):
            named = {str(reference).partition(".")[0]: reference for reference in outputs}
        else:
            named = dict(outputs)
        found = {}
        for name, reference in named.items():
            found[name] = _broken(str(reference))
            with self.place((*path, name) if isinstance(outputs, Mapping) else path, f"{room.path}.outputs".lstrip(".")):
                found[name] = self.read(room, reference)
        return found

    def close(self, room: Room, outputs: Outputs, explicit: tuple[str, ...], named: bool = False) -> Graph:
        """Turn a finished room into a module. Inputs that nobody reads and nodes that feed nothing are told."""
        broken = room.skipped or any(wire.broken for wire in outputs.values())
        results = {name: wire.node for name, wire in outputs.items()}
        names = tuple(results)
        # A model whose YAML names its outputs gives a dictionary; inside, several outputs are a tuple.
        value: Any = results if named else next(iter(results.values())) if len(results) == 1 else tuple(results.values())
        output = room.graph.output(None if None in results.values() else value)
        for node in reversed(list(room.graph.nodes)):
            if node.op == "call_function" and not node.users:
                room.graph.erase_node(node)
        for node in list(room.graph.nodes):
            if node.users or node is output:
                continue
            if node.op == "placeholder":
                if node.target in explicit and not broken:
                    self.tell(Problem(f"nothing reads the input {node.target!r}", fix="name it in some node's `in:`, or leave it out"),
                              ("model", "inputs", node.target) if not room.path else (), room.path or f"inputs.{node.target}")  # fmt: skip
                room.graph.erase_node(node)
            elif not broken:
                self.tell(Problem("this node feeds nothing", fix="name it in the `in:` of another node or in `outputs`, or delete it"),
                          (), room.below(str(node.target)), room.origins.get(str(node.target)))  # fmt: skip
        graph = Graph(room.root, room.graph, "Graph")
        graph.meta.update({"origins": room.origins, "outputs": names})
        return graph

    # ---------------------------------------------------------------- nodes

    def node(self, room: Room, name: str, raw: Mapping[str, Any], path: Path, scope: Scope, wanted: list[str]) -> Outputs:
        """One node with its place: inputs, condition, repetition; what it gives."""
        inputs, previous = self.inputs_of(room, raw, path)
        wires = [item.wire for item in inputs] or ([previous] if previous is not None else [])
        axes = {axis: size for wire in reversed(wires) for axis, size in wire.axes.items()}
        here = replace(scope, axes=axes, arguments={}, trace=[])
        if any(wire.broken for wire in wires):
            room.skipped = True
            return {"out": _broken(name), **{port: _broken(name) for port in wanted if port}}
        if "when" in raw and not self._condition(raw["when"], (*path, "when"), here):
            room.skipped = True
            room.origins.pop(name, None)
            return {"out": wires[0] if wires else _broken(name)}
        if "scan" in raw:
            outputs = self.scan(room, name, raw, path, here, inputs, previous)
        elif "repeat" in raw:
            outputs = self.repeat(room, name, raw, path, here, inputs, previous, wanted)
        else:
            outputs = self.single(room, name, Filling(raw, path, here), inputs, previous)
        if "expect" in raw:
            self._expect_node(raw["expect"], path, room.below(name), next(iter(outputs.values())))
        return outputs

    def inputs_of(self, room: Room, raw: Mapping[str, Any], path: Path) -> tuple[list[Input], Wire | None]:
        """What `in` says, and the previous sibling's output for a first port that a mapping leaves out."""
        flow = raw.get("in", None)
        if "in" not in raw:
            return ([Input(None, "x", room.previous)] if room.previous is not None else []), room.previous
        where = (*path, "in")
        if isinstance(flow, str):
            return [Input(None, "x", self.read(room, flow, where))], room.previous
        if isinstance(flow, list):
            items = [Input(None, str(ref).rpartition(".")[2], self.read(room, ref, (*where, i))) for i, ref in enumerate(flow)]
            return items, None
        if isinstance(flow, Mapping):
            return [Input(str(port), str(port), self.read(room, ref, (*where, port))) for port, ref in flow.items()], room.previous
        raise Trouble(Problem("`in` names what flows in", got=f"in: {show(flow)}", fits="in: node, in: [a, b], in: {port: node}, or in: []"))

    def read(self, room: Room, reference: Any, path: Path | None = None) -> Wire:
        """The wire of `node` or `node.port`; raises Trouble with what there is to name."""
        wire = room.read(str(reference)) if isinstance(reference, str | int) else None
        if wire is None:
            source = str(self.origin(path)) if path else None
            fits = did_you_mean(str(reference), room.references())
            fix = None
            name, _, port = str(reference).partition(".")
            if port and name in room.results:
                problem, fits = f"{name!r} has no output {port!r}", ", ".join(room.results[name])
            else:
                problem = f"no node or input {show(reference)!r} here" + ", before this one" * bool(path)
                fix = "a body sees only its own inputs and nodes; hand outer values in through `in:`" if room.path else None
            word = "in" if path else "outputs"
            raise Trouble(Problem(problem, got=f"{word}: {show(reference)}", source=source, fits=fits, fix=fix))
        return wire

    def _condition(self, raw: Any, path: Path, scope: Scope) -> bool:
        try:
            value = evaluate(raw, scope) if isinstance(raw, str) else raw
        except ExpressionError as error:
            raise Trouble(Problem(f"when: {error.problem}", got=f"when: {raw}", fits=error.fits, fix=error.fix)) from None
        if not isinstance(value, bool):
            came = f"when: {show(raw)}" + f", which is {show(value)}" * isinstance(raw, str)
            raise Trouble(Problem("`when` is true or false", got=came, fits="a comparison: layer.index > 0"))
        return value

    # ---------------------------------------------------------------- repetition

    def repeat(
        self, room: Room, name: str, raw: Mapping[str, Any], path: Path, scope: Scope, inputs: list[Input],
        previous: Wire | None, wanted: list[str],
    ) -> Outputs:  # fmt: skip
        """The first input is carried through the repeats, the others are the same for each."""
        count, lists = self.repetitions(raw["repeat"], (*path, "repeat"), scope)
        counter = str(raw.get("as", "layer"))
        single = {key: value for key, value in raw.items() if key not in ("repeat", "in", "as", "when", "after", "expect", "share")}
        shared, innermost = raw.get("share") is True, not _repeats_inside(raw.get("body"))
        inner = Room(room.below(name))
        given = self._enter(inner, inputs, previous)
        carried, outputs = list(inner.inputs)[0] if inner.inputs else None, {}
        flow = dict(inner.inputs)
        for index in range(count):
            counters = {**scope.counters, counter: Counter(index, lambda: count)}
            if innermost:
                counters["depth"] = Counter(self.passed, self.total)
                self.passed += 1
            here = replace(scope, lexical={**scope.lexical, **{k: v[index] for k, v in lists.items()}}, counters=counters)
            here = replace(here, axes={axis: size for wire in reversed(flow.values()) for axis, size in wire.axes.items()})
            items = [Input(None if key == carried else key, key, wire) for key, wire in flow.items()]
            place = str(index)
            inner.origins[place] = str(self.origin(path))
            if shared and index:
                outputs = self._call_again(inner, "0", items, list(outputs))
            else:
                outputs = self.single(inner, place, Filling(single, path, here), items, next(iter(flow.values()), None))
            inner.results[place] = outputs
            if any(wire.broken for wire in outputs.values()):
                return {"out": _broken(name), **{port: _broken(name) for port in wanted if port}}
            if len(outputs) > 1 or next(iter(outputs)) in flow:
                flow.update({key: wire for key, wire in outputs.items() if key in flow})
            if carried is not None and carried not in outputs:
                flow[carried] = next(iter(outputs.values()))
        results = dict(outputs)
        results.update({port: next(iter(inner.results[port].values())) for port in wanted if port in inner.results and port.isdigit()})
        graph = self.close(inner, results, explicit=tuple(item.name for item in inputs if item.port))
        room.rows.append(self._row(room, name, f"{count} times", path, inputs, results, inner.rows, repeat=count))
        return self.call(room, name, graph, given, results)

    def repetitions(self, raw: Any, path: Path, scope: Scope) -> tuple[int, dict[str, tuple[Any, ...]]]:
        """How often, and the lists that are zipped along."""
        text = Text(raw, self.origin(path), scope)
        source = str(text.origin)
        try:
            if not isinstance(raw, Mapping):
                count = coerce(int, text, "repeat")
                if count < 1:
                    raise Trouble(Problem("repeat is at least 1", got=f"repeat: {show(raw)}" + (f" = {count}" if isinstance(raw, str) else ""),
                                          source="\n".join([source, *scope.trace]),
                                          fix="to leave a node out, write when: false"))  # fmt: skip
                return count, {}
            lists = {key: number(Text(value, self.origin((*path, key)), scope)) for key, value in raw.items()}
        except ExpressionError as error:
            source = "\n".join([source, *scope.trace])
            raise Trouble(Problem(error.problem, got=f"repeat: {show(raw)}", source=source, fits=error.fits, fix=error.fix)) from None
        bad = [key for key, value in lists.items() if not isinstance(value, tuple)]
        if bad or not lists:
            raise Trouble(Problem("repeat is a number, or lists of equal length", got=f"repeat: {show(raw)}", source=source,
                                  fits="repeat: 4, or repeat: {depth: [2, 2], heads: [3, 6]}"))  # fmt: skip
        lengths = {key: len(value) for key, value in lists.items()}
        if not min(lengths.values()):
            raise Trouble(Problem("a list of repeat is empty", got=f"repeat: {show(raw)}", source=source, fix="to leave a node out, write when: false"))
        if len(set(lengths.values())) != 1:
            got = ", ".join(f"{key} has {length}" for key, length in lengths.items())
            origins = "\n".join(f"{key}  {self.origin((*path, key))}" for key in lengths)
            raise Trouble(Problem("the lists of repeat differ in length", got=got, source=origins, fix="give each list the same length"))
        return next(iter(lengths.values())), lists

    def count(self, raw: Any, path: Path, scope: Scope) -> int:
        """How many innermost repeats run inside a node: what `depth.count` says."""
        if not isinstance(raw, Mapping):
            return 0
        body = raw.get("body") if isinstance(raw.get("body"), Mapping) else {}
        if "repeat" not in raw:
            return sum(self.count(node, path, scope) for node in body.values())
        times, lists = self.repetitions(raw["repeat"], (*path, "repeat"), scope)
        if not _repeats_inside(body):
            return times
        scopes = [replace(scope, lexical={**scope.lexical, **{k: v[i] for k, v in lists.items()}}) for i in range(times)]
        return sum(self.count(node, path, inner) for inner in scopes for node in body.values())

    # ---------------------------------------------------------------- recurrence

    def scan(
        self, room: Room, name: str, raw: Mapping[str, Any], path: Path, scope: Scope, inputs: list[Input], previous: Wire | None
    ) -> Outputs:
        """A body run once per step along an axis, with named state: gives the sequence, and the last of each state."""
        single = {key: value for key, value in raw.items() if key not in ("scan", "in", "as", "when", "after", "expect")}
        target, texts, label = self.resolve(Filling(single, path, scope), scope)
        if "body" not in target.raw:
            raise Trouble(Problem("`scan` goes with a body", got=f"block: {target.raw.get('block')}", fits="scan: {...}, body: {...}"))
        given = {"x" if item.port is None else item.name: item.wire for item in inputs}
        given = given if "x" in given or previous is None else {"x": previous, **given}
        axis, states, reverse = self._scan_words(raw["scan"], (*path, "scan"), scope, given["x"])
        whole = given["x"]
        step = replace(whole, tensor=_meta_select(whole, axis), names=_without(whole.names, axis))
        flow = {"x": step, **{key: wire for key, wire in given.items() if key != "x"}}
        for state, shape in states.items():
            flow.setdefault(state, Wire(whole_like(whole, shape), ("batch", *[None] * (len(shape) - 1), "dim"), None, state))
        items = [Input(None if key == "x" else key, key, wire) for key, wire in flow.items()]
        axes = {axis_name: size for wire in reversed(flow.values()) for axis_name, size in wire.axes.items()}
        inside = replace(scope, axes=axes)
        _, graph, outputs, rows = self._body_of(room, name, target, texts, items, None, inside, label, via_use="use" in raw)
        if graph is None:
            return {key: _broken(name) for key in ("out", *states)}
        if len(states) == 1 and len(outputs) == 1:
            outputs = {next(iter(states)): next(iter(outputs.values()))}
        self._check_states(states, flow, outputs)
        sequence = next((key for key in outputs if key not in states), next(iter(outputs)))
        module = Scan.of(graph, axis, states, sequence, tuple(outputs), reverse)
        wire = outputs[sequence]
        stacked = replace(wire, tensor=_meta_stack(wire, axis, whole.shape[axis]), names=_with(wire.names, axis, whole.names[axis]))
        found = {"out": stacked, **{state: outputs[state] for state in states}}
        room.rows.append(self._row(room, name, f"scan x{whole.shape[axis]}", path, inputs, found, rows))
        room.root.add_module(name, module)
        self.rooms[room.below(name)] = (module, tuple(found))
        named = {key: wire for key, wire in given.items() if key != "x" and key in graph.input_names}
        return self._emit(room, name, [whole], named, found)

    def _scan_words(
        self, raw: Any, path: Path, scope: Scope, wire: Wire
    ) -> tuple[int, dict[str, tuple[int, ...]], bool]:
        """Axis, shapes of the states without the batch, and whether the last step comes first."""
        fits = "scan: {axis: tokens, state: {hidden: 64}}"
        if not isinstance(raw, Mapping) or not set(raw) <= {"axis", "state", "reverse"} or not isinstance(raw.get("state"), Mapping):
            raise Trouble(Problem("`scan` states its axis and its state", got=f"scan: {raw}", fits=fits))
        axis = raw.get("axis", 1)
        if isinstance(axis, str):
            if axis not in wire.names:
                raise Trouble(Problem(f"x has no axis {axis!r} to scan", got=str(wire), fits=did_you_mean(axis, [n for n in wire.names if n])))
            axis = wire.names.index(axis)
        if not isinstance(axis, int) or not 0 < axis < len(wire.shape):
            raise Trouble(Problem("`scan` runs along an axis behind the batch", got=f"axis: {axis}, x {wire}", fits=fits))
        states = {}
        for state, size in raw["state"].items():
            text = Text(size, self.origin((*path, "state", state)), scope)
            try:
                value = coerce(int | tuple[int, ...], text, str(state))
            except ExpressionError as error:
                raise Trouble(Problem(error.problem, got=f"{state}: {size}", source=str(text.origin), fits=error.fits)) from None
            states[str(state)] = value if isinstance(value, tuple) else (value,)
        return axis, states, raw.get("reverse") is True

    def _check_states(self, states: Mapping[str, Any], flow: Mapping[str, Wire], outputs: Outputs) -> None:
        for state in states:
            if state not in outputs:
                raise Trouble(Problem(f"the body does not say the next {state!r}", got=f"outputs {', '.join(outputs)}",
                                      fits=f"outputs: {{{state}: NODE}} beside body"))  # fmt: skip
            if outputs[state].shape != flow[state].shape:
                raise Trouble(Problem(f"the state {state!r} changes its shape from step to step", got=f"{outputs[state]} after {flow[state]}",
                                      fits=f"a node that gives {flow[state]}"))  # fmt: skip

    # ---------------------------------------------------------------- one module

    def single(self, room: Room, name: str, filling: Filling, inputs: list[Input], previous: Wire | None) -> Outputs:
        """A block, a template, a body or a shared module at one place."""
        raw, scope = filling.raw, filling.scope
        if isinstance(raw.get("share"), str):
            return self._share(room, name, raw, filling.path, inputs, previous)
        target, texts, label = self.resolve(filling, scope)
        if "block" in target.raw:
            return self._atom(room, name, filling.path, target, texts, inputs, previous)
        return self._template(room, name, filling.path, target, texts, inputs, previous, scope, label, via_use="use" in raw)

    def resolve(self, filling: Filling, here: Scope) -> tuple[Filling, dict[str, Text], str]:
        """Follow `use` to a block or a body, merging the arguments on the way: the nearer to the node wins."""
        texts = self._texts(filling)
        label, seen = "", []
        while "use" in filling.raw:
            slot = filling.raw["use"]
            if slot in seen:
                raise Trouble(Problem(f"the slot {slot!r} uses itself", got=" -> ".join([*seen, str(slot)]), fix="let one of them be a block or a body"))
            seen.append(slot)
            hole = filling.scope.holes.get(slot) if isinstance(slot, str) else None
            if hole is not None:
                filling, chosen = hole, ""
            else:
                filling, chosen = self._option(slot, filling, here)
            label = f"{slot}: {chosen}" if chosen else label
            problem = check_node(filling.raw, option=True)
            if problem:
                raise Trouble(replace(problem, source=str(self.origin(filling.path))))
            texts = {**self._texts(filling), **texts}
            if hole is not None:
                seen.clear()
        return filling, texts, label

    def _texts(self, filling: Filling) -> dict[str, Text]:
        arguments = arguments_of(filling.raw)
        return {
            key: Text(value, self.origin((*filling.path, key)), filling.scope, (*filling.path, key)) for key, value in arguments.items()
        }

    def _option(self, slot: Any, filling: Filling, here: Scope) -> tuple[Filling, str]:
        raw = self.slots.get(slot) if isinstance(slot, str) and slot not in MODEL_WORDS else None
        if not isinstance(raw, Mapping):
            known = [key for key, value in self.slots.items() if isinstance(value, Mapping) and {"block", "use", "body"} & set(value)]
            known += filling.scope.holes
            fits = did_you_mean(str(slot), known) if known else None
            fix = f"add `{slot}: OPTION` to the model's defaults, or +model/{slot}=OPTION on the command line"
            near = (fits or "").startswith("did")
            raise Trouble(Problem(f"no slot {slot!r} is filled here", got=f"use: {show(slot)}", fits=fits, fix=None if near else fix))
        self.used_slots.add(slot)
        scope = Scope(axes=here.axes, params=self.params, counters=here.counters, facts=self.facts, read=self.read_params)
        return Filling(raw, ("model", slot), scope), self.choices.get(slot, "")

    def signature(self, name: Any, origin: Origin) -> Signature:
        """What the catalogue knows under a name; raises Trouble with the nearest names."""
        if not isinstance(name, str) or name not in self.catalog:
            raise Trouble(Problem(f"no block {name!r}", got=f"block: {name}", source=str(origin), fits=did_you_mean(str(name).rpartition(".")[2], self.catalog),
                                  fix="blocks of your own come with library=FOLDER on the command line"))  # fmt: skip
        return signature_of(name, self.catalog[name])

    def _atom(
        self, room: Room, name: str, path: Path, target: Filling, texts: dict[str, Text], inputs: list[Input], previous: Wire | None
    ) -> Outputs:
        signature = self.signature(target.raw["block"], self.origin((*target.path, "block")))
        if not signature.ports:
            inputs = [item for item in inputs if item.port is not None]
        atom: Atom = self.maker.make(signature, texts, inputs, previous)
        room.arguments[name] = atom.arguments
        wires = [*atom.positional, *atom.named.values()]
        vocab = next((wire.vocab for wire in wires if wire.vocab is not None), None)
        found = {
            key: Wire(tensor, names, None, name, vocab if not tensor.is_floating_point() else None)
            for key, (tensor, names) in atom.outputs.items()
        }
        row = self._row(room, name, signature.name, path, [Input(None, "", wire) for wire in wires], found, [])
        row.arguments = {key: value for key, value in atom.arguments.items() if not isinstance(value, Recipe)}
        room.rows.append(row)
        if atom.idle and len(found) == 1 and wires:
            return {"out": replace(wires[0], names=next(iter(found.values())).names)}
        self.recipes[id(atom.module)] = atom.recipe
        room.root.add_module(name, atom.module)
        self.rooms[room.below(name)] = (atom.module, tuple(found))
        return self._emit(room, name, list(atom.positional), dict(atom.named), found)

    def _template(
        self, room: Room, name: str, path: Path, target: Filling, texts: dict[str, Text], inputs: list[Input], previous: Wire | None,
        here: Scope, label: str, via_use: bool,
    ) -> Outputs:  # fmt: skip
        given, graph, outputs, rows = self._body_of(room, name, target, texts, inputs, previous, here, label, via_use)
        if graph is None:
            return outputs
        room.rows.append(self._row(room, name, label or "body", path, inputs, outputs, rows))
        return self.call(room, name, graph, given, outputs)

    def _body_of(
        self, room: Room, name: str, target: Filling, texts: dict[str, Text], inputs: list[Input], previous: Wire | None,
        here: Scope, label: str, via_use: bool,
    ) -> tuple[dict[str, Wire], Graph | None, Outputs, list[Row]]:  # fmt: skip
        """The module of a body or template: what flows in, the module (None where a node is broken), what it gives."""
        raw = target.raw
        if room.path.count(".") > DEEPEST:
            raise Trouble(Problem(f"nodes are nested more than {DEEPEST} deep", got=f"{label or 'a body'}, in itself",
                                  fix="a slot must not stand in its own body"))  # fmt: skip
        params, holes = dict(raw.get("params") or {}), raw.get("holes") or []
        holes = {hole: None for hole in holes} if isinstance(holes, list) else dict(holes)
        self._check_arguments(texts, params, holes, label or "this body")
        outer = replace(target.scope, axes=here.axes, counters=here.counters, arguments={}, trace=[])
        local: dict[str, Any] = {}
        for param, value in params.items():
            text = texts.get(param)
            if text is None and value == MISSING:
                raise Trouble(Problem(f"{label or 'this body'} needs {param}", fits=f"{param}: ..."))
            place = (*target.path, "params", param)
            default = Text(value, self.origin(place), replace(outer, lexical=_Without(local, outer.lexical, param)), place)
            local[param] = default if text is None else text.at(here.axes, {}, param)
        fillings = dict(outer.holes)
        for hole, default_filling in holes.items():
            text = texts.get(hole)
            if text is None and default_filling is None:
                raise Trouble(Problem(f"{label or 'the template'} has a hole {hole!r} to fill", fits=f"{hole}: {{use: SLOT}} or {{block: NAME}}"))
            filling = Filling(default_filling, (*target.path, "holes", hole), outer)
            filling = filling if text is None else Filling(text.raw, text.path, text.scope)
            if problem := check_node(filling.raw, option=True):
                raise Trouble(replace(problem, source=str(self.origin(filling.path))))
            fillings[hole] = filling
        scope = replace(outer, lexical={**outer.lexical, **local}, holes=fillings)
        inner = Room(room.below(name))
        given_wires = self._enter(inner, inputs, previous)
        inner.extras = tuple(key for key in inner.inputs if key != "x")
        body = self._forward_extras(raw["body"], inner.extras, scope) if via_use else raw["body"]
        outputs = self.body(inner, body, (*target.path, "body"), scope, raw.get("outputs"), (*target.path, "outputs"))
        if any(wire.broken for wire in outputs.values()):
            room.skipped = True
            return given_wires, None, {key: _broken(name) for key in outputs}, inner.rows
        graph = self.close(inner, outputs, explicit=tuple(item.name for item in inputs if item.port not in (None, "x")))
        room.arguments[name] = {param: _Lazy(text) for param, text in local.items()}
        return given_wires, graph, outputs, inner.rows

    def _check_arguments(self, texts: Mapping[str, Text], params: Mapping[str, Any], holes: Mapping[str, Any], label: str) -> None:
        known = [*params, *holes]
        unknown = [word for word in texts if word not in known]
        if unknown:
            raise Trouble(*(
                Problem(f"{label} has no argument {word!r}", got=f"{word}: {show(texts[word].raw)}", source=str(texts[word].origin),
                        fits=did_you_mean(word, known) if known else "it takes none")
                for word in unknown
            ))  # fmt: skip

    def _forward_extras(self, body: Any, extras: tuple[str, ...], scope: Scope) -> Any:
        """A template hands every input after the first on to those of its nodes that use a slot and take it by name."""
        if not extras or not isinstance(body, Mapping):
            return body
        result = {}
        for name, raw in body.items():
            if isinstance(raw, Mapping) and "use" in raw:
                flow = raw.get("in", {})
                flow = dict(flow) if isinstance(flow, Mapping) else {"x": flow} if isinstance(flow, str) else None
                more = {extra: extra for extra in extras if flow is not None and extra not in flow and self._takes(raw, extra, scope)}
                if more and flow is not None:
                    raw = {**raw, "in": {**flow, **more}}
            result[name] = raw
        return result

    def _takes(self, raw: Any, name: str, scope: Scope) -> bool:
        """Whether what stands at a node has an input of that name."""
        try:
            target, _, _ = self.resolve(Filling(raw, (), scope), scope)
        except (Trouble, RecursionError):
            return False
        if "block" in target.raw:
            known = target.raw["block"] in self.catalog
            return known and signature_of(target.raw["block"], self.catalog[target.raw["block"]]).port(name) is not None
        nodes = (target.raw.get("body") or {}).values()
        inner = self._inner_scope(raw, target, scope)
        return any(name in _mentions(node) or ("use" in node and self._takes(node, name, inner)) for node in nodes if isinstance(node, Mapping))

    def _inner_scope(self, raw: Mapping[str, Any], target: Filling, scope: Scope) -> Scope:
        holes = target.raw.get("holes") or {}
        given = {hole: raw.get(hole) or (holes[hole] if isinstance(holes, Mapping) else None) for hole in holes}
        return replace(target.scope, holes={hole: Filling(filled, (), scope) for hole, filled in given.items() if isinstance(filled, Mapping)})

    def _share(
        self, room: Room, name: str, raw: Mapping[str, Any], path: Path, inputs: list[Input], previous: Wire | None
    ) -> Outputs:
        """Use the module at another place again, weights and all."""
        reference = raw["share"]
        extra = list(arguments_of(raw))
        if extra:
            raise Trouble(Problem(f"a shared node takes no argument {extra[0]!r}", fix=f"give it where {reference!r} is defined"))
        near = room.below(reference)
        found = near if near in self.rooms else reference
        if found not in self.rooms:
            raise Trouble(Problem(f"no node {reference!r} to share, before this one", got=f"share: {reference}",
                                  fits=did_you_mean(reference, self.rooms)))  # fmt: skip
        module, outputs = self.rooms[found]
        target = reference if near in self.rooms and "." not in reference else name
        if target == name:
            room.root.add_module(name, module)
        room.rows.append(self._row(room, name, f"share: {reference}", path, inputs, {}, []))
        results = self._call_again(room, target, inputs, list(outputs), module, name, previous)
        room.rows[-1].outputs = {key: wire.shape for key, wire in results.items()}
        return results

    def _call_again(
        self, room: Room, target: str, inputs: list[Input], outputs: list[str], module: nn.Module | None = None,
        name: str | None = None, previous: Wire | None = None,
    ) -> Outputs:  # fmt: skip
        """Call a module that exists with other inputs: it runs on the meta device as it is."""
        module = module or room.root.get_submodule(target)
        positional = [item.wire for item in inputs if item.port is None]
        named = {item.port: item.wire for item in inputs if item.port is not None}
        if named and not positional and "x" not in named and previous is not None:
            positional = [previous]
        try:
            with torch.no_grad():
                result = module(*(wire.tensor for wire in positional), **{key: wire.tensor for key, wire in named.items()})
        except Exception as error:
            came = ", ".join(map(str, [*positional, *named.values()]))
            what = (str(error).splitlines() or [type(error).__name__])[0]
            raise Trouble(Problem("the shared module does not take this", got=came, source=what[:90], fits="what it takes where it stands first")) from error
        results = result if isinstance(result, tuple) else (result,)
        names = [wire.names for wire in positional] or [()]
        found = {
            key: Wire(tensor, names[0] if len(names[0]) == tensor.dim() else (None,) * tensor.dim(), None, name or target)
            for key, tensor in zip(outputs, results, strict=False)
        }
        return self._emit(room, target, positional, named, found, name)

    # ---------------------------------------------------------------- wires

    def _enter(self, inner: Room, inputs: list[Input], previous: Wire | None) -> dict[str, Wire]:
        """Give a body its inputs: the first is `x`, the others bear their own names."""
        given: dict[str, Wire] = {}
        positional = [item for item in inputs if item.port is None]
        named = [item for item in inputs if item.port is not None]
        if positional:
            given["x"] = positional[0].wire
            given.update({item.name: item.wire for item in positional[1:]})
        elif named and named[0].port != "x" and not any(item.port == "x" for item in named) and previous is not None:
            given["x"] = previous
        for item in sorted(named, key=lambda item: item.port != "x"):
            given[item.name] = item.wire
        for key, wire in given.items():
            inner.add_input(key, wire, optional=wire.tensor is None)
        inner.previous = next(iter(inner.inputs.values()), None)
        return given

    def call(self, room: Room, name: str, graph: Graph, given: Mapping[str, Wire], outputs: Outputs) -> Outputs:
        """Put a body's module into the room around it."""
        room.root.add_module(name, graph)
        self.rooms[room.below(name)] = (graph, tuple(outputs))
        names = graph.input_names
        positional = [given[names[0]]] if names else []
        return self._emit(room, name, positional, {key: given[key] for key in names[1:]}, outputs)

    def _emit(
        self, room: Room, target: str, positional: list[Wire], named: Mapping[str, Wire], outputs: Outputs, name: str | None = None
    ) -> Outputs:
        """Write the call into the generated code; wires for what comes out."""
        arguments = tuple(wire.node for wire in positional)
        keywords = {key: wire.node for key, wire in named.items()}
        call = room.graph.create_node("call_module", target, arguments, keywords, name=name or target)
        if len(outputs) == 1:
            return {key: replace(wire, node=call, made_by=name or target) for key, wire in outputs.items()}
        results = {}
        for index, (key, wire) in enumerate(outputs.items()):
            item = room.graph.create_node("call_function", operator.getitem, (call, index), name=f"{name or target}_{key}")
            results[key] = replace(wire, node=item, made_by=f"{name or target}.{key}")
        return results

    # ---------------------------------------------------------------- telling

    @contextmanager
    def place(self, path: Path, display: str) -> Iterator[None]:
        """Problems raised inside are told with this place; the walk goes on."""
        try:
            yield
        except Trouble as trouble:
            for problem in trouble.problems:
                self.tell(problem, path, display)

    def tell(self, problem: Problem, path: Path, display: str, where: str | None = None) -> None:
        place = where or (self.origin(path) if path else None)
        section = display.partition(".")[0] in ("inputs", "outputs", "tie", "expect")
        shown = display if section else f"graph.{display}" if display else "graph"
        shown = shown if len(shown) <= 70 else f"{shown[:30]} ... {shown[-30:]}"
        self.problems.append(replace(problem, where=problem.where or place, path=problem.path or shown))

    def _expect_node(self, raw: Any, path: Path, display: str, wire: Wire) -> None:
        shape = raw.get("shape") if isinstance(raw, Mapping) else None
        if shape is None:
            raise Trouble(Problem("`expect` of a node states its shape", got=f"expect: {show(raw)}", fits="expect: {shape: [batch, 65, 192]}"))
        came = show_shape(wire.shape)
        wanted = f"({', '.join(map(str, shape))})"
        if came != wanted:
            self.tell(Problem("the shape is not the one expected", got=came, fits=wanted), (*path, "expect"), display)

    def _row(
        self, room: Room, name: str, block: str, path: Path, inputs: list[Input], outputs: Outputs, children: list[Row], repeat: int = 0
    ) -> Row:
        shapes = tuple(item.wire.shape for item in inputs)
        found = {key: wire.shape for key, wire in outputs.items()}
        return Row(name, room.below(name), block, str(self.origin(path)), shapes, found, {}, children, repeat)


class _Lazy:
    """A template's argument for `node.argument`: read when asked for."""

    def __init__(self, text: Text):
        self.text = text

    def __call__(self) -> Any:
        return number(self.text)


class _Without(Mapping[str, Any]):
    """The names around a template's param that is being read: `dim: dim` means the outer one."""

    def __init__(self, near: Mapping[str, Any], far: Mapping[str, Any], name: str):
        self.near, self.far, self.name = near, far, name

    def __getitem__(self, key: str) -> Any:
        return self.near[key] if key in self.near and key != self.name else self.far[key]

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([*(key for key in self.near if key != self.name), *self.far]))

    def __len__(self) -> int:
        return len(list(iter(self)))


def _broken(name: str) -> Wire:
    return Wire(None, (), None, name, broken=True)


def _mentions(raw: Any) -> list[str]:
    """Every reference in a node's `in`."""
    flow = raw.get("in") if isinstance(raw, Mapping) else None
    if isinstance(flow, str):
        return [flow]
    if isinstance(flow, Mapping):
        return [str(item) for item in flow.values()]
    return [str(item) for item in flow] if isinstance(flow, list) else []


def _repeats_inside(body: Any) -> bool:
    nodes = body.values() if isinstance(body, Mapping) else ()
    return any(isinstance(node, Mapping) and ("repeat" in node or _repeats_inside(node.get("body"))) for node in nodes)


def _meta_select(wire: Wire, axis: int) -> torch.Tensor:
    assert wire.tensor is not None
    return wire.tensor.select(axis, 0)


def _meta_stack(wire: Wire, axis: int, steps: int) -> torch.Tensor:
    assert wire.tensor is not None
    return wire.tensor.unsqueeze(axis).expand(*wire.shape[:axis], steps, *wire.shape[axis:])


def whole_like(wire: Wire, shape: tuple[int, ...]) -> torch.Tensor:
    """A state on the meta device: the batch of the input, and a shape of its own."""
    return meta_tensor((wire.shape[0], *shape), torch.get_default_dtype())


def _without(names: tuple[str | None, ...], axis: int) -> tuple[str | None, ...]:
    return names[:axis] + names[axis + 1 :]


def _with(names: tuple[str | None, ...], axis: int, name: str | None) -> tuple[str | None, ...]:
    return names[:axis] + (name,) + names[axis:]


DTYPES = {"float": torch.float32, "float32": torch.float32, "int": torch.int64, "int64": torch.int64, "long": torch.int64, "bool": torch.bool}


def _wire_of_fact(name: str, fact: Any, dtype: Any) -> Wire:
    """An input from what the data says: {channels: 3, height: 224, width: 224}, or [3, 224, 224]."""
    entries = dict(fact) if isinstance(fact, Mapping) else {}
    kind = str(dtype or entries.pop("dtype", "float"))
    entries.pop("dtype", None)
    vocab = entries.pop("vocab", None)
    sizes = list(entries.values()) if isinstance(fact, Mapping) else list(fact) if isinstance(fact, list | tuple) else [fact]
    names = tuple(entries) if isinstance(fact, Mapping) else (None,) * len(sizes)
    fits = "{channels: 3, height: 224, width: 224}, or [3, 224, 224]; dtype: int for whole numbers"
    if kind not in DTYPES:
        raise Trouble(Problem(f"no dtype {kind!r}", got=f"dtype: {kind}", fits=did_you_mean(kind, DTYPES)))
    if not all(isinstance(size, int) and not isinstance(size, bool) and size > 0 for size in sizes):
        raise Trouble(Problem(f"the shape of {name} is not known", got=show(fact), fits=fits))
    return Wire(meta_tensor((BATCH, *sizes), DTYPES[kind]), ("batch", *names), None, f"input {name}", vocab)


def idle_words(assembler: Assembler, overridden: Iterable[Path]) -> list[Problem]:
    """What the command line says of the model and nothing reads: silence there would be a lie."""
    problems = []
    for path in overridden:
        if path[0] != "model" or len(path) < 3:
            continue
        unread = path[-2] == "params" and path not in assembler.read_params
        idle = path[1] not in MODEL_WORDS and path[1] not in assembler.used_slots
        if unread or idle:
            what = f"no node reads {path[-1]!r}" if unread else f"no node uses the slot {path[1]!r}"
            problems.append(Problem(f"this changes nothing: {what}", str(assembler.origin(path)), ".".join(map(str, path)),
                                    fix="leave it out, or let a node read it"))  # fmt: skip
    return problems


def finish(assembler: Assembler, model: Graph, config: Mapping[str, Any], overridden: Iterable[Path] = ()) -> Graph:
    """Tie, check the model's claims, and raise every problem found."""
    for name, value in (config.get("params") or {}).items():
        if value == MISSING and ("model", "params", name) not in assembler.read_params:
            problem = Problem(f"{name} is missing (???), and no node reads it", path=f"model.params.{name}", fix="leave it out, or let a node read it")
            assembler.tell(problem, ("model", "params", name), "")
    if not assembler.problems:
        tie(assembler, model, config.get("tie") or {})
    if not assembler.problems:
        _initialise(assembler, model, config.get("initialise") or {})
        assembler.problems += idle_words(assembler, overridden)
    if not assembler.problems:
        expect(assembler, model, config.get("expect") or {})
    if assembler.problems:
        raise ConfigError(assembler.problems)
    return model


def _initialise(assembler: Assembler, model: nn.Module, lines: Mapping[str, Any]) -> None:
    """Read how parameters start; `Plan.materialise` does it."""
    scope = Scope(params=assembler.params, facts=assembler.facts, read=assembler.read_params)
    reader = Reader(assembler.origin, scope, tuple(assembler.catalog), assembler.altered)
    assembler.starts = reader.read(model, lines)
    assembler.problems += reader.problems


def tie(assembler: Assembler, model: nn.Module, ties: Mapping[str, str]) -> None:
    """One parameter at two places: `tie: {head.weight: embedding.weight}`."""
    known = dict(model.named_parameters(remove_duplicate=False))
    for target, source in ties.items():
        lost = [name for name in (target, source) if name not in known]
        if lost:
            problem = Problem(f"no parameter {lost[0]!r} to tie", got=f"{target}: {source}", fits=did_you_mean(lost[0], known))
            assembler.tell(problem, ("model", "tie", target), "tie")
        elif known[target].shape != known[source].shape:
            got = f"{target} {tuple(known[target].shape)}, {source} {tuple(known[source].shape)}"
            assembler.tell(Problem("tied parameters differ in shape", got=got, fits="two parameters of one shape"), ("model", "tie", target), "tie")
        else:
            bind_parameters(model, target, source)


def bind_parameters(model: nn.Module, target: str, source: str) -> None:
    """Make `target` the very parameter at `source`."""
    owner, _, name = target.rpartition(".")
    model.get_submodule(owner)._parameters[name] = model.get_parameter(source)


def expect(assembler: Assembler, model: nn.Module, claims: Mapping[str, Any]) -> None:
    """The claims of a model file, about the file as it stands: its parameter count, for the data that `when` names."""
    for claim in claims:
        if claim not in ("parameters", "when"):
            problem = Problem(f"a model cannot expect {claim!r}", fits=did_you_mean(claim, ("parameters", "when")))
            assembler.tell(problem, ("model", "expect", claim), "expect")
    if assembler.altered or "parameters" not in claims or not _claimed(assembler, claims):
        return
    count = sum(parameter.numel() for parameter in model.parameters())
    if count != claims["parameters"]:
        problem = Problem("the model has not the parameters it claims", got=f"{count:,}", fits=f"{claims['parameters']:,}",
                          fix="correct the graph, or the claim")  # fmt: skip
        assembler.tell(problem, ("model", "expect", "parameters"), "expect")


def _claimed(assembler: Assembler, claims: Mapping[str, Any]) -> bool:
    scope = Scope(params=assembler.params, facts=assembler.facts)
    try:
        return bool(evaluate(str(claims.get("when", "True")), scope))
    except ExpressionError:
        return False  # other data than the claim is about


__all__ = ["Assembler", "bind_parameters", "finish", "materialise"]
