"""What a task needs of a model, compared with what the model takes and gives, before anything is
trained.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, fx

from blocks.graph import Built, ConfigError, Problem, locate
from blocks.graph.assemble.inputs import DTYPES
from blocks.graph.record.value import BATCH, Value, meta_tensor, show_shape
from blocks.graph.run.inspect import evaluation_mode
from tasks.config import instantiate

Facts = Mapping[str, Any]
ELSE = "or another model or task"
POOLS = (
    "GlobalAverage",
    "MeanTokens",
)  # of a grid with channels first, and of tokens with channels last


@dataclass(frozen=True)
class Needed:
    """An output that a task needs.

    Args:
        task: its name.
        output: the name of the output.
        axes: names of its axes after the batch.
        sizes: their sizes; None where nobody knows it.
    """

    task: str
    output: str
    axes: tuple[str, ...]
    sizes: tuple[int | None, ...]

    def __str__(self) -> str:
        return f"{self.task} needs the output {self.output} (batch, {', '.join(self.axes)})"

    def fits(self, tensor: Tensor) -> bool:
        """Whether a tensor has these axes; a vocabulary may be larger, as that of a table with
        spare rows.
        """
        if (
            tensor.dim() != 1 + len(self.axes)
            or len(tensor) != BATCH
            or not tensor.is_floating_point()
        ):
            return False
        return all(map(self.fits_axis, self.axes, self.sizes, tensor.shape[1:]))

    @staticmethod
    def fits_axis(axis: str, wanted: int | None, size: int) -> bool:
        return wanted is None or size == wanted or (axis == "vocab" and size > wanted)

    def shown(self) -> str:
        """The shape that fits, with numbers where they are known."""
        pairs = zip(self.axes, self.sizes, strict=True)
        sizes = [
            name if size is None else f"{size} or more" if name == "vocab" else str(size)
            for name, size in pairs
        ]
        return f"(batch, {', '.join(sizes)})"


def check_contract(composed: Any, planned: Built, facts: Facts) -> None:
    """Raise a ConfigError where a model does not take what the batches give, or not give what the
    task needs.

    Args:
        planned: the model on the meta device, before it is made.
        facts: what the data say of themselves.
    """
    kind = instantiate.find_class(composed, ("task",))
    check_facts_of(composed, kind, facts)
    problems = [*check_inputs(composed, planned, facts)]
    if not problems:
        given = find_outputs(composed, planned, facts)
        for output, axes in getattr(kind, "outputs", {}).items():
            needed = Needed(kind.__name__, output, axes, sizes_of(axes, facts))
            problems += check_output(composed, planned, given, needed)
    if problems:
        raise ConfigError(problems)


def check_facts_of(composed: Any, kind: Any, facts: Facts) -> None:
    """Raise a ConfigError where the data lack a fact that the task needs."""
    missing = [f"data.{name}" for name in getattr(kind, "needs", ()) if name not in facts]
    if missing:
        told, fits = (
            ", ".join(f"data.{name}" for name in facts),
            "task=... or data=... that go together",
        )
        text = f"{kind.__name__} needs {' and '.join(missing)}, which these data do not have"
        raise ConfigError([instantiate.problem(composed, ("task",), text, got=told, fits=fits)])


def check_inputs(composed: Any, planned: Built, facts: Facts) -> Iterator[Problem]:
    """Problems with inputs that no batch gives, and with tokens that an input has no number for."""
    shapes = shapes_of(facts)
    stated = planned.config.get("inputs") or {}
    for node in planned.model.graph.find_nodes(op="placeholder"):
        name, at = str(node.target), ("model", "inputs", str(node.target))
        wire = planned.inputs[name]
        if name not in shapes and not may_be_absent(node, wire, stated.get(name)):
            text = f"no batch of these data has the input {name} of the model"
            fits = ", ".join(shapes)
            fix = f"a name that fits, `optional: true` where it may be left out, {ELSE}"
            yield tell(composed, at, text, got=f"{name} {wire}", fits=fits, fix=fix)
        tokens = vocabulary_of(facts.get(name))
        if tokens and wire.vocab and tokens > wire.vocab:
            text = f"the vocabulary of the data is larger than that of the input {name}"
            got = f"{tokens} tokens of the data, {wire.vocab} of the model"
            fix = f"`vocab: data.vocab` in the model, data.vocab={wire.vocab}, {ELSE}"
            yield tell(composed, at, text, got=got, fits=f"{tokens} or more", fix=fix)


def may_be_absent(node: fx.Node, wire: Value, stated: Any) -> bool:
    """Whether the network runs without an input: an optional one, unless its shape is a fact of
    these data.
    """
    if not node.args:
        return False
    shape = stated.get("shape") if isinstance(stated, Mapping) else None
    return wire.tensor is None or not str(shape).startswith("data.")


def find_outputs(composed: Any, planned: Built, facts: Facts) -> dict[str, Tensor]:
    """What the model gives to a batch of these data, by name, on the meta device.

    A model that states sizes of its own, e.g. 1,024 tokens where the data have 128, runs once with
    those of the data.

    Raises:
        ConfigError: it cannot take what the data give.
    """
    wires = {name: planned.inputs[name].tensor for name in planned.model.input_names}
    shapes = {
        name: wires[name] if shape is None else shape
        for name, shape in shapes_of(facts).items()
        if name in wires
    }
    batch = {name: tensor for name, tensor in shapes.items() if tensor is not None}
    stated = {name: tensor for name, tensor in wires.items() if tensor is not None}
    found = {name: wire.tensor for name, wire in planned.outputs.items() if wire.tensor is not None}
    named = isinstance(planned.config.get("outputs"), Mapping)
    if describe(batch) != describe(stated):
        try:
            with evaluation_mode(planned.model):
                result = planned.model(**batch)
        except Exception as error:  # whatever a block says of shapes for which it was not built
            raise ConfigError([misfit(composed, batch, stated, error)]) from error
        results = result if isinstance(result, tuple) else (result,)
        found = dict(zip(planned.outputs, result.values() if named else results, strict=True))
    if not named and len(found) == 1:
        return {"logits": next(iter(found.values()))}
    return (
        found if named else {f"[{number}]": tensor for number, tensor in enumerate(found.values())}
    )


def misfit(
    composed: Any, batch: Mapping[str, Tensor], stated: Mapping[str, Tensor], error: Exception
) -> Problem:
    """A model that fails with the shapes of the data."""
    said, here = " ".join(str(error).split()), locate(error)
    got = "\n".join(filter(None, (describe(batch), said, here)))
    text, fix = (
        "the model cannot take what these data give",
        f"`inputs: {{NAME: data.NAME}}`, {ELSE}",
    )
    return tell(composed, ("model", "inputs"), text, got=got, fits=describe(stated), fix=fix)


def check_output(
    composed: Any, planned: Built, given: Mapping[str, Tensor], needed: Needed
) -> Iterator[Problem]:
    """A problem where an output is missing or has other axes than the task needs."""
    name = needed.output
    if name not in given:
        head = f"{{block: Linear, features: data.{needed.axes[-1]}}}"
        fix = f"`outputs: {{{name}: NODE}}`, NODE being e.g. {head}; {ELSE}"
        path = ("model", "outputs")
        yield tell(
            composed,
            path,
            str(needed),
            got=describe(given),
            fits=f"{name} {needed.shown()}",
            fix=fix,
        )
    elif not needed.fits(given[name]):
        wire = next(
            wire for each, wire in planned.outputs.items() if each == name or len(given) == 1
        )
        node = wire.made_by.partition(".")[0]
        block = next((f" ({each.label})" for each in planned.nodes if each.name == node), "")
        got = f"{describe({name: given[name]})} of {wire.made_by}{block}"
        fix = f"{mend(planned, node, given[name], needed)}, {ELSE}"
        yield tell(
            composed, ("model", "outputs", name), str(needed), got=got, fits=needed.shown(), fix=fix
        )


def mend(planned: Built, node: str, tensor: Tensor, needed: Needed) -> str:
    """What to change in a model whose output has the wrong axes."""
    last, count = f"data.{needed.axes[-1]}", needed.sizes[-1]
    if tensor.dim() > 2 and len(needed.axes) == 1:
        block = next(
            (
                block
                for block, axis in zip(POOLS, (1, -1), strict=True)
                if tensor.shape[axis] == count
            ),
            None,
        )
        if block is not None:
            name = next(
                name for name in ("pool", "mean", "pooled") if name not in planned.config["graph"]
            )
            outputs = planned.config.get("outputs")
            where = f".{needed.output}" if isinstance(outputs, Mapping) else ""
            tail = f" model.outputs{where}={name}" if outputs is not None else ""
            return f"'+model.graph.{name}={{block: {block}, after: {node}}}'{tail}"
    if tensor.dim() == 1 + len(needed.axes):
        return f"a head of {last} features"
    return f"a node that gives {needed.shown()}"


def shapes_of(facts: Facts) -> dict[str, Tensor | None]:
    """What the batches hold, by name, on the meta device; None where a size is known only when the
    data are read.
    """
    found: dict[str, Tensor | None] = {}
    for name, fact in facts.items():
        if isinstance(fact, Mapping | list | tuple):
            sizes = [size for axis, size in axes_of(fact) if axis not in ("dtype", "vocab")]
            dtype = DTYPES[str(dict(axes_of(fact)).get("dtype", "float"))]
            found[name] = None if None in sizes else meta_tensor((BATCH, *sizes), dtype)
    return found


def axes_of(fact: Any) -> list[tuple[Any, Any]]:
    """The entries of a fact, in order; of a list they have numbers for names."""
    return list(fact.items() if isinstance(fact, Mapping) else enumerate(fact))


def vocabulary_of(fact: Any) -> int | None:
    """How many tokens there are in what a fact describes."""
    return fact.get("vocab") if isinstance(fact, Mapping) else None


def sizes_of(axes: tuple[str, ...], facts: Facts) -> tuple[int | None, ...]:
    """Sizes of the axes of an output: counts that the data state, and the length of what is to be
    said.
    """
    said = next((name for name in ("target", "tokens") if name in facts), None)
    length = dict(axes_of(facts[said])).get("tokens") if said else None
    return tuple(length if axis == "tokens" else facts.get(axis) for axis in axes)


def describe(tensors: Mapping[str, Tensor]) -> str:
    """Tensors in one line: "tokens (batch, 128) int64, padding_mask (batch, 128) bool"."""
    kinds = {
        name: str(tensor.dtype).removeprefix("torch.") for name, tensor in sorted(tensors.items())
    }
    shown = {name: "" if kind == "float32" else f" {kind}" for name, kind in kinds.items()}
    return ", ".join(
        f"{name} {show_shape(tuple(tensors[name].shape))}{kind}" for name, kind in shown.items()
    )


def tell(composed: Any, path: tuple[str, ...], text: str, **parts: Any) -> Problem:
    """A Problem of the model, with the words of the command line that chose it, its data and its
    task.
    """
    overrides = getattr(composed, "overrides", ())
    chosen = [
        text for text in overrides if re.match(r"[+~]*(model|data|task|experiment)[./=]", text)
    ]
    source = f"the command line: {' '.join(chosen)}" if chosen else None
    return instantiate.problem(composed, path, text, source=source, **parts)
