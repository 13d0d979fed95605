"""Attention among tokens, and the alignment of a translation with its source, as sections of the
report.
"""

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
from torch import Tensor, nn

from blocks.graph.run.inspect import Attention, record_attention
from tasks.report import matrices, page
from tasks.report.samples import HEADS, LAYERS, Sample, pick_evenly, shorten_paths

Section = tuple[str, str]
Maps = Mapping[str, Attention]  # the attention of a sample by path of the node

ABOUT_TOKENS = '<p class="soft">A row for each query, a column for each key; mean of the heads.</p>'
ABOUT_ALIGNMENT = (
    "A row for each token of the translation, a column for each token of the source; mean of the "
    "heads."
)


def over_tokens(network: nn.Module, samples: Sequence[Sample]) -> list[Section]:
    """Return the sections on attention among tokens: the alignment with a source, where there is
    one, and the attention of the tokens of one side.
    """
    maps = [record_attention(network, sample.batch) for sample in samples]
    names = shorten_paths(list(maps[0]))
    cross: list[str] = []
    own: list[str] = []
    for path, found in maps[0].items():
        kind = cross if found.cross else own
        kind.append(path)
    sections = []
    if cross:
        sections.append(("Alignment", draw_alignment(samples, maps, cross, names)))
    if own:
        shown = samples[:1] if cross else samples[:2]
        content = ""
        for sample, layers in zip(shown, maps, strict=False):
            content += draw_self_attention(sample, layers, own, names)
        if cross:
            content = page.folded("Among the tokens of one side", content)
        sections.append(("Attention", ABOUT_TOKENS + content))
    return sections


def draw_alignment(
    samples: Sequence[Sample], maps: Sequence[Maps], cross: Sequence[str], names: Mapping[str, str]
) -> str:
    """Return, for each sample, the cross-attention of the sharpest layer; all layers and heads of
    the first sample are folded.

    Args:
        cross: paths of the layers with cross-attention.
        names: the short name of each path.
    """
    sharpness = {}
    for path in cross:
        highest = [float(found[path].weights.amax(-1).mean()) for found in maps]
        sharpness[path] = np.mean(highest)
    best = max(cross, key=sharpness.__getitem__)
    about = ABOUT_ALIGNMENT
    layers: list[str] = []
    if len(cross) > 1:
        about += f" {escape(names[best])}, the sharpest of {len(cross)} layers."
        for path in pick_evenly(cross, LAYERS):
            layers.append(draw_attention(samples[0], maps[0][path], names[path]))
    drawn = []
    for sample, found in zip(samples, maps, strict=True):
        drawn.append(draw_attention(sample, found[best], sample.title))
    heads = draw_heads(samples[0], maps[0][best], names[best])
    return "".join(
        [
            f'<p class="soft">{about}</p>',
            page.beside(drawn),
            fold_drawings("Each layer", layers),
            fold_drawings("Each head", heads),
        ]
    )


def draw_self_attention(
    sample: Sample, maps: Maps, own: Sequence[str], names: Mapping[str, str]
) -> str:
    """Return the attention of tokens to each other in each layer; the heads of the sharpest layer
    are folded.

    Args:
        own: paths of the layers with self-attention.
        names: the short name of each path.
    """
    chosen = pick_evenly(own, LAYERS)
    rows = slice(None) if sample.rows is None else list(sample.rows)
    drawn = []
    sharpness = {}
    for path in chosen:
        drawn.append(draw_attention(sample, maps[path], names[path]))
        sharpness[path] = float(maps[path].weights[:, :, rows].amax(-1).mean())
    best = max(chosen, key=sharpness.__getitem__)
    heads = draw_heads(sample, maps[best], names[best])
    folded = fold_drawings(f"Each head of {names[best]}, the sharpest", heads)
    return f"<h3>{escape(sample.title)}</h3>{page.beside(drawn)}{folded}"


def draw_heads(sample: Sample, found: Attention, name: str) -> list[str]:
    """Return a drawing of each head of a layer; none where there is only one."""
    count = min(found.weights.shape[1], HEADS)
    if count == 1:
        return []
    drawings = []
    for number in range(count):
        head = slice(number, number + 1)
        drawings.append(draw_attention(sample, found, f"{name}, head {number}", head))
    return drawings


def draw_attention(sample: Sample, found: Attention, title: str, heads: slice = slice(None)) -> str:
    """Return the mean attention of some heads, with the names of the tokens where known."""
    weights = found.weights[0, heads].mean(0)
    if weights.dim() > 2:  # windows, whose cells have no names
        weights = weights.mean(0)
    row_names, column_names = token_names(sample, found, weights)
    rows = select_tokens(sample.rows, weights.shape[0], found.cross)
    columns = select_tokens(sample.columns, weights.shape[1], found.cross)
    return matrices.draw_attention(
        weights[rows][:, columns].numpy(),
        pick_names(row_names, rows),
        pick_names(column_names, columns),
        title,
    )


def token_names(
    sample: Sample, found: Attention, weights: Tensor
) -> tuple[Sequence[str] | None, Sequence[str] | None]:
    """Return the names of the queries, and of the keys."""
    if found.cross:
        return sample.predicted, sample.source
    names = own_names(sample, weights)
    if sample.rows is not None and sample.predicted is not None:
        return sample.predicted, names
    return names, names


def own_names(sample: Sample, weights: Tensor) -> Sequence[str] | None:
    """Return the names of the tokens in self-attention: of the source, unless it is causal."""
    order = [sample.source, sample.tokens]
    is_causal = not weights.triu(1).any()
    if is_causal:
        order.reverse()
    for names in order:
        if names is not None and len(names) == weights.shape[-1]:
            return names
    return None


def select_tokens(wanted: Sequence[int] | None, count: int, cross: bool) -> list[int]:
    """Return the numbers of the tokens to show; all where the sample names none that fit."""
    if wanted is None or cross or len(wanted) > count:
        return list(range(count))
    return list(wanted)


def pick_names(names: Sequence[str] | None, tokens: Sequence[int]) -> list[str] | None:
    """Return the names of some tokens; None where they have none."""
    if names is None:
        return None
    return [names[token] if token < len(names) else "" for token in tokens]


def fold_drawings(title: str, drawings: list[str]) -> str:
    """Return drawings side by side, folded; empty if there are none."""
    return page.folded(title, page.beside(drawings)) if drawings else ""
