"""Whether incremental decoding gives what the whole network gives, and the first module that
differs.

That a block without `step` works on each token alone is an assumption, above all for a user's own
blocks. The network is therefore run both ways once, over the longest sequence that it is going to
decode, before its incremental form is used. Every module is compared, not only the outputs of the
network: a gate that is closed today would hide an error before it.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from blocks.graph.record.module import Scan, locate
from blocks.graph.run.incremental import IncrementalModel
from blocks.support.decode_cache import StepError

Outputs = dict[str, list[Tensor]]  # path of a module -> the tensors it gave, call after call
Span = tuple[int, int]  # from one token up to another
MIRRORED = 2  # from this span on, the rows are in reverse order


@torch.no_grad()
def verify_incremental(
    model: IncrementalModel, fixed: Mapping[str, Any], growing: Mapping[str, Tensor]
) -> None:
    """Compare a network with its incremental form: a long span, a second one, then the rows in
    reverse order, token by token.

    Args:
        model: the incremental form.
        fixed: the inputs that do not grow, two rows of each, or none at all.
        growing: the inputs that grow, (rows, tokens) with an even number of rows, as long as the
            longest sequence to decode.

    Raises:
        StepError: a module cannot step, or its outputs differ by more than the square root of the
            precision times the largest value (3e-4 in float32, 1.5e-8 in float64).
    """
    rows, tokens = next(iter(growing.values())).shape[:2]
    several = rows // 2 if fixed else 1
    repeated = {name: _repeat_rows(value, several) for name, value in fixed.items()}
    result = _list_tensors(model.network(**repeated, **growing))
    kept = model.fixed_part(**repeated) if model.names else ()
    whole: Outputs = {}
    with _recorded(model.growing_part, whole):
        model.growing_part(**dict(zip(model.names, kept, strict=True)), **growing)
    spans = _make_spans(tokens)
    pieces: list[Outputs] = [{} for _ in spans]
    try:
        given = _run_spans(model, fixed, growing, several, spans=spans, pieces=pieces)
    # A block may raise anything when it is run on a part of the tokens: the whole network is used.
    except Exception as error:
        where = (locate(error) or "graph").split("  ")[0]
        message = " ".join(str(error).split()) or type(error).__name__
        raise StepError(f"{where}: {message}") from error
    for name, outputs in whole.items():
        for number, output in enumerate(outputs):
            parts = [_get_call(piece, name, number) for piece in pieces]
            _compare(f"graph.{name}", output, _restore_rows(parts, rows), spans)
    for number, output in enumerate(result):
        if output.dim() < 2 or output.shape[1] != tokens:
            raise StepError("graph: an output of the network has no axis of tokens after the rows")
        parts = [tensors[number] for tensors in given]
        _compare("graph", output, _restore_rows(parts, rows), spans)


def _run_spans(
    model: IncrementalModel,
    fixed: Mapping[str, Any],
    growing: Mapping[str, Tensor],
    several: int,
    *,
    spans: Sequence[Span],
    pieces: Sequence[Outputs],
) -> list[list[Tensor]]:
    """Run the network over one span after the other, and record what its modules give in
    `pieces`.
    """
    first = next(iter(growing.values()))
    session = model.start(spans[-1][1], fixed, several)
    given = []
    for number, (begin, end) in enumerate(spans):
        if number == MIRRORED:
            session.reorder(torch.arange(len(first) - 1, -1, -1, device=first.device))
        new = {name: value[:, begin:end] for name, value in growing.items()}
        if number >= MIRRORED:
            new = {name: value.flip(0) for name, value in new.items()}
        with _recorded(model.growing_part, pieces[number]):
            given.append(_list_tensors(session.step(**new)))
    return given


def _repeat_rows(value: Any, several: int) -> Any:
    if isinstance(value, Tensor):
        return value.repeat_interleave(several, 0)
    return value


def _make_spans(tokens: int) -> list[Span]:
    """Return two longer spans, then three single tokens; fewer where there are fewer tokens."""
    ends = {tokens // 2, tokens - 3, tokens - 2, tokens - 1, tokens}
    ordered = sorted(ends & set(range(1, tokens + 1)))
    return list(zip([0, *ordered], ordered, strict=False))


def _list_tensors(value: Any) -> list[Tensor]:
    """Return the tensors of an output, however it is nested."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, Mapping):
        value = list(value.values())
    tensors = []
    if isinstance(value, list | tuple):
        for item in value:
            tensors += _list_tensors(item)
    return tensors


@contextmanager
def _recorded(root: nn.Module, record: Outputs) -> Iterator[None]:
    """Record the outputs of all modules below `root`, by path."""
    outputs: defaultdict[str, list[Tensor]] = defaultdict(list)

    def make_hook(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: Any, named: Mapping[str, Any], output: Any) -> None:
            given = _list_tensors(output)
            if not _list_tensors(inputs) and not _list_tensors(named):
                # made of sizes, as a bias of positions: no axis of it may be taken for the rows
                given = [tensor.unsqueeze(0) for tensor in given]
            outputs[name].extend(given)

        return hook

    hooks = []
    for name, module in _walk_modules(root):
        hooks.append(module.register_forward_hook(make_hook(name), with_kwargs=True))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
        record.update(outputs)


def _walk_modules(
    module: nn.Module, path: str = "", known: set[nn.Module] | None = None
) -> Iterator[tuple[str, nn.Module]]:
    """Yield all modules below, each once; not those inside a scan, which run once a token."""
    known = set() if known is None else known
    for name, child in module.named_children():
        if child not in known:
            known.add(child)
            inner = f"{path}.{name}" if path else name
            yield inner, child
            if not isinstance(child, Scan):
                yield from _walk_modules(child, inner, known)


def _get_call(outputs: Outputs, name: str, number: int) -> Tensor | None:
    tensors = outputs.get(name, [])
    if number < len(tensors):
        return tensors[number]
    return None


def _restore_rows(pieces: Sequence[Tensor | None], rows: int) -> list[Tensor | None]:
    """Return the pieces with their rows in the original order."""
    restored = []
    for number, piece in enumerate(pieces):
        if piece is not None and number >= MIRRORED and piece.dim() and piece.shape[0] == rows:
            piece = piece.flip(0)
        restored.append(piece)
    return restored


def _compare(name: str, whole: Tensor, pieces: list[Tensor | None], spans: list[Span]) -> None:
    given = [piece for piece in pieces if piece is not None]
    joined = None
    if len(given) == len(spans):
        joined = _join_pieces(whole, given, spans)
    if joined is None and given and given[-1].shape == whole.shape:
        joined = given[-1]  # no axis of tokens: a last state, or a value of the context
    if joined is None:
        raise StepError(f"{name} does not give the new tokens for the new tokens")
    if torch.equal(joined, whole):
        return
    exact = whole.double()
    finite = exact[exact.isfinite()]
    scale = float(finite.abs().max()) if finite.numel() else 0.0
    tolerance = 0.0
    if whole.is_floating_point():
        tolerance = scale * torch.finfo(whole.dtype).eps ** 0.5
    if not torch.allclose(joined.double(), exact, rtol=0.0, atol=tolerance, equal_nan=True):
        difference = float((joined.double() - exact).abs().nan_to_num().max())
        raise StepError(
            f"{name} gives other values token by token than for the whole sequence",
            got=f"a difference of {difference:.2g} in {scale:.2g}",
        )


def _join_pieces(whole: Tensor, pieces: list[Tensor], spans: list[Span]) -> Tensor | None:
    """Concatenate the pieces along the axis of tokens; None where there is no such axis."""
    for axis in range(1, whole.dim()):
        if whole.shape[axis] == spans[-1][1]:
            parts = []
            for piece, span in zip(pieces, spans, strict=True):
                part = _pad_piece(whole, piece, axis, span)
                if part is not None:
                    parts.append(part)
            if len(parts) == len(pieces):
                return torch.cat(parts, dim=axis)
    return None


def _pad_piece(whole: Tensor, piece: Tensor, axis: int, span: Span) -> Tensor | None:
    """Pad a piece to the size of the whole on all other axes: weights and biases have keys up to
    the last new token only.
    """
    begin, end = span
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
