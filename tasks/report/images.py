"""Attention laid over images, and what the channels of a network answer to, as sections of the
report.
"""

from collections.abc import Mapping, Sequence
from html import escape

import torch
from torch import Tensor, nn

from blocks.graph.run.inspect import Attention, record_activations, record_attention
from tasks.report import overlays, page
from tasks.report.samples import HEADS, LAYERS, Sample, evenly, without_common_end

MAPPED, STAGES, CHANNELS = 3, 6, 9  # the most images, stages and channels of feature maps
EXTRA = 4  # tokens that may stand before the patches of an image: a class token, registers

Section = tuple[str, str]


def over_images(network: nn.Module, samples: Sequence[Sample]) -> list[Section]:
    """What each layer looks at, laid over the images."""
    seen = [record_attention(network, sample.batch) for sample in samples]
    size = tuple(samples[0].image.shape[1:])  # type: ignore[union-attr]
    over_image = {
        path: found for path, found in seen[0].items() if found.cross or not samples[0].cross
    }
    paths = [path for path, found in over_image.items() if spread(found, size) is not None]
    if not paths:
        return []
    chosen, short = evenly(paths, LAYERS), without_common_end(paths)
    words = {path: spread(seen[0][path], size)[0] for path in chosen}  # type: ignore[index]
    groups = by_value(words)
    told = "; ".join(
        what if len(groups) == 1 else f"{', '.join(short[path] for path in group)}: {what}"
        for what, group in groups.items()
    )
    about = (
        "Mean of the heads. The more orange a place, the more it is looked at; the number says "
        "how many times as much "
        "the most orange one is as a place is on average."
    )
    parts = [f'<p class="soft">{about} Who looks: {escape(told)}.</p>']
    for sample, found in zip(samples, seen, strict=True):
        parts.append(f"<h3>{escape(sample.title)}</h3>")
        figures = [page.figure(overlays.plain(sample.image), "input")]
        for path in chosen:
            _, heads = spread(found[path], size)  # type: ignore[misc]
            figures.append(over(sample, heads.mean(0), short[path]))
        parts.append(page.pictures(figures))
    parts += from_one_cell(samples[0], {path: seen[0][path] for path in chosen}, short)
    parts.append(
        page.folded(
            "Each head", each_head(samples[0], {path: seen[0][path] for path in chosen}, short)
        )
    )
    return [("What attention looks at", "".join(parts))]


def over(sample: Sample, weights: Tensor, words: str, mark: tuple[int, int] | None = None) -> str:
    """One attention over its image, with how far its largest weight is above the average."""
    above = float(weights.max() / weights.mean()) if weights.any() else 0.0
    return page.figure(
        overlays.overlay(sample.image, weights.numpy(), mark), f"{breakable(words)}, {above:.1f}×"
    )


def spread(found: Attention, size: tuple[int, ...]) -> tuple[str, Tensor] | None:
    """Who looks, and how much each head looks at each place of the image, (heads, rows, columns),
    if it lies on it.
    """
    if len(found.tokens) == 2 and not found.cross:
        return "all places", found.received()[0]
    weights = found.weights[0]
    shape = patch_grid(weights.shape[-1], size)
    if shape is None:
        return None
    extra = weights.shape[-1] - shape[0] * shape[1]
    if weights.shape[1] == 1:
        return "the query", weights[:, 0, extra:].unflatten(-1, shape)
    if extra and not found.cross:
        return "the class token", weights[:, 0, extra:].unflatten(-1, shape)
    return "all places", weights[:, :, extra:].mean(1).unflatten(-1, shape)


def patch_grid(tokens: int, size: tuple[int, ...]) -> tuple[int, int] | None:
    """How so many tokens lie over an image as square patches, a few others before them; None where
    they cannot.
    """
    height, width = size
    sides = [side for side in range(1, min(size) + 1) if height % side == 0 and width % side == 0]
    grids = [(height // side, width // side) for side in sides]
    fit = [
        (tokens - rows * columns, rows, columns)
        for rows, columns in grids
        if 0 <= tokens - rows * columns <= EXTRA
    ]
    return min(fit)[1:] if fit else None


def from_one_cell(
    sample: Sample, found: Mapping[str, Attention], short: Mapping[str, str]
) -> list[str]:
    """Where one cell in the middle looks, of attention on a grid."""
    figures = []
    for path, attention in found.items():
        if len(attention.tokens) == 2 and not attention.cross:
            high, wide = attention.tokens
            row, column = high // 2, wide // 2
            seen = attention.sent_from(row * wide + column)[0].mean(0)
            figures.append(over(sample, seen, short[path], (row, column)))
    title = f"<h3>{escape(sample.title)}: where the framed cell looks</h3>"
    return [title, page.pictures(figures)] if figures else []


def each_head(sample: Sample, found: Mapping[str, Attention], short: Mapping[str, str]) -> str:
    """The heads of each layer by themselves."""
    size = tuple(sample.image.shape[1:])  # type: ignore[union-attr]
    parts = []
    for path, attention in found.items():
        _, heads = spread(attention, size)  # type: ignore[misc]
        more = f", the first {HEADS} of {len(heads)}" if len(heads) > HEADS else ""
        figures = [
            over(sample, head, f"head {number}") for number, head in enumerate(heads[:HEADS])
        ]
        parts.append(f"<h3>{escape(short[path])}{more}</h3>{page.pictures(figures)}")
    return "".join(parts)


def feature_maps(
    network: nn.Module, samples: Sequence[Sample], names: Mapping[str, Sequence[str | None]]
) -> list[Section]:
    """The strongest channels at the end of each stage: of each run of nodes of one height and width
    the last.
    """
    samples = samples[:MAPPED]
    keys = samples[0].batch
    batch = {name: torch.cat([sample.batch[name] for sample in samples]) for name in keys}
    stages: list[tuple[str, Tensor]] = []
    for path, value in record_activations(network, batch).items():
        if value.dim() != 4 or not value.is_floating_point():
            continue
        axes = names.get(path, ())
        maps = (
            value.float().movedim(axes.index("dim"), 1)
            if "dim" in axes and "channels" not in axes
            else value.float()
        )
        if min(maps.shape[2:]) < 2:
            continue
        if stages and stages[-1][1].shape[2:] == maps.shape[2:]:
            stages.pop()
        stages.append((path, maps))
    parts = [stage(path, maps, samples) for path, maps in evenly(stages, STAGES)]
    told = (
        "Channels from dark to bright, each on its own scale; the strongest on these images "
        "come first."
    )
    return [("Feature maps", f'<p class="soft">{told}</p>' + "".join(parts))] if parts else []


def stage(path: str, maps: Tensor, samples: Sequence[Sample]) -> str:
    """The strongest channels of one node."""
    strongest = maps.abs().mean((0, 2, 3)).argsort(descending=True)[:CHANNELS].tolist()
    picture = overlays.tiles([sample.image for sample in samples], maps[:, strongest].numpy())
    high, wide = maps.shape[2:]
    words = f"{path}: channels {', '.join(map(str, strongest))} of {maps.shape[1]}, {high} × {wide}"
    return page.sheet(picture, words)


def breakable(path: str) -> str:
    """A path that may go on in the next line behind each point."""
    return path.replace(".", ".\u200b")


def by_value(words: Mapping[str, str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for key, value in words.items():
        found.setdefault(value, []).append(key)
    return found
