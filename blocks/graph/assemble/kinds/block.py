"""One block: bind its inputs, read its arguments, make it and run it on the meta device."""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from blocks.errors import BlockError
from blocks.graph.assemble.assembly import Assembly
from blocks.graph.assemble.body_builder import Input
from blocks.graph.assemble.kinds.block_errors import failed_block, read_divisor, refused_by_block
from blocks.graph.assemble.kinds.block_ports import Names, assign_ports, bind_shapes
from blocks.graph.assemble.kinds.block_recipe import (
    ReachedError,
    Surroundings,
    Unbuilt,
    check_given,
    find_unbuilt,
    put_part,
    read_arguments,
)
from blocks.graph.errors import NodeError, Problem
from blocks.graph.language.copies import alter
from blocks.graph.language.scope import Text
from blocks.graph.language.signature import Port, Signature, axis_names
from blocks.graph.record.kept import Kept, draw
from blocks.graph.record.operations import Operations
from blocks.graph.record.record import MakeBody, Recipe
from blocks.graph.record.value import Value, show_shape


@dataclass(frozen=True)
class BuiltBlock:
    """A block on the meta device.

    Args:
        module: what was made.
        recipe: how to make it again.
        arguments: by their words in YAML.
        positional: what flows in by position.
        named: what flows in by the name of a port.
        outputs: name -> tensor and the names of its axes.
        idle: whether it does nothing.
    """

    module: nn.Module
    recipe: Recipe
    arguments: Mapping[str, Any]
    positional: tuple[Value, ...]
    named: Mapping[str, Value]
    outputs: Mapping[str, tuple[Tensor, Names]]
    idle: bool


def build_block(
    assembly: Assembly,
    signature: Signature,
    texts: Mapping[str, Text],
    inputs: Sequence[Input],
    previous: Value | None,
    build_part: Callable[[Unbuilt, str, Sequence[Any]], MakeBody],
) -> BuiltBlock:
    """Build one block; raises NodeError with every problem found.

    Args:
        build_part: builds a part that is written as a body, by its name and what flows into it.
    """
    own = {}
    for word, text in texts.items():
        own[word] = alter(text, scope=alter(text.scope, trace=[]))  # a trace of its own
    positional, named = assign_ports(signature, inputs, previous)
    wired = _wire_ports(signature, positional, named)
    bound = bind_shapes(signature, wired)
    values = [value for _, value in wired]
    around = Surroundings(_known(bound.sizes, values), _axes(bound.sizes, values), own, values)
    arguments, recipe = read_arguments(assembly, signature, around)
    try:
        recipe = _build_parts(assembly, recipe, positional, named, build_part)
        module, results = _run_block(assembly, signature, recipe, positional, named)
    except NodeError:
        raise
    except BlockError as error:
        problem = refused_by_block(signature, error, own, arguments, around.known, wired)
        raise NodeError(problem) from error
    except Exception as error:  # a constructor may raise anything; the user needs it with its place
        refused = read_divisor(signature, error, arguments)
        if refused is not None:
            problem = refused_by_block(signature, refused, own, arguments, around.known, wired)
            raise NodeError(problem) from error
        arguments = {**arguments, **recipe.parts}
        raise NodeError(failed_block(signature, error, own, arguments, wired)) from error
    outputs = _name_outputs(signature, module, results, bound.stars)
    idle = signature.idle(module)
    return BuiltBlock(module, recipe, arguments, positional, named, outputs, idle)


def _wire_ports(
    signature: Signature, positional: Sequence[Value], named: Mapping[str, Value]
) -> list[tuple[Port, Value]]:
    """Each port with what flows into it, in the order of the signature."""
    if signature.variadic:
        return [(signature.ports[0], value) for value in positional]
    wired = list(zip(signature.ports, positional, strict=False))
    for port in signature.ports:
        if port.name in named:
            wired.append((port, named[port.name]))
    return wired


def _axes(sizes: Mapping[str, int], values: Sequence[Value]) -> dict[str, int]:
    """Axes for expressions: those of the ports before those of the values, the first value wins."""
    axes: dict[str, int] = {}
    for value in reversed(values):
        axes.update(value.axes)
    axes.update(sizes)
    axes.pop("batch", None)
    return axes


def _known(sizes: Mapping[str, int], values: Sequence[Value]) -> dict[str, int]:
    """What the inputs imply: sizes of axes, and the vocabulary."""
    known = dict(sizes)
    vocab = next((value.vocab for value in values if value.vocab is not None), None)
    if vocab is not None:
        known["vocab"] = vocab
    return known


def _build_parts(
    assembly: Assembly,
    recipe: Recipe,
    positional: Sequence[Value],
    named: Mapping[str, Value],
    build_part: Callable[[Unbuilt, str, Sequence[Any]], MakeBody],
) -> Recipe:
    """The recipe of a block whose parts are built that are written as bodies: the block runs until
    it calls one, which tells what flows into it.
    """
    tensors = [value.tensor for value in positional]
    keywords = {name: value.tensor for name, value in named.items()}
    while waiting := find_unbuilt(recipe):
        try:
            with on_meta_device(assembly.kept), torch.no_grad():
                recipe.make()(*tensors, **keywords)
        except ReachedError as reached:
            part, name = reached.part, waiting[reached.part]
            check_given(part, f"{recipe.name}.{name}", reached.given)
            recipe = put_part(recipe, part, build_part(part, name, reached.given))
        else:
            part, name = next(iter(waiting.items()))
            problem = f"{recipe.name}.{name}: the block does not call this part"
            fix = "leave it out, or write {block: Name}"
            raise NodeError(Problem(problem, source=part.source, fix=fix, code="unused"))
    return recipe


def _run_block(
    assembly: Assembly,
    signature: Signature,
    recipe: Recipe,
    positional: Sequence[Value],
    named: Mapping[str, Value],
) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """Make a block and run it on the meta device; an equal block with equal inputs runs once."""
    tensors = [value.tensor for value in positional]
    keywords = {name: value.tensor for name, value in named.items()}
    key = _key_of(signature, recipe, tensors, keywords)
    kept = assembly.kept
    module = kept.copy(recipe.key)
    if module is None or key not in kept.ran:
        with on_meta_device(kept):
            made = module is None
            if module is None:
                module = recipe.make()
            if key not in kept.ran:
                with torch.no_grad():
                    results = module(*tensors, **keywords)
                kept.ran[key] = _check_results(results)
            if made:
                _check_parameters(module)
                kept.made[recipe.key] = draw(module)
    return module, kept.ran[key]


@contextmanager
def on_meta_device(kept: Kept) -> Iterator[None]:
    """Make and run blocks that take no memory."""
    with torch.device("meta"), Operations(kept.operations), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch repeats them when real parameters are made
        yield


def _check_results(results: Any) -> tuple[Tensor, ...]:
    """What a block gave as a tuple; raises BlockError for anything but tensors with numbers."""
    found = results
    if not isinstance(results, tuple | list):
        found = (results,)
    if not all(isinstance(tensor, Tensor) for tensor in found):
        raise BlockError(
            "forward must return a tensor or a tuple of tensors",
            got=type(results).__name__,
            fix="end forward with return ...",
            code="block-failed",
        )
    for tensor in found:
        if not tensor.numel():
            raise BlockError(
                "an axis of what comes out is empty",
                got=show_shape(tuple(tensor.shape)),
                fits="axes of size 1 or more",
                code="shape-mismatch",
            )
    return tuple(found)


def _check_parameters(module: nn.Module) -> None:
    for name, parameter in module.named_parameters():
        if not parameter.numel():
            raise BlockError(
                f"the parameter {name} is empty",
                got=show_shape(tuple(parameter.shape)),
                fits="axes of size 1 or more",
                code="shape-mismatch",
            )


def _key_of(
    signature: Signature,
    recipe: Recipe,
    tensors: Sequence[Tensor | None],
    keywords: Mapping[str, Tensor | None],
) -> tuple[Any, ...]:
    shapes = []
    for tensor in (*tensors, *keywords.values()):
        shapes.append(None if tensor is None else (tuple(tensor.shape), tensor.dtype))
    return recipe.key, repr(shapes), tuple(keywords)


def _name_outputs(
    signature: Signature,
    module: nn.Module,
    results: Sequence[Tensor],
    stars: Mapping[str, Names],
) -> dict[str, tuple[Tensor, Names]]:
    """Outputs by name, each with the names of its axes."""
    names = getattr(module, "outputs", None) or ("out",)
    moved = getattr(module, "axis_names", None)  # of a block that moves axes
    ports = {port.name: port for port in signature.gives}
    outputs = {}
    for index, (name, tensor) in enumerate(zip(names, results, strict=False)):
        port = ports.get(name)
        if port is None and index < len(signature.gives):
            port = signature.gives[index]
        axes = moved
        if axes is None:
            axes = axis_names(port or Port(name), tensor.dim(), stars)
        outputs[name] = (tensor, axes)
    return outputs
