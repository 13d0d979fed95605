"""The contract between data, model and task, checked before anything is trained: the batches hold
the model's inputs, and the model returns the outputs that the task needs.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, fx

from blocks.graph import Built, Composed, ConfigError, Problem, locate
from blocks.graph.assemble.inputs import DTYPES
from blocks.graph.record.value import BATCH, Value, meta_tensor, show_shape
from blocks.graph.run.inspect import evaluation_mode
from tasks.config import instantiate

Facts = Mapping[str, Any]
ELSE = "or another model or task"
POOLS = {"GlobalAverage": 1, "MeanTokens": -1}  # block -> axis of the channels
GRID = ("height", "width")  # axes that a task interpolates
MORE = {"vocab": " or more", **dict.fromkeys(GRID, " or less")}  # sizes that fit, too
CHOSEN = re.compile(r"[+~]*(model|data|task|experiment)[./=]")


@dataclass(frozen=True)
class Needed:
    """An output that a task needs.

    Args:
        task: the name of the task.
        output: the name of the output.
        axes: the names of its axes after the batch.
        sizes: the sizes of these axes; None where a size is unknown.
    """

    task: str
    output: str
    axes: tuple[str, ...]
    sizes: tuple[int | None, ...]

    def __str__(self) -> str:
        return f"{self.task} needs the output {self.output} (batch, {', '.join(self.axes)})"

    def is_grid(self) -> bool:
        """Return whether the output is an image of its first axis."""
        return self.axes[1:] == GRID

    def fits(self, tensor: Tensor) -> bool:
        """Return whether a tensor has these axes. A vocabulary may be larger, e.g. that of a table
        with spare rows; an image may be coarser.
        """
        if tensor.dim() != 1 + len(self.axes) or len(tensor) != BATCH:
            return False
        sizes_fit = map(fits_axis, self.axes, self.sizes, tensor.shape[1:])
        return tensor.is_floating_point() and all(sizes_fit)

    def format_shape(self) -> str:
        """Format the shape that fits, with the sizes that are known."""
        shown = ["batch"]
        for name, size in zip(self.axes, self.sizes, strict=True):
            shown.append(name if size is None else f"{size}{MORE.get(name, '')}")
        return f"({', '.join(shown)})"


def fits_axis(name: str, wanted: int | None, size: int) -> bool:
    """Return whether an axis has the size that is wanted; None fits any size."""
    if wanted is None or size == wanted:
        return True
    if name in GRID:
        return size < wanted
    return name == "vocab" and size > wanted


def check_contract(composed: Composed, planned: Built, facts: Facts) -> None:
    """Check that the batches hold the model's inputs, and that the model returns what the task
    needs.

    Args:
        planned: the model on the meta device, before it is materialised.
        facts: the facts of the data, by name.

    Raises:
        ConfigError: an input or an output is missing or has the wrong shape.
    """
    kind = instantiate.find_class(composed, ("task",))
    check_task_facts(composed, kind, facts)
    problems = list(check_inputs(composed, planned, facts))
    if not problems:
        given = find_outputs(composed, planned, facts)
        for output, axes in getattr(kind, "outputs", {}).items():
            needed = Needed(kind.__name__, output, axes, find_sizes(axes, facts))
            problems += check_output(composed, planned, given, needed)
    if problems:
        raise ConfigError(problems)


def check_task_facts(composed: Composed, kind: Any, facts: Facts) -> None:
    """Raise ConfigError if the data lack a fact that the task needs."""
    missing = [f"data.{name}" for name in getattr(kind, "needs", ()) if name not in facts]
    if missing:
        problem = instantiate.problem(
            composed,
            ("task",),
            f"{kind.__name__} needs {' and '.join(missing)}, which these data do not have",
            got=", ".join(f"data.{name}" for name in facts),
            fits="task=... or data=... that go together",
            fix=suggest_task(facts),
            code="data-mismatch",
        )
        raise ConfigError(problem)


def suggest_task(facts: Facts) -> str | None:
    """Return the task for the target of a table, by the kind that the data found it to have."""
    if "targets" in facts:
        return "task=regress, or data.kind=classes where its numbers are classes"
    if "classes" in facts and "numbers" in facts:
        return "task=classify, or data.kind=numbers where its texts are numbers"
    return None


# Inputs -------------------------------------------------------------------------------------------


def check_inputs(composed: Composed, planned: Built, facts: Facts) -> Iterator[Problem]:
    """Yield problems with inputs that are in no batch, and with vocabularies that are too small."""
    shapes = find_shapes(facts)
    stated = planned.config.get("inputs") or {}
    for node in planned.model.graph.find_nodes(op="placeholder"):
        name = str(node.target)
        value = planned.inputs[name]
        path = ("model", "inputs", name)
        if name not in shapes and not is_optional(node, value, stated.get(name)):
            yield model_problem(
                composed,
                path,
                f"no batch of these data has the input {name} of the model",
                got=f"{name} {value}",
                fits=", ".join(shapes),
                fix=f"a name that fits, `optional: true` where it may be left out, {ELSE}",
            )
        fact = facts.get(name)
        tokens = fact.get("vocab") if isinstance(fact, Mapping) else None
        if tokens and value.vocab and tokens > value.vocab:
            yield model_problem(
                composed,
                path,
                f"the vocabulary of the data is larger than that of the input {name}",
                got=f"{tokens} tokens of the data, {value.vocab} of the model",
                fits=f"{tokens} or more",
                fix=f"`vocab: data.vocab` in the model, data.vocab={value.vocab}, {ELSE}",
            )


def is_optional(node: fx.Node, value: Value, stated: Any) -> bool:
    """Return whether the model runs on these data without an input: it is optional, and its shape
    is no fact of the data.
    """
    if not node.args:
        return False
    if value.tensor is None or not isinstance(stated, Mapping):
        return True
    return not str(stated.get("shape")).startswith("data.")


def find_shapes(facts: Facts) -> dict[str, Tensor | None]:
    """Return what a batch holds, by name, as tensors on the meta device; None where a size is known
    only after the data are read.
    """
    found: dict[str, Tensor | None] = {}
    for name, fact in facts.items():
        if not isinstance(fact, Mapping | list | tuple):
            continue
        axes = read_axes(fact)
        dtype = DTYPES[str(axes.pop("dtype", "float"))]
        axes.pop("vocab", None)
        sizes = axes.values()
        if None in sizes:
            found[name] = None
        else:
            found[name] = meta_tensor((BATCH, *sizes), dtype)
    return found


def read_axes(fact: Mapping[Any, Any] | Sequence[Any]) -> dict[Any, Any]:
    """Return the entries of a fact, by name; the names of a list's entries are numbers."""
    if isinstance(fact, Mapping):
        return dict(fact)
    return dict(enumerate(fact))


# Outputs ------------------------------------------------------------------------------------------


def find_outputs(composed: Composed, planned: Built, facts: Facts) -> dict[str, Tensor]:
    """Return what the model gives for a batch of these data, by name, on the meta device.

    A model that states sizes of its own, e.g. 1,024 tokens where the data have 128, runs once with
    the sizes of the data.

    Raises:
        ConfigError: the model fails with the shapes of the data.
    """
    stated: dict[str, Tensor] = {}
    batch: dict[str, Tensor] = {}
    shapes = find_shapes(facts)
    for name in planned.model.input_names:
        tensor = planned.inputs[name].tensor
        if tensor is not None:
            stated[name] = tensor
        if name in shapes:
            tensor = tensor if shapes[name] is None else shapes[name]
            if tensor is not None:
                batch[name] = tensor
    is_named = isinstance(planned.config.get("outputs"), Mapping)
    if describe_tensors(batch) == describe_tensors(stated):
        found = find_planned_outputs(planned)
    else:
        try:
            with evaluation_mode(planned.model):
                result = planned.model(**batch)
        except Exception as error:  # a block may raise anything for shapes it was not built for
            raise ConfigError(explain_misfit(composed, batch, stated, error)) from error
        if is_named:
            result = result.values()
        elif not isinstance(result, tuple):
            result = (result,)
        found = dict(zip(planned.outputs, result, strict=True))
    return name_outputs(found, is_named=is_named)


def find_planned_outputs(planned: Built) -> dict[str, Tensor]:
    """Return the outputs of the model with the sizes that it states, on the meta device."""
    found = {}
    for name, value in planned.outputs.items():
        if value.tensor is not None:
            found[name] = value.tensor
    return found


def name_outputs(found: dict[str, Tensor], *, is_named: bool) -> dict[str, Tensor]:
    """Return the outputs under the names that a task reads: a single output without a name is the
    logits; several have their numbers.
    """
    if is_named:
        return found
    if len(found) == 1:
        return {"logits": next(iter(found.values()))}
    return {f"[{number}]": tensor for number, tensor in enumerate(found.values())}


def explain_misfit(
    composed: Composed,
    batch: Mapping[str, Tensor],
    stated: Mapping[str, Tensor],
    error: Exception,
) -> Problem:
    """Return the problem of a model that fails with the shapes of the data."""
    got = [describe_tensors(batch), " ".join(str(error).split()), locate(error)]
    return model_problem(
        composed,
        ("model", "inputs"),
        "the model cannot take what these data give",
        got="\n".join(filter(None, got)),
        fits=describe_tensors(stated),
        fix=f"`inputs: {{NAME: data.NAME}}`, {ELSE}",
    )


def check_output(
    composed: Composed, planned: Built, given: Mapping[str, Tensor], needed: Needed
) -> Iterator[Problem]:
    """Yield a problem where an output is missing or has other axes than the task needs."""
    name = needed.output
    shape = needed.format_shape()
    if name not in given:
        head = f"{{block: Linear, features: data.{needed.axes[-1]}}}"
        if needed.is_grid():
            head = f"{{block: Conv2d, features: data.{needed.axes[0]}, kernel: 1}}"
        yield model_problem(
            composed,
            ("model", "outputs"),
            str(needed),
            got=describe_tensors(given),
            fits=f"{name} {shape}",
            fix=f"`outputs: {{{name}: NODE}}`, NODE being e.g. {head}; {ELSE}",
        )
    elif not needed.fits(given[name]):
        values = planned.outputs
        value = values[name] if name in values else next(iter(values.values()))
        node = value.made_by.partition(".")[0]
        label = ""
        if maker := planned.find(node):
            label = f" ({maker.label})"
        yield model_problem(
            composed,
            ("model", "outputs", name),
            str(needed),
            got=f"{describe_tensors({name: given[name]})} of {value.made_by}{label}",
            fits=shape,
            fix=f"{suggest_fix(planned, node, given[name], needed)}, {ELSE}",
        )


def suggest_fix(planned: Built, node: str, tensor: Tensor, needed: Needed) -> str:
    """Return what to change in a model whose output has the wrong axes."""
    if tensor.dim() > 2 and len(needed.axes) == 1:
        for block, axis in POOLS.items():
            if tensor.shape[axis] == needed.sizes[-1]:
                return suggest_pool(planned, node, block, needed.output)
    if needed.is_grid() and tensor.dim() == 2:
        return "a model for masks, e.g. model=unet"
    if tensor.dim() == 1 + len(needed.axes):
        features = needed.axes[0] if needed.is_grid() else needed.axes[-1]
        return f"a head of data.{features} features"
    return f"a node that gives {needed.format_shape()}"


def suggest_pool(planned: Built, node: str, block: str, output: str) -> str:
    """Return the overrides that add a pooling block after a node and make it the output."""
    graph = planned.config["graph"]
    name = next(name for name in ("pool", "mean", "pooled") if name not in graph)
    added = f"'+model.graph.{name}={{block: {block}, after: {node}}}'"
    outputs = planned.config.get("outputs")
    if outputs is None:
        return added
    if isinstance(outputs, Mapping):
        return f"{added} model.outputs.{output}={name}"
    return f"{added} model.outputs={name}"


def find_sizes(axes: tuple[str, ...], facts: Facts) -> tuple[int | None, ...]:
    """Return the sizes of the axes of an output: facts of the data, for `tokens` the length of the
    target, or of the text if there is no target, and for `height` and `width` those of the mask.
    """
    sizes = {**facts, "tokens": None}
    for name in GRID:
        sizes[name] = read_axes(facts.get("label", {})).get(name)
    for name in ("tokens", "target"):
        if name in facts:
            sizes["tokens"] = read_axes(facts[name]).get("tokens")
    return tuple(map(sizes.get, axes))


# Messages -----------------------------------------------------------------------------------------


def describe_tensors(tensors: Mapping[str, Tensor]) -> str:
    """Describe tensors in one line: "padding_mask (batch, 128) bool, tokens (batch, 128) int64"."""
    shown = []
    for name, tensor in sorted(tensors.items()):
        text = f"{name} {show_shape(tuple(tensor.shape))}"
        dtype = str(tensor.dtype).removeprefix("torch.")
        if dtype != "float32":
            text += f" {dtype}"
        shown.append(text)
    return ", ".join(shown)


def model_problem(composed: Composed, path: tuple[str, ...], text: str, **parts: Any) -> Problem:
    """Return a problem of the model, with the overrides that chose it, its data and its task."""
    chosen = [override for override in composed.overrides if CHOSEN.match(override)]
    source = None
    if chosen:
        source = f"the command line: {' '.join(chosen)}"
    return instantiate.problem(composed, path, text, source=source, **parts, code="data-mismatch")
