"""Whether a network says step by step what it says at once; if not, which of its modules is the
first that does not.

That a block without `step` works on each token alone is an assumption, above all for blocks of
one's own. So a network is asked both ways once, as long as it is going to be asked, before its
steps are trusted. Every module is compared, not only what leaves the network: a gate that is closed
today would hide what stands behind it.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from blocks.graph.record.module import Scan, locate
from blocks.graph.run.incremental import Stepper
from blocks.support.decode_cache import StepError

Record = dict[str, list[Tensor]]
Stretch = tuple[int, int]  # from one token up to another


@torch.no_grad()
def prove(stepper: Stepper, fixed: Mapping[str, Any], growing: Mapping[str, Tensor]) -> None:
    """Compare a network with its steps: a long piece, a second one, rows exchanged, then token by
    token.

    Args:
        fixed: the inputs that do not grow, two rows of each, or none at all.
        growing: those that do, (rows, tokens), an even number of rows: as long as what is going to
            be said.

    Raises:
        StepError: a module cannot step, or what it gives differs by more than the square root of
            its precision, measured by the largest value (3e-4 in float32, 1.5e-8 in float64).
    """
    rows, tokens = next(iter(growing.values())).shape[:2]
    several = rows // 2 if fixed else 1
    repeated = {
        name: value.repeat_interleave(several, 0) if isinstance(value, Tensor) else value
        for name, value in fixed.items()
    }
    result = _flat(stepper.network(**repeated, **growing))
    held = stepper.fixed_part(**repeated) if stepper.names else ()
    whole: Record = {}
    with _recorded(stepper.growing_part, whole):
        stepper.growing_part(**dict(zip(stepper.names, held, strict=True)), **growing)
    places = _places(tokens)
    pieces: list[Record] = [{} for _ in places]
    said: list[list[Tensor]] = []
    try:
        steps = stepper.start(tokens, fixed, several)
        for number, (begin, end) in enumerate(places):
            if number == 2:  # from here on each row has the place of its mirror image
                steps.reorder(
                    torch.arange(rows - 1, -1, -1, device=next(iter(growing.values())).device)
                )
            new = {name: value[:, begin:end] for name, value in growing.items()}
            turned = {name: value.flip(0) for name, value in new.items()} if number >= 2 else new
            with _recorded(stepper.growing_part, pieces[number]):
                said.append(_flat(steps.step(**turned)))
    # whatever a block raises when it is asked for a part: it is told, and nothing is lost
    except Exception as error:
        where = (locate(error) or "graph").split("  ")[0]
        raise StepError(
            f"{where}: {' '.join(str(error).split()) or type(error).__name__}"
        ) from error
    for name, outputs in whole.items():
        for number, output in enumerate(outputs):
            found = [
                each[name][number] if number < len(each.get(name, [])) else None for each in pieces
            ]
            _must_agree(f"graph.{name}", output, _turned_back(found, rows), places)
    for number, output in enumerate(result):
        if output.dim() < 2 or output.shape[1] != tokens:
            raise StepError("graph: what the network gives has no axis of tokens behind the rows")
        _must_agree("graph", output, _turned_back([part[number] for part in said], rows), places)


def _places(tokens: int) -> list[Stretch]:
    """Two longer pieces, then three tokens, each on its own; fewer where there are fewer tokens."""
    ends = sorted(
        {tokens // 2, tokens - 3, tokens - 2, tokens - 1, tokens} & set(range(1, tokens + 1))
    )
    return list(zip([0, *ends], ends, strict=False))


def _flat(value: Any) -> list[Tensor]:
    """The tensors of an output, however it is nested."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, Mapping):
        value = list(value.values())
    return (
        [tensor for item in value for tensor in _flat(item)]
        if isinstance(value, list | tuple)
        else []
    )


@contextmanager
def _recorded(root: nn.Module, record: Record) -> Iterator[None]:
    """Within, all that the modules below give is kept, call after call, by their path."""
    kept: defaultdict[str, list[Tensor]] = defaultdict(list)

    def keeps(name: str) -> Any:
        return lambda module, inputs, output: kept[name].extend(_flat(output))

    hooks = [module.register_forward_hook(keeps(name)) for name, module in _modules(root)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
        record.update(kept)


def _modules(
    module: nn.Module, path: str = "", known: set[int] | None = None
) -> Iterator[tuple[str, nn.Module]]:
    """All modules below, each once; not those inside a scan, which run once a token."""
    known = set() if known is None else known
    for name, child in module.named_children():
        if id(child) not in known:
            known.add(id(child))
            inner = f"{path}.{name}" if path else name
            yield inner, child
            if not isinstance(child, Scan):
                yield from _modules(child, inner, known)


def _turned_back(pieces: Sequence[Tensor | None], rows: int) -> list[Tensor | None]:
    """From the third piece on the rows were exchanged."""
    return [
        piece.flip(0)
        if piece is not None and number >= 2 and piece.dim() and piece.shape[0] == rows
        else piece
        for number, piece in enumerate(pieces)
    ]


def _must_agree(
    name: str, whole: Tensor, pieces: list[Tensor | None], places: list[Stretch]
) -> None:
    given = [piece for piece in pieces if piece is not None]
    together = _joined(whole, given, places) if len(given) == len(places) else None
    if together is None and given and given[-1].shape == whole.shape:
        together = given[-1]  # no axis of tokens: a last state, or what is made once of a context
    if together is None:
        raise StepError(f"{name} does not give the new tokens for the new tokens")
    if torch.equal(together, whole):
        return
    exact = whole.double()
    finite = exact[exact.isfinite()]
    scale = float(finite.abs().max()) if finite.numel() else 0.0
    room = scale * torch.finfo(whole.dtype).eps ** 0.5 if whole.is_floating_point() else 0.0
    if not torch.allclose(together.double(), exact, rtol=0.0, atol=room, equal_nan=True):
        differ = float((together.double() - exact).abs().nan_to_num().max())
        got = f"a difference of {differ:.2g} in {scale:.2g}"
        raise StepError(f"{name} says something else token by token than at once", got=got)


def _joined(whole: Tensor, pieces: list[Tensor], places: list[Stretch]) -> Tensor | None:
    """The pieces side by side along the axis of tokens; None where there is no such axis."""
    for axis in range(1, whole.dim()):
        if whole.shape[axis] == places[-1][1]:
            fitted = [
                _fitted(whole, piece, axis, place)
                for piece, place in zip(pieces, places, strict=True)
            ]
            parts = [part for part in fitted if part is not None]
            if len(parts) == len(pieces):
                return torch.cat(parts, dim=axis)
    return None


def _fitted(whole: Tensor, piece: Tensor, axis: int, place: Stretch) -> Tensor | None:
    """A piece as wide as the whole on all other axes: weights and biases have keys up to the last
    new token only.
    """
    begin, end = place
    if piece.dim() != whole.dim() or piece.shape[axis] != end - begin:
        return None
    for other in range(whole.dim()):
        size, full = piece.shape[other], whole.shape[other]
        if other != axis and size != full:
            if size != end:
                return None
            unseen = whole.narrow(axis, begin, end - begin).narrow(other, size, full - size)
            piece = torch.cat((piece, unseen), dim=other)
    return piece
