"""What incremental decoding keeps of past tokens: numbers for each token, and numbers that stay as
many however long the text is. The model runs one token on the meta device.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from blocks.graph.errors import ConfigError, Problem
from blocks.graph.record.record import Built
from blocks.graph.run.incremental import Caches, IncrementalModel
from blocks.support.decode_cache import DecodeCache, StepError
from blocks.support.text_table import align_columns

LIMIT = 2**30  # tokens: more than any window
GROWS = (("tokens", "padding_mask"), ("target", "target_mask"))


@dataclass(frozen=True)
class Kept:
    """What one call of a block keeps for a row of tokens.

    Args:
        path: of the block.
        token: numbers for each past token.
        window: the largest number of past tokens; None for all.
        state: numbers that do not depend on the number of tokens.
    """

    path: str
    token: int
    window: int | None
    state: int


def measure_cache(built: Built) -> list[Kept]:
    """Return what each block keeps, in the order of their calls.

    Raises:
        ConfigError: the model is not decoded token by token.
    """
    grows = next((names for names in GROWS if names[0] in built.inputs), None)
    if grows is None:
        inputs = ", ".join(built.inputs)
        raise ConfigError(_explain(f"inputs {inputs}", "an input tokens or target"))
    given: dict[str, Tensor] = {}
    for name, value in built.inputs.items():
        if value.tensor is not None:
            given[name] = value.tensor[:1]
    built.model.eval()
    try:
        with torch.no_grad(), torch.device("meta"):
            model = IncrementalModel(built.model, grows)
            fixed = (
                []
                if not model.names
                else model.fixed_part(
                    **{name: given[name] for name in model.fixed_part.input_names if name in given}
                )
            )
            new = {name: given[name][:, :1] for name in model.grows if name in given}
            caches = Caches(LIMIT)
            network = model.make_network(caches, 1)
            network(**dict(zip(model.names, fixed, strict=True)), **new)
    except StepError as error:
        raise ConfigError(_explain(str(error), None)) from error
    return [_read(path, cache) for (path, _), cache in caches.caches.items()]


def _explain(got: str, fits: str | None) -> Problem:
    return Problem(
        "this model is not decoded token by token, so that it keeps nothing",
        "the command line: --cache",
        got=got,
        fits=fits,
        fix=None if fits else "leave --cache out",
        code="unsupported",
    )


def _read(path: str, cache: DecodeCache) -> Kept:
    token, window = 0, None
    for name, (storage, axis) in cache.grown.items():
        if storage.dtype != torch.bool:  # of a mask
            token += storage.numel() // storage.shape[axis]
        if name in cache.recent:
            window = storage.shape[axis] // 2
    # what is made of no tensor is a table of positions, which all rows share
    made = [made for of, made in cache.made.values() if any(True for _ in _tensors(of))]
    state = sum(tensor.numel() for tensor in _tensors([*cache.states.values(), *made]))
    return Kept(path, token, window, state)


def _tensors(values: Iterable[Any]) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)


def describe_cache(found: list[Kept]) -> dict[str, Any]:
    """The caches as plain data: the sums, and each block."""
    return {
        "token": sum(kept.token for kept in found if kept.window is None),
        "window": sum(kept.token * kept.window for kept in found if kept.window is not None),
        "state": sum(kept.state for kept in found),
        "blocks": list(map(asdict, found)),
    }


def show_cache(found: list[Kept]) -> str:
    """The caches as a table; equal blocks of a repeat in one line."""
    lines: dict[tuple[Any, ...], int] = {}
    for kept in found:
        if kept.token or kept.state:
            key = (re.sub(r"\b\d+\b", "*", kept.path), kept.token, kept.window, kept.state)
            lines[key] = lines.get(key, 0) + 1
    rows = [("node", "numbers a token", "of the last", "whatever the length")]
    for (path, token, window, state), count in lines.items():
        name = f"{path} x{count}" if count > 1 else path
        last = "" if window is None or not token else f"{window:,}"
        rows.append((name, f"{token:,}" if token else "", last, f"{state:,}" if state else ""))
    whole = describe_cache(found)
    texts = align_columns(rows, (0,))
    total = f"{whole['token']:,} numbers for each token of a text"
    if whole["window"] or whole["state"]:
        total += f", {whole['window'] + whole['state']:,} at most besides"
    rule = "-" * max(map(len, texts))
    return "\n".join([texts[0], rule, *texts[1:], rule, total])
