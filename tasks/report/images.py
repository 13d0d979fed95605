"""Attention over images, and the feature maps of a network, as sections of the report."""

from collections.abc import Mapping, Sequence
from html import escape

import torch
from torch import Tensor, nn

from blocks.graph.run.inspect import Attention, record_activations, record_attention
from tasks.report import overlays, page
from tasks.report.samples import HEADS, LAYERS, Sample, pick_evenly, shorten_paths

MAP_SAMPLES, STAGES, CHANNELS = 3, 6, 9  # the most images, stages and channels of feature maps
EXTRA_TOKENS = 4  # that may precede the patches of an image: a class token, registers

Section = tuple[str, str]
Maps = Mapping[str, Attention]  # the attention of a sample by path of the node
AxisNames = Mapping[str, Sequence[str | None]]

ABOUT_ATTENTION = (
    "Mean of the heads. The more orange a place, the larger its attention weight; the number is "
    "the ratio of the largest weight to the mean."
)
ABOUT_CHANNELS = (
    "Channels from dark to bright, each on its own scale; the strongest on these images come first."
)


def over_images(network: nn.Module, samples: Sequence[Sample]) -> list[Section]:
    """Return the section on the attention of each layer, drawn over the images; none where no
    attention is over the image.
    """
    maps = [record_attention(network, sample.batch) for sample in samples]
    size = image_size(samples[0])
    lookers = {}
    for path, found in maps[0].items():
        seen = spread(found, size) if found.cross or not samples[0].cross else None
        if seen is not None:
            lookers[path] = seen[0]
    if not lookers:
        return []
    paths = list(lookers)
    names = shorten_paths(paths)
    chosen = pick_evenly(paths, LAYERS)
    shown, queries = {}, {}
    for path in chosen:
        shown[path], queries[path] = maps[0][path], lookers[path]
    about = f"{ABOUT_ATTENTION} The queries: {escape(describe_queries(queries, names))}."
    parts = [f'<p class="soft">{about}</p>']
    for sample, layers in zip(samples, maps, strict=True):
        parts.append(draw_layers(sample, layers, chosen, names))
    parts.append(draw_from_cell(samples[0], shown, names))
    parts.append(page.folded("Each head", draw_heads(samples[0], shown, names)))
    return [("Attention over images", "".join(parts))]


def image_size(sample: Sample) -> tuple[int, int]:
    """Return height and width of the image of a sample."""
    assert sample.image is not None
    height, width = sample.image.shape[1:]
    return height, width


def describe_queries(queries: Mapping[str, str], names: Mapping[str, str]) -> str:
    """Return the queries of each layer: "all places", or "layers.0: all places; head: one query".

    Args:
        queries: by path of the layer.
        names: the short name of each path.
    """
    groups: dict[str, list[str]] = {}
    for path, query in queries.items():
        groups.setdefault(query, []).append(names[path])
    if len(groups) == 1:
        return next(iter(groups))
    return "; ".join(f"{', '.join(layers)}: {query}" for query, layers in groups.items())


def draw_layers(sample: Sample, maps: Maps, paths: Sequence[str], names: Mapping[str, str]) -> str:
    """Return one image and the attention of each layer over it."""
    size = image_size(sample)
    figures = [page.figure(overlays.plain(sample.image), "input")]
    for path in paths:
        seen = spread(maps[path], size)
        assert seen is not None
        figures.append(draw_weights(sample, seen[1].mean(0), names[path]))
    return f"<h3>{escape(sample.title)}</h3>{page.pictures(figures)}"


def draw_weights(
    sample: Sample, weights: Tensor, caption: str, mark: tuple[int, int] | None = None
) -> str:
    """Return attention weights over their image, with the ratio of the largest to the mean.

    Args:
        weights: (rows, columns).
        mark: the cell to frame.
    """
    ratio = float(weights.max() / weights.mean()) if weights.any() else 0.0
    drawn = overlays.overlay(sample.image, weights.numpy(), mark)
    return page.figure(drawn, f"{allow_breaks(caption)}, {ratio:.1f}×")


def spread(found: Attention, size: tuple[int, ...]) -> tuple[str, Tensor] | None:
    """Spread the weights of each head over the image.

    Returns:
        The queries, and the weights (heads, rows, columns); None where the keys are no image.
    """
    if len(found.tokens) == 2 and not found.cross:
        return "all places", found.received()[0]
    weights = found.weights[0]
    shape = patch_grid(weights.shape[-1], size)
    if shape is None:
        return None
    extra = weights.shape[-1] - shape[0] * shape[1]
    patches = weights[:, :, extra:]
    if weights.shape[1] == 1:
        return "one query", patches[:, 0].unflatten(-1, shape)
    if extra and not found.cross:
        return "the class token", patches[:, 0].unflatten(-1, shape)
    return "all places", patches.mean(1).unflatten(-1, shape)


def patch_grid(tokens: int, size: tuple[int, ...]) -> tuple[int, int] | None:
    """Return rows and columns of the square patches that give an image this many tokens, with as
    few extra tokens as possible; None where no patches do.
    """
    height, width = size
    best = None
    for side in range(1, min(size) + 1):
        if height % side or width % side:
            continue
        rows, columns = height // side, width // side
        extra = tokens - rows * columns
        if 0 <= extra <= EXTRA_TOKENS and (best is None or extra < best[0]):
            best = (extra, rows, columns)
    return best[1:] if best else None


def draw_from_cell(sample: Sample, maps: Maps, names: Mapping[str, str]) -> str:
    """Return the attention of the cell in the middle, for attention on a grid, else ""."""
    figures = []
    for path, found in maps.items():
        if len(found.tokens) != 2 or found.cross:
            continue
        rows, columns = found.tokens
        row, column = rows // 2, columns // 2
        weights = found.sent_from(row * columns + column)[0].mean(0)
        figures.append(draw_weights(sample, weights, names[path], (row, column)))
    if not figures:
        return ""
    title = f"<h3>{escape(sample.title)}: attention of the framed cell</h3>"
    return title + page.pictures(figures)


def draw_heads(sample: Sample, maps: Maps, names: Mapping[str, str]) -> str:
    """Return the heads of each layer, one by one."""
    size = image_size(sample)
    parts = []
    for path, found in maps.items():
        seen = spread(found, size)
        assert seen is not None
        heads = seen[1]
        title = escape(names[path])
        if len(heads) > HEADS:
            title += f", the first {HEADS} of {len(heads)}"
        figures = []
        for number, head in enumerate(heads[:HEADS]):
            figures.append(draw_weights(sample, head, f"head {number}"))
        parts.append(f"<h3>{title}</h3>{page.pictures(figures)}")
    return "".join(parts)


def feature_maps(network: nn.Module, samples: Sequence[Sample], names: AxisNames) -> list[Section]:
    """Return the section with the strongest channels at the end of each stage: consecutive nodes
    whose outputs have the same height and width.

    Args:
        names: the names of the axes of each node's output, by path.
    """
    samples = samples[:MAP_SAMPLES]
    batch = {}
    for name in samples[0].batch:
        batch[name] = torch.cat([sample.batch[name] for sample in samples])
    stages: list[tuple[str, Tensor]] = []
    for path, value in record_activations(network, batch).items():
        maps = channels_first(value, names.get(path, ()))
        if maps is None:
            continue
        if stages and stages[-1][1].shape[2:] == maps.shape[2:]:
            stages.pop()
        stages.append((path, maps))
    if not stages:
        return []
    drawn = [draw_stage(path, maps, samples) for path, maps in pick_evenly(stages, STAGES)]
    return [("Feature maps", f'<p class="soft">{ABOUT_CHANNELS}</p>{"".join(drawn)}')]


def channels_first(value: Tensor, axes: Sequence[str | None]) -> Tensor | None:
    """Return an output as (batch, channels, height, width); None where it is no image."""
    if value.dim() != 4 or not value.is_floating_point():
        return None
    maps = value.float()
    if "dim" in axes and "channels" not in axes:
        maps = maps.movedim(axes.index("dim"), 1)
    return maps if min(maps.shape[2:]) >= 2 else None


def draw_stage(path: str, maps: Tensor, samples: Sequence[Sample]) -> str:
    """Return the strongest channels of one node."""
    strongest = maps.abs().mean((0, 2, 3)).argsort(descending=True)[:CHANNELS].tolist()
    drawn = overlays.tiles([sample.image for sample in samples], maps[:, strongest].numpy())
    height, width = maps.shape[2:]
    channels = f"channels {', '.join(map(str, strongest))} of {maps.shape[1]}"
    return page.sheet(drawn, f"{path}: {channels}, {height} × {width}")


def allow_breaks(path: str) -> str:
    """Return a path that may be broken into lines after each point."""
    return path.replace(".", ".\u200b")
