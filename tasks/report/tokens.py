"""Attention among tokens, and the alignment of a translation with its source, as sections of the
report.
"""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from torch import Tensor, nn

from blocks.graph.run.inspect import Attention, record_attention
from tasks.report import matrices, page
from tasks.report.samples import HEADS, LAYERS, Sample, evenly, without_common_end

Section = tuple[str, str]


def over_tokens(network: nn.Module, samples: Sequence[Sample]) -> list[Section]:
    """Who looks where among tokens: the alignment with a source, where there is one, else the
    tokens themselves.
    """
    seen = [record_attention(network, sample.batch) for sample in samples]
    short = without_common_end(list(seen[0]))
    cross = [path for path, found in seen[0].items() if found.cross]
    own = [path for path in seen[0] if path not in cross]
    found = []
    if cross:
        found.append(("Alignment", alignment(samples, seen, cross, short)))
    if own:
        shown = samples[:1] if cross else samples[:2]
        parts = "".join(
            itself(sample, maps, own, short) for sample, maps in zip(shown, seen, strict=False)
        )
        told = (
            "A row for each token that looks, a column for each that is looked at; mean of "
            "the heads."
        )
        told = f'<p class="soft">{told}</p>'
        found.append(
            (
                "Attention",
                told + (page.folded("Among the tokens of one side", parts) if cross else parts),
            )
        )
    return found


def alignment(
    samples: Sequence[Sample], seen: Sequence[Any], cross: Sequence[str], short: Mapping[str, str]
) -> str:
    """For each phrase the layer whose attention is sharpest; all layers and heads of the first one
    folded.
    """
    sharp = {
        path: np.mean([float(found[path].weights.amax(-1).mean()) for found in seen])
        for path in cross
    }
    best = max(cross, key=lambda path: sharp[path])
    among = (
        f" {escape(short[best])}, the sharpest of {len(cross)} layers." if len(cross) > 1 else ""
    )
    parts = [
        '<p class="soft">A row for each token that was said, a column for each token of the '
        "source; "
        f"mean of the heads.{among}</p>"
    ]
    maps = [
        matrix(sample, found[best], sample.title)
        for sample, found in zip(samples, seen, strict=True)
    ]
    parts.append(page.beside(maps))
    chosen = evenly(cross, LAYERS)
    layers = (
        [matrix(samples[0], seen[0][path], short[path]) for path in chosen]
        if len(cross) > 1
        else []
    )
    return "".join(
        [
            *parts,
            folded("Each layer", layers),
            folded("Each head", heads(samples[0], seen[0][best], short[best])),
        ]
    )


def itself(
    sample: Sample, found: Mapping[str, Attention], own: Sequence[str], short: Mapping[str, str]
) -> str:
    """The attention of tokens to each other in each layer, and the heads of the sharpest one
    folded.
    """
    chosen = evenly(own, LAYERS)
    maps = [matrix(sample, found[path], short[path]) for path in chosen]
    looking = slice(None) if sample.rows is None else list(sample.rows)
    best = max(chosen, key=lambda path: float(found[path].weights[:, :, looking].amax(-1).mean()))
    single = folded(
        f"Each head of {short[best]}, the sharpest", heads(sample, found[best], short[best])
    )
    return f"<h3>{escape(sample.title)}</h3>{page.beside(maps)}{single}"


def heads(sample: Sample, found: Attention, name: str) -> list[str]:
    """The heads of one layer by themselves; none where there is but one."""
    count = min(found.weights.shape[1], HEADS)
    return (
        [matrix(sample, found, f"{name}, head {n}", slice(n, n + 1)) for n in range(count)]
        if count > 1
        else []
    )


def matrix(sample: Sample, found: Attention, title: str, which: slice = slice(None)) -> str:
    """One attention over tokens, with their names where they are known."""
    weights = found.weights[0, which].mean(0)
    if weights.dim() > 2:  # windows, whose cells have no names
        weights = weights.mean(0)
    if found.cross:
        rows, columns = sample.said, sample.source
    else:
        rows = columns = side(sample, weights)
    across, down = (
        range(count) if wanted is None or found.cross or len(wanted) > count else wanted
        for wanted, count in ((sample.columns, weights.shape[1]), (sample.rows, weights.shape[0]))
    )
    if not found.cross and sample.rows is not None and sample.said is not None:
        rows = sample.said
    return matrices.draw_attention(
        weights[list(down)][:, list(across)].numpy(),
        named(rows, down),
        named(columns, across),
        title,
    )


def side(sample: Sample, weights: Tensor) -> Sequence[str] | None:
    """The names of the tokens that look at each other: of the source, unless only the past is
    looked at.
    """
    blind = not weights.triu(1).any()
    order = (sample.tokens, sample.source) if blind else (sample.source, sample.tokens)
    return next(
        (names for names in order if names is not None and len(names) == weights.shape[-1]), None
    )


def named(names: Sequence[str] | None, places: Sequence[int]) -> list[str] | None:
    return (
        [names[place] if place < len(names) else "" for place in places]
        if names is not None
        else None
    )


def folded(title: str, pictures: list[str]) -> str:
    return page.folded(title, page.beside(pictures)) if pictures else ""
