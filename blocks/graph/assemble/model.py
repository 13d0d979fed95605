"""The assembler: walks a model's YAML once, with shapes, and puts generated modules together.

It knows no block by name: what a block takes and gives is read from its signature, and `forward` on
the meta device is the one definition of every shape.
"""

import operator
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import fx, nn

from blocks.graph.assemble.block import Maker, Recipe, Trouble
from blocks.graph.assemble.body_builder import Input, Room, Row, Wire, show_shape
from blocks.graph.assemble.context import (
    Filling,
    Outputs,
    Path,
    Site,
    Without,
    axes_of,
    broken,
    mentions,
)
from blocks.graph.assemble.inputs import add_model_input
from blocks.graph.assemble.limits import MODULES
from blocks.graph.assemble.repeat import count_innermost, repeat
from blocks.graph.assemble.scan import scan
from blocks.graph.assemble.template import build_body, resolve
from blocks.graph.errors import Origin, Problem, did_you_mean, show
from blocks.graph.language.expression import ExpressionError, evaluate, whole
from blocks.graph.language.scope import Scope, Text
from blocks.graph.language.signature import Signature, signature_of
from blocks.graph.language.token_grid import trace_grid
from blocks.graph.language.words import (
    PLACES,
    check_name,
    check_node,
    check_params,
    check_word,
    check_words,
    is_outputs,
    order,
)
from blocks.graph.record.initialise import Section, Start
from blocks.graph.record.module import Graph


def _names_of(outputs: Any, room: Room) -> dict[str, str]:
    """What `outputs` names; raises Trouble where it names nothing, or two by one name."""
    fits = "outputs: NODE, outputs: [a, b] or outputs: {name: NODE}"
    if outputs is None:
        raise Trouble(
            Problem(
                "no node of this body gives anything", fix="leave the body out, too, or add a node"
            )
        )
    if isinstance(outputs, Mapping) and (
        nulls := [name for name, node in outputs.items() if node is None]
    ):
        known, got = (
            [name for name in outputs if name not in nulls],
            f"outputs: {{{nulls[0]}: null}}",
        )
        wrong = f"no file that this one starts from has an output {show(nulls[0])!r} to remove"
        raise Trouble(
            Problem(
                wrong,
                got=got,
                fits=did_you_mean(nulls[0], known),
                fix="name a node, or leave it out",
            )
        )
    if not is_outputs(outputs):
        raise Trouble(
            Problem("`outputs` names what is given", got=f"outputs: {show(outputs)}", fits=fits)
        )
    if isinstance(outputs, str):
        return {"out": outputs}
    if isinstance(outputs, Mapping):
        if problem := check_words(outputs, "an output"):
            raise Trouble(problem)
        return dict(outputs)
    names = [reference.partition(".")[0] for reference in outputs]
    if len(set(names)) < len(names):
        fix = "name each: outputs: {name: NODE}"
        raise Trouble(
            Problem("two outputs have one name", got=f"outputs: {show(outputs)}", fix=fix)
        )
    return dict(zip(names, outputs, strict=True))


class Assembler:
    """One model under construction.

    Args:
        catalog: block name -> `nn.Module` class or `Layer`.
        origin: path in the config -> where that was written.
        facts: what the data says of itself.
        choices: slot -> name of the chosen option, for display.
        altered: the model was changed on the command line, so that the claims of its file no longer
            bind.
        most: how often anything is repeated, at most.
        stated: names of facts that some data state; a name that is absent here and near one of them
            is a mistake.
    """

    def __init__(
        self,
        catalog: Mapping[str, Any],
        origin: Callable[[Path], Origin],
        facts: Mapping[str, Any],
        choices: Mapping[str, str] | None = None,
        altered: bool = False,
        most: int = MODULES,
        stated: Collection[str] = (),
    ):
        self.catalog, self.origin, self.facts, self.choices = catalog, origin, facts, choices or {}
        self.altered, self.most, self.stated = altered, most, stated
        self.whole, self.idle = (
            False,
            set[int](),
        )  # whether calls that do nothing are kept, and which modules those are
        self.maker = Maker(self.signature)
        self.problems: list[Problem] = []
        self.recipes: dict[int, Recipe] = {}
        self.starts: list[Start] = []
        self.sections: list[Section] = []  # what templates say of how their parameters start
        self.modules: dict[str, tuple[nn.Module, Outputs]] = {}  # every module by path, for `share`
        self.slots: Mapping[str, Any] = {}
        self.params: dict[str, Text] = {}
        self.read_params: set[Path] = set()
        self.used_slots: set[str] = set()
        self.outermost = Scope(
            params=self.params, facts=facts, read=self.read_params
        )  # what every text may refer to
        self.passed = 0  # innermost repeats passed inside the present top-level node
        self.total: Callable[[], int] = lambda: 0
        self.rows: list[Row] = []
        self.inputs: Outputs = {}
        self.outputs: Outputs = {}

    # ---------------------------------------------------------------- bodies

    def model(self, config: Mapping[str, Any], path: Path = ("model",)) -> Graph:
        """The whole model on the meta device; `rows` describe it. Problems are collected in
        `self.problems`.
        """
        self.slots = config
        for name, raw in (config.get("params") or {}).items():
            place = (*path, "params", name)
            if problem := check_params([name], "a param"):
                self.tell(replace(problem, path=f"model.params.{name}"), place, "")
            around = replace(self.outermost, params=Without(self.params, {}, name), trace=[])
            self.params[name] = Text(raw, self.origin(place), around, place)
        scope = replace(self.outermost, lexical=self.params)
        room = Room("")
        for name, raw in (config.get("inputs") or {}).items():
            with self.place((*path, "inputs", name), f"inputs.{name}"):
                if problem := check_word(name):
                    room.add_input(f"input_{len(room.inputs)}", broken(str(name)))
                    room.results[str(name)] = {"out": broken(str(name))}
                    raise Trouble(problem)
                add_model_input(
                    room, name, Text(raw, self.origin((*path, "inputs", name)), scope), self.stated
                )
        room.previous = next(iter(room.inputs.values()), None)
        outputs = self.body(
            room,
            config["graph"],
            (*path, "graph"),
            scope,
            config.get("outputs"),
            (*path, "outputs"),
        )
        self.inputs, self.outputs, self.rows = room.inputs, outputs, room.rows
        return self.close(
            room, outputs, tuple(room.inputs), named=isinstance(config.get("outputs"), Mapping)
        )

    def body(
        self, room: Room, nodes: Any, path: Path, scope: Scope, outputs: Any, outputs_path: Path
    ) -> Outputs:
        """Build every node of a body in order; what the body gives."""
        if not isinstance(nodes, Mapping) or not nodes:
            problem = Problem(
                "a body is a mapping of named nodes", got=show(nodes), fits="name: {block: Name}"
            )
            self.tell(problem, path, room.path)
            return {"out": broken("")}
        scope = replace(scope, nodes=room.view, node_names=lambda: tuple(room.results))
        names, lost = order(nodes)
        for name, anchor in lost:
            self._tell_lost(room, name, anchor, names, (*path, name, "after"))
        later = [ref for name in names for ref in mentions(nodes[name])] + mentions({"in": outputs})
        for name in names:
            self._node_of_body(room, name, nodes[name], (*path, name), scope, later)
        return self._outputs(room, outputs, outputs_path)

    def _tell_lost(self, room: Room, name: str, anchor: str, names: list[str], path: Path) -> None:
        known = [other for other in names if other != name]
        problem = Problem(
            f"'after' names no node {anchor!r}",
            got=f"after: {anchor}",
            fits=did_you_mean(anchor, known),
        )
        if anchor == name:
            fits = did_you_mean("", known)
            problem = Problem(
                f"{name!r} cannot stand after itself", got=f"after: {anchor}", fits=fits
            )
        if anchor in known:
            fix = "leave `after` out at one of them"
            problem = Problem(
                f"{name!r} and {anchor!r} wait for each other", got=f"after: {anchor}", fix=fix
            )
        self.tell(problem, path, room.below(name))

    def _node_of_body(
        self, room: Room, name: Any, raw: Any, path: Path, scope: Scope, later: list[str]
    ) -> None:
        if room.path == "":
            self.passed, self.total = 0, lambda: count_innermost(self, raw, path, scope)
        with self.place(path, room.below(str(name))):
            problem = check_name(name, tuple(room.inputs)) or check_node(raw)
            if problem:
                raise Trouble(problem)
            room.origins[name] = str(self.origin(path))
            asked = [reference.partition(".") for reference in later]
            wanted = tuple(port for node, _, port in asked if node == name)
            room.results[name] = self.node(room, name, Filling(raw, path, scope), wanted)
        if str(name) not in room.results:
            room.spoilt = True
            room.results[str(name)] = {"out": broken(str(name))}
        if name not in room.gone:
            room.previous = next(iter(room.results[str(name)].values()))

    def _outputs(self, room: Room, outputs: Any, path: Path) -> Outputs:
        if outputs is None and room.previous is not None:
            return {"out": room.previous}
        with self.place(path, f"{room.path}.outputs".lstrip(".")):
            return self._named_outputs(
                room, _names_of(outputs, room), path, isinstance(outputs, Mapping)
            )
        return {"out": broken("")}

    def _named_outputs(
        self, room: Room, named: Mapping[str, str], path: Path, apart: bool
    ) -> Outputs:
        found = {}
        for name, reference in named.items():
            found[name] = broken(str(reference))
            place = (*path, name) if apart else path
            with self.place(place, f"{room.path}.outputs".lstrip(".")):
                found[name] = self.read(room, reference)
                if found[name].tensor is None and not found[name].broken:
                    found[name] = broken(name)
                    problem = (
                        f"the output {name!r} is an optional input, which the data does not have"
                    )
                    raise Trouble(Problem(problem, got=f"outputs: {reference}", fits="a node"))
        return found

    def close(
        self,
        room: Room,
        outputs: Outputs,
        explicit: tuple[str, ...],
        named: bool = False,
        kept: str = "",
    ) -> Graph:
        """Turn a finished room into a module. Inputs that nobody reads and nodes that feed
        nothing are told, but for the input `kept`.

        A model whose YAML names its outputs gives a dictionary; inside, several outputs are a
        tuple.
        """
        whole = not room.spoilt and not any(wire.broken for wire in outputs.values())
        results = {name: wire.node for name, wire in outputs.items()}
        several = tuple(results.values())
        value: Any = results if named else several[0] if len(several) == 1 else several
        output = room.graph.output(None if None in several else value)
        for node in reversed(list(room.graph.nodes)):
            if node.op == "call_function" and not node.users:
                room.graph.erase_node(node)
        for node in list(room.graph.nodes):
            if (
                not node.users
                and node is not output
                and not (node.op == "placeholder" and node.target == kept)
            ):
                if whole:
                    self._tell_unread(room, node, explicit)
                if node.op == "placeholder":
                    room.graph.erase_node(node)
        graph = Graph(room.root, room.graph, "Graph")
        graph.meta.update({"origins": room.origins, "outputs": tuple(results), "grids": room.grids})
        return graph

    def _tell_unread(self, room: Room, node: fx.Node, explicit: tuple[str, ...]) -> None:
        name = str(node.target)
        if node.op != "placeholder":
            fix = "name it in the `in:` of another node or in `outputs`, or delete it"
            if room.left_out:
                fix += (
                    f"\n`when` leaves out {', '.join(room.left_out)}: its name then stands "
                    "for its first input"
                )
            self.tell(
                Problem("this node feeds nothing", fix=fix),
                (),
                room.below(name),
                room.origins.get(name),
            )
        elif name in explicit and not room.left_out:
            problem = Problem(
                f"nothing reads the input {name!r}",
                fix="name it in some node's `in:`, or leave it out",
            )
            self.tell(
                problem,
                () if room.path else ("model", "inputs", name),
                room.path or f"inputs.{name}",
            )

    # ---------------------------------------------------------------- nodes

    def node(self, room: Room, name: str, filling: Filling, wanted: tuple[str, ...]) -> Outputs:
        """One node with its place: inputs, condition, repetition; what it gives."""
        raw, path = filling.raw, filling.path
        inputs, previous = self._inputs_of(room, raw, path)
        wires = [item.wire for item in inputs] or ([previous] if previous is not None else [])
        if isinstance(raw.get("in"), Mapping) and "x" not in raw["in"] and previous is not None:
            wires = [previous, *wires]
        scope = replace(filling.scope, axes=axes_of(wires), arguments={}, trace=[])
        site = Site(room, name, Filling(raw, path, scope), inputs, previous, wanted)
        if any(wire.broken for wire in wires):
            room.spoilt = True
            return site.broken()
        if "when" in raw and not self._condition(raw["when"], (*path, "when"), scope):
            room.left_out.append(name)
            room.origins.pop(name, None)
            if not wires:
                room.gone.add(name)
            return {"out": wires[0] if wires else broken(name)}
        outputs = repeat(self, site) if "repeat" in raw else self.once(site)
        if "expect" in raw:
            self._expect(site, next(iter(outputs.values())))
        return outputs

    def _inputs_of(
        self, room: Room, raw: Mapping[str, Any], path: Path
    ) -> tuple[list[Input], Wire | None]:
        """What `in` says, and the previous sibling's output for a first port that a mapping leaves
        out.
        """
        flow, where, previous = raw.get("in"), (*path, "in"), room.previous
        if "in" not in raw:
            return ([Input(None, "x", previous)] if previous is not None else []), previous
        if isinstance(flow, str):
            return [Input(None, "x", self.read(room, flow, where))], previous
        if isinstance(flow, list):
            wires = [
                self.read(room, reference, (*where, index)) for index, reference in enumerate(flow)
            ]
            names = [str(reference).rpartition(".")[2] for reference in flow]
            return [Input(None, name, wire) for name, wire in zip(names, wires, strict=True)], None
        if isinstance(flow, Mapping):
            if problem := check_words(flow, "an input"):
                raise Trouble(problem)
            named = {
                str(port): self.read(room, reference, (*where, port))
                for port, reference in flow.items()
            }
            return [Input(port, port, wire) for port, wire in named.items()], previous
        fits = "in: node, in: [a, b], in: {port: node}, or in: []"
        raise Trouble(Problem("`in` names what flows in", got=f"in: {show(flow)}", fits=fits))

    def read(self, room: Room, reference: Any, path: Path | None = None) -> Wire:
        """The wire of `node` or `node.port`; raises Trouble with what there is to name."""
        wire = room.read(str(reference)) if isinstance(reference, str | int) else None
        if wire is not None and wire.made_by in room.gone:
            problem = (
                f"`when` leaves out {wire.made_by!r}, which has no input that its name "
                "could stand for"
            )
            raise Trouble(
                Problem(problem, got=f"in: {reference}", fix="leave this out by the same `when`")
            )
        if wire is not None:
            return wire
        name, _, port = str(reference).partition(".")
        fits, fix = did_you_mean(str(reference), room.references()), None
        if port and name in room.results:
            problem, fits = f"{name!r} has no output {port!r}", ", ".join(room.results[name])
        else:
            problem = f"no node or input {show(reference)!r} here" + ", before this one" * bool(
                path
            )
            if room.path:
                fix = (
                    "a body sees only its own inputs and nodes; hand outer values in through `in:`"
                )
        got, source = (
            f"{'in' if path else 'outputs'}: {show(reference)}",
            str(self.origin(path)) if path else None,
        )
        raise Trouble(Problem(problem, got=got, source=source, fits=fits, fix=fix))

    def _condition(self, raw: Any, path: Path, scope: Scope) -> bool:
        try:
            value = evaluate(raw, scope) if isinstance(raw, str) else raw
        except ExpressionError as error:
            text, got = Text(raw, self.origin(path), scope), f"when: {raw}"
            problem = f"when: {error.problem}"
            raise Trouble(
                Problem(problem, got=got, source=text.sources(), fits=error.fits, fix=error.fix)
            ) from None
        if not isinstance(value, bool):
            came = f"when: {show(raw)}" + f", which is {show(value)}" * isinstance(raw, str)
            raise Trouble(
                Problem("`when` is true or false", got=came, fits="a comparison: layer.index > 0")
            )
        return value

    def _expect(self, site: Site, wire: Wire) -> None:
        raw = site.raw["expect"]
        shape = raw.get("shape") if isinstance(raw, Mapping) else None
        if not isinstance(shape, list | tuple) or set(raw) != {"shape"}:
            fits = "expect: {shape: [batch, 65, 192]}"
            raise Trouble(
                Problem(
                    "`expect` of a node states its shape", got=f"expect: {show(raw)}", fits=fits
                )
            )
        came, wanted = show_shape(wire.shape), f"({', '.join(show(whole(size)) for size in shape)})"
        if came != wanted:
            problem = Problem("the shape is not the one expected", got=came, fits=wanted)
            self.tell(problem, (*site.path, "expect"), site.display)

    # ---------------------------------------------------------------- modules

    def once(self, site: Site) -> Outputs:
        """A node at one place: a scan, a block, a template, a body or a shared module."""
        if "scan" in site.raw:
            return scan(self, site)
        if isinstance(site.raw.get("share"), str):
            return self._share(site)
        target, texts, label = resolve(self, site.filling, site.scope)
        if "block" in target.raw:
            return self._atom(site, target, texts)
        given, graph, outputs, rows = build_body(self, site, target, texts, label)
        if graph is None:
            return outputs
        row = self.row(site, label or "body", outputs, rows)
        row.texts = {name: found.text for name, found in site.room.arguments[site.name].items()}
        site.room.rows.append(row)
        return self.call(site, graph, given, outputs)

    def signature(self, name: Any, origin: Origin) -> Signature:
        """What the catalogue knows under a name; raises Trouble with the nearest names."""
        if isinstance(name, str) and name in self.catalog:
            return signature_of(name, self.catalog[name])
        fits = did_you_mean(str(name).rpartition(".")[2], self.catalog)
        fix = "python -m blocks catalog lists all; blocks of your own come with library=[FOLDER]"
        raise Trouble(
            Problem(
                f"no block {name!r}", got=f"block: {name}", source=str(origin), fits=fits, fix=fix
            )
        )

    def _atom(self, site: Site, target: Filling, texts: dict[str, Text]) -> Outputs:
        room, name = site.room, site.name
        signature = self.signature(target.raw["block"], self.origin((*target.path, "block")))
        inputs = (
            site.inputs
            if signature.ports
            else [item for item in site.inputs if item.port is not None]
        )
        atom = self.maker.make(signature, texts, inputs, site.previous)
        room.arguments[name] = atom.arguments
        wires = [*atom.positional, *atom.named.values()]
        vocab = next((wire.vocab for wire in wires if wire.vocab is not None), None)
        first = next(iter(wires), None)
        found = {}
        for key, (tensor, names) in atom.outputs.items():
            kept = None if tensor.is_floating_point() else vocab
            grid = trace_grid(atom.module, first, tensor)
            found[key] = Wire(tensor, names, None, name, kept, grid=grid)
        row = self.row(site, signature.name, found, [])
        row.inputs, row.texts = tuple(wire.shape for wire in wires), texts
        row.flow = {str(index): wire for index, wire in enumerate(wires)}
        row.arguments = {
            key: value for key, value in atom.arguments.items() if not isinstance(value, Recipe)
        }
        room.rows.append(row)
        if atom.idle and len(found) == 1 and wires:
            if not self.whole:
                return {"out": replace(wires[0], names=next(iter(found.values())).names)}
            self.idle.add(id(atom.module))
        self.recipes[id(atom.module)] = atom.recipe
        self.add(site, atom.module, found)
        if first is not None and first.cells and hasattr(atom.module, "position_tables"):
            room.grids[name] = first.cells
        return self.emit(site, name, list(atom.positional), atom.named, found)

    def _share(self, site: Site) -> Outputs:
        """Use the module at another place again, weights and all."""
        reference = site.raw["share"]
        extra = [word for word in site.raw if word != "share" and word not in PLACES]
        if extra:
            fix = f"give it where {reference!r} is defined"
            raise Trouble(Problem(f"a shared node takes no argument {extra[0]!r}", fix=fix))
        found = self.locate(site.room, reference)
        near = site.room.below(reference)
        if found not in self.modules:
            problem, fits = (
                f"no node {reference!r} to share, before this one",
                did_you_mean(reference, self.modules),
            )
            raise Trouble(Problem(problem, got=f"share: {reference}", fits=fits))
        module, outputs = self.modules[found]
        sibling = found == near and "." not in reference
        if not sibling:
            site.room.root.add_module(site.name, module)
        results = self.call_again(site, reference if sibling else site.name, outputs, module)
        site.room.rows.append(self.row(site, f"share: {reference}", results, []))
        return results

    def locate(self, room: Room, reference: str) -> str:
        """The path of the module that `share: reference` means in a room."""
        near = room.below(reference)
        return near if near in self.modules else reference

    def call_again(
        self, site: Site, target: str, outputs: Outputs, module: nn.Module | None = None
    ) -> Outputs:
        """Call a module that exists with other inputs: it runs on the meta device as it is."""
        module = module or site.room.root.get_submodule(target)
        positional = [item.wire for item in site.inputs if item.port is None]
        named = {item.port: item.wire for item in site.inputs if item.port is not None}
        if named and not positional and "x" not in named and site.previous is not None:
            positional = [site.previous]
        if any(wire.broken for wire in (*positional, *named.values())):
            return site.broken()
        tensors, keywords = (
            [wire.tensor for wire in positional],
            {key: wire.tensor for key, wire in named.items()},
        )
        try:
            with torch.no_grad():
                result = module(*tensors, **keywords)
        except (
            Exception
        ) as error:  # whatever the module raises is the user's to see, with the place
            came = ", ".join(map(str, [*positional, *named.values()]))
            what, fits = (
                (str(error).splitlines() or [type(error).__name__])[0],
                "what it takes where it stands first",
            )
            problem = Problem(
                "the shared module does not take this", got=came, source=what[:90], fits=fits
            )
            raise Trouble(problem) from error
        results = result if isinstance(result, tuple) else (result,)
        found = {
            key: Wire(
                tensor,
                before.names if len(before.names) == tensor.dim() else (None,) * tensor.dim(),
                None,
                site.name,
                grid=before.grid,
            )
            for (key, before), tensor in zip(outputs.items(), results, strict=False)
        }
        return self.emit(site, target, positional, named, found)

    def add(self, site: Site, module: nn.Module, outputs: Outputs) -> None:
        """Give a module its name in the room."""
        site.room.root.add_module(site.name, module)
        self.modules[site.display] = (module, outputs)

    def call(
        self, site: Site, graph: Graph, given: Mapping[str, Wire], outputs: Outputs
    ) -> Outputs:
        """Put a body's module into the room around it."""
        self.add(site, graph, outputs)
        names = graph.input_names
        first = [given[names[0]]] if names else []
        return self.emit(site, site.name, first, {key: given[key] for key in names[1:]}, outputs)

    def emit(
        self,
        site: Site,
        target: str,
        positional: list[Wire],
        named: Mapping[Any, Wire],
        outputs: Outputs,
    ) -> Outputs:
        """Write the call into the generated code; wires for what comes out."""
        graph, name = site.room.graph, site.name
        arguments, keywords = (
            tuple(wire.node for wire in positional),
            {key: wire.node for key, wire in named.items()},
        )
        call = graph.create_node("call_module", target, arguments, keywords, name=name)  # type: ignore[arg-type]
        call.meta["node"] = (
            name  # fx may spell it otherwise, and a shared module stands at several nodes
        )
        if len(outputs) == 1:
            return {key: replace(wire, node=call, made_by=name) for key, wire in outputs.items()}
        results = {}
        for index, (key, wire) in enumerate(outputs.items()):
            item = graph.create_node(
                "call_function", operator.getitem, (call, index), name=f"{name}_{key}"
            )
            results[key] = replace(wire, node=item, made_by=f"{name}.{key}")
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
        """Keep a problem, with its place."""
        place = where or (self.origin(path) if path else None)
        section = display.partition(".")[0] in ("inputs", "outputs", "tie", "expect")
        shown = display if section else f"graph.{display}" if display else "graph"
        shown = shown if len(shown) <= 70 else f"{shown[:30]} ... {shown[-30:]}"
        self.problems.append(
            replace(problem, where=problem.where or place, path=problem.path or shown)
        )

    def row(
        self, site: Site, block: str, outputs: Outputs, children: list[Row], repeat: int = 0
    ) -> Row:
        """What `explain` says of a node."""
        shapes = tuple(item.wire.shape for item in site.inputs)
        found = {key: wire.shape for key, wire in outputs.items()}
        flow = {
            item.name if item.port or index else "x": item.wire
            for index, item in enumerate(site.inputs)
        }
        if "x" not in flow and site.previous is not None:
            flow["x"] = site.previous
        place = str(self.origin(site.path))
        return Row(
            site.name,
            site.display,
            block,
            place,
            shapes,
            found,
            {},
            children,
            repeat,
            flow,
            outputs,
        )
