"""Pictures and numbers of lessons 1 to 6: gradients through time, masks, windows, fields, and what
trained vision networks look at.
"""

from typing import Any

import matplotlib.pyplot as plt
import torch
from drawing.canvas import (
    COLOURS,
    digit_images,
    hide_ticks,
    open_network,
    put_title,
    rounded,
    save,
    scaled,
    write_numbers,
)
from torch import Tensor, nn

GRID, WINDOW, SHIFT = 8, 4, 2  # cells: as the note draws it

# Windows ------------------------------------------------------------------------------------------


def describe_windows() -> dict[str, Any]:
    """Return the cells, the regions and the allowed pairs of shifted windows.

    "cells" are the windows of `WindowAttention.places`, "regions" number the pieces from 1 to 9 in
    reading order of the rolled grid, and "allowed" says for each window which cell may see which.
    """
    from blocks.attention.window import WindowAttention, neighbour_mask

    block = WindowAttention(2, GRID, GRID, heads=1, window=WINDOW, shift=SHIFT)
    plain = WindowAttention(2, GRID, GRID, heads=1, window=WINDOW)
    shift = block.shifts((GRID, GRID))
    mask = neighbour_mask((GRID, GRID), block.window, shift)[:, 0]
    edges = torch.tensor([GRID - WINDOW, GRID - SHIFT])
    band = torch.bucketize(torch.arange(GRID), edges, right=True)
    return {
        "grid": GRID,
        "window": WINDOW,
        "shift": SHIFT,
        "plain": plain.places(GRID, GRID).tolist(),
        "cells": block.places(GRID, GRID).tolist(),
        "regions": (3 * band[:, None] + band + 1).tolist(),
        "allowed": (mask == 0).int().tolist(),
    }


def draw_regions() -> None:
    """The nine regions of the rolled grid, and the mask of each of the four windows."""
    found = describe_windows()
    regions = torch.tensor(found["regions"])
    figure, axes = plt.subplots(1, 5, figsize=(11.5, 2.9), width_ratios=[1.15, 1, 1, 1, 1])
    axes[0].imshow(regions, cmap="Pastel1", vmin=1, vmax=9)
    for number in range(1, 10):
        rows, columns = (regions == number).nonzero(as_tuple=True)
        middle = (columns.double().mean().item(), rows.double().mean().item())
        axes[0].annotate(str(number), middle, ha="center", va="center", fontsize=15)
    for edge in (-0.5, WINDOW - 0.5, GRID - 0.5):
        axes[0].axhline(edge, color="black", linewidth=2)
        axes[0].axvline(edge, color="black", linewidth=2)
    put_title(axes[0], f"rolled by {SHIFT}: nine regions,", f"four windows of {WINDOW}x{WINDOW}")
    windows = ["1", "2, 3", "4, 7", "5, 6, 8, 9"]
    for axis, allowed, held in zip(axes[1:], found["allowed"], windows, strict=True):
        axis.imshow(torch.tensor(allowed), cmap="Blues", vmin=0, vmax=1.6)
        put_title(axis, f"window with {held}")
        axis.set_xlabel("key")
    axes[1].set_ylabel("query")
    hide_ticks(axes)
    save(figure, "swin_regions")


def draw_reach() -> None:
    """The gradient of one output cell with respect to every input cell, one layer and two."""
    from blocks.attention.window import WindowAttention

    torch.manual_seed(0)
    figure, axes = plt.subplots(1, 3, figsize=(8.6, 3.1))
    titles = ["one layer", "two layers, no shift", "two layers, the second shifted"]
    for axis, shifts, title in zip(axes, ([0], [0, 0], [0, SHIFT]), titles, strict=True):
        layers = [
            WindowAttention(16, GRID, GRID, heads=2, window=WINDOW, shift=shift) for shift in shifts
        ]
        x = torch.randn(1, GRID, GRID, 16, requires_grad=True)
        nn.Sequential(*layers)(x)[0, 3, 3].sum().backward()
        assert x.grad is not None
        size = x.grad[0].norm(dim=-1)
        axis.imshow(size > 0, cmap="Blues", vmin=0, vmax=1.6)
        axis.plot(3, 3, marker="o", color=COLOURS[1])
        reached = int((size > 0).sum())
        put_title(axis, f"{title}:", f"{reached} of {GRID * GRID} cells")
        axis.set_xticks([])
        axis.set_yticks([])
        print(f"swin_reach: {title}: gradient not 0 at {reached} of {GRID * GRID} cells")
    save(figure, "swin_reach")


def draw_masks() -> None:
    """Which key each query may see, in the three attentions of a Transformer: computed by removing
    a key and looking whether the output changes.
    """
    from blocks.attention.cross import CrossAttention
    from blocks.attention.dot_product import SelfAttention

    torch.manual_seed(0)
    places, width = 6, 16
    x, memory = torch.randn(1, places, width), torch.randn(1, places, width)
    padding = torch.arange(places)[None] < places - 2
    encoder, decoder = SelfAttention(width, heads=2), SelfAttention(width, heads=2, causal=True)
    cross = CrossAttention(width, width, heads=2)
    kinds = {
        "encoder, two places padded": lambda keys: encoder(keys, padding_mask=padding),
        "decoder, causal": decoder,
        "cross, two places padded": lambda keys: cross(x, keys, padding_mask=padding),
    }
    figure, axes = plt.subplots(1, 3, figsize=(8.6, 3.1))
    for axis, (title, run) in zip(axes, kinds.items(), strict=True):
        keys = memory if title.startswith("cross") else x
        axis.imshow(find_influence(run, keys), cmap="Blues", vmin=0, vmax=1.6)
        axis.set(title=title, xlabel="changed input", ylabel="output", xticks=[], yticks=[])
    save(figure, "transformer_masks")


def find_influence(run: Any, keys: Tensor) -> Tensor:
    """Return which place of the output each place of the input changes: (queries, keys)."""
    before = run(keys)
    columns = []
    for place in range(keys.shape[1]):
        changed = keys.clone()
        changed[:, place] += 1.0
        moved = (run(changed) - before)[0].abs().amax(-1)
        columns.append(moved > 0)
    return torch.stack(columns, dim=1)


# Receptive fields ---------------------------------------------------------------------------------


def describe_fields() -> dict[str, Any]:
    """Return which pixels each cell of four layers of `model=cnn` sees, along one axis: [first,
    last] where the gradient of the cell is not 0. All weights are positive, so that no ReLU closes.
    """
    from blocks.graph import build

    size = 32
    network = build("cnn", ["params.width=2"], {"image": [1, size, size], "classes": 2}).eval()
    with torch.no_grad():
        for weight in network.parameters():
            weight.abs_()
    layers = []
    for name in ("stem", "stages.0", "stages.1", "stages.2"):
        x = torch.ones(1, 1, size, size, requires_grad=True)
        cells = find_pixels(network, name, x)
        layers.append({"name": name, "cells": cells})
    return {"size": size, "layers": layers}


def find_pixels(network: nn.Module, name: str, x: Tensor) -> list[list[int]]:
    """Return the first and the last row that each cell of the diagonal of a layer sees."""
    kept: list[Tensor] = []
    hook = network.get_submodule(name).register_forward_hook(
        lambda module, inputs, output: kept.append(output)
    )
    network(image=x)
    hook.remove()
    found = []
    for place in range(kept[0].shape[-1]):
        (gradient,) = torch.autograd.grad(kept[0][0, :, place, place].sum(), x, retain_graph=True)
        rows = gradient[0, 0].abs().sum(1).nonzero()
        found.append([int(rows.min()), int(rows.max())])
    return found


# Runs ---------------------------------------------------------------------------------------------


def draw_gradients(runs: dict[str, str]) -> None:
    """How much the answer depends on each earlier token: the gradient of the right logit with
    respect to the embedding of each place.
    """
    figure, axis = plt.subplots(figsize=(6.4, 3.2))
    for (label, folder), colour in zip(runs.items(), COLOURS, strict=False):
        size = measure_gradient(open_network(folder))
        steps = torch.arange(len(size)) - (len(size) - 1)
        axis.semilogy(steps, size.clamp_min(1e-16), marker="o", ms=3, label=label, color=colour)
        print(f"rnn_gradient: {label}: at the symbol {size[0]:.2e}, at the end {size[-1]:.2e}")
    axis.set(xlabel="steps before the answer", ylabel="gradient norm")
    axis.set_xticks(range(-20, 1, 4))
    axis.grid(alpha=0.3)
    axis.legend()
    save(figure, "rnn_gradient")


def measure_gradient(network: nn.Module) -> Tensor:
    """Return the mean norm over 64 sequences, one number a place."""
    generator = torch.Generator().manual_seed(0)
    places = 21
    tokens = torch.randint(0, 8, (64, places), generator=generator)
    kept: list[Tensor] = []

    def keep(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        held = output.detach().requires_grad_()
        kept.append(held)
        return held

    embedding = network.get_submodule("embedding")
    handle = embedding.register_forward_hook(keep)
    logits = network(tokens)["logits"]
    handle.remove()
    logits[:, -1].max(-1).values.sum().backward()
    assert kept[0].grad is not None
    return kept[0].grad.norm(dim=-1).mean(0)


def draw_vit(folder: str) -> None:
    """What the class token looks at in each layer; and all weights for the interactive part."""
    from blocks.graph.run.inspect import record_attention

    images = digit_images(6)
    found = record_attention(open_network(folder), {"image": scaled(images)})
    figure, axes = plt.subplots(len(found) + 1, 6, figsize=(8.4, 1.5 * len(found) + 1.5))
    for column in range(6):
        axes[0, column].imshow(images[column, 0], cmap="gray_r")
        for row, attention in enumerate(found.values(), 1):
            side = int((attention.weights.shape[-1] - 1) ** 0.5)
            sent = attention.weights[column, :, 0, 1:].mean(0).unflatten(0, (side, side))
            axes[row, column].imshow(sent, cmap="viridis")
            axes[row, 0].set_ylabel(f"layer {row}")
    hide_ticks(axes)
    save(figure, "vit_attention")
    weights = [rounded(attention.weights[3], 3) for attention in found.values()]
    write_numbers("attention", {"image": rounded(images[3, 0], 2), "layers": weights})


def draw_cnn(folder: str) -> None:
    """The kernels of the first convolution, and what each answers to one image."""
    network = open_network(folder)
    first = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
    image = digit_images(4)[3:]
    with torch.no_grad():
        maps = network.get_submodule("stem")(scaled(image))[0]
    count = min(8, len(maps))
    figure, axes = plt.subplots(2, count + 1, figsize=(1.25 * (count + 1), 2.9))
    axes[1, 0].imshow(image[0, 0], cmap="gray_r")
    axes[0, 0].axis("off")
    for place in range(count):
        kernel = first.weight[place, 0].detach()
        bound = kernel.abs().max()
        axes[0, place + 1].imshow(kernel, cmap="RdBu", vmin=-bound, vmax=bound)
        axes[1, place + 1].imshow(maps[place], cmap="viridis")
    axes[0, 1].set_title("kernels", fontsize=9, loc="left")
    axes[1, 1].set_title("feature maps after norm and ReLU", fontsize=9, loc="left")
    hide_ticks(axes)
    save(figure, "cnn_features")
