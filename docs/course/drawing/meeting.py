"""Pictures of lessons 13 and 14: modern blocks, hidden patches."""

import matplotlib.pyplot as plt
import torch
from drawing.canvas import COLOURS, digit_images, hide_ticks, open_network, save, scaled
from torch import Tensor

# Modern blocks ------------------------------------------------------------------------------------

STEPS = {  # from GPT to Llama, a word or two at a time
    "GPT": [],
    "RMSNorm": ["model/norm=rmsnorm"],
    "rotary": ["model/position=rotary"],
    "SwiGLU": ["model/mlp=swiglu"],
    "grouped": ["model/attention=grouped"],
}


def draw_modern() -> None:
    """Parameters, multiply-adds and cache of a small GPT after each step, as shares of the GPT."""
    found = measure_modern()
    names = list(found)
    figure, axes = plt.subplots(1, 3, figsize=(11.5, 3), layout="constrained")
    kinds = {"parameters": "parameters", "macs": "multiply-adds", "cache": "numbers kept a token"}
    for axis, (kind, title) in zip(axes, kinds.items(), strict=True):
        values = [found[name][kind] for name in names]
        axis.bar(names, values, color=COLOURS[: len(names)])
        axis.set_title(title)
        axis.tick_params(axis="x", rotation=20)
    for name, costs in found.items():
        print(f"modern: {name}: {costs}")
    save(figure, "modern")


def measure_modern() -> dict[str, dict[str, int]]:
    """Return what each step costs; every step keeps those before it."""
    from blocks.graph import compose, plan
    from blocks.graph.describe.cost import measure
    from blocks.graph.describe.table import describe

    start = ["model=gpt", "data=topics", "task=language", "model.params.dropout=0"]
    start += ["model.params.dim=64", "model.params.depth=2"]
    found: dict[str, dict[str, int]] = {}
    words = list(start)
    facts = {"tokens": {"tokens": 128, "dtype": "int", "vocab": 108}, "vocab": 108}
    for name, added in STEPS.items():
        words += added
        planned = plan(compose(words), facts)
        described = describe(planned, measure(planned))
        heads = 1 if name == "grouped" else 4
        found[name] = {
            "parameters": described["parameters"],
            "macs": described["macs"],
            "cache": 2 * 2 * heads * 16,
        }
    return found


# Hidden patches -----------------------------------------------------------------------------------


def draw_hidden(folder: str) -> None:
    """Six digits, what a masked autoencoder sees of them, and what it makes of that."""
    network = open_network(folder).eval()
    images = scaled(digit_images(6))
    noise = torch.rand(6, 16, generator=torch.Generator().manual_seed(0))
    network.train()  # only in training are patches hidden
    with torch.no_grad():
        found = network(image=images, noise=noise)
    side = 4
    hidden = found["mask"].unflatten(1, (side, side))
    whole = join_patches(found["reconstruction"])
    shown = hidden.repeat_interleave(2, 1).repeat_interleave(2, 2)
    figure, axes = plt.subplots(3, 6, figsize=(8.4, 4.3))
    for column in range(6):
        image = images[column, 0]
        seen = image.masked_fill(shown[column], float("nan"))
        filled = torch.where(shown[column], whole[column], image)
        for row, values in enumerate((image, seen, filled)):
            axes[row, column].imshow(values, cmap="gray_r", vmin=image.min(), vmax=image.max())
            axes[row, column].set_facecolor("#7aa8f5")
    for row, title in enumerate(("image", "what it sees", "what it fills in")):
        axes[row, 0].set_ylabel(title)
    hide_ticks(axes)
    error = (whole - images[:, 0])[shown].square().mean()
    constant = images[:, 0][shown].var(correction=0)
    print(f"hidden: squared error {error:.3f}, of the mean {constant:.3f}")
    save(figure, "hidden_patches")


def join_patches(patches: Tensor) -> Tensor:
    """(batch, 16, 4) values of patches of 2x2 -> (batch, 8, 8)."""
    grid = patches.unflatten(1, (4, 4)).unflatten(-1, (2, 2))
    return grid.permute(0, 1, 3, 2, 4).flatten(3, 4).flatten(1, 2)
