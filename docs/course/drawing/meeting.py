"""Pictures of lessons 11, 13 and 14: patches and words that meet, modern blocks, hidden patches."""

import matplotlib.pyplot as plt
import torch
from drawing.canvas import COLOURS, digit_images, hide_ticks, open_network, save, scaled
from torch import Tensor, nn

# Cross-attention ----------------------------------------------------------------------------------


def draw_cat(folder: str) -> None:
    """What one cell of a trained CAT sees: inside its patch, between patches, and after both."""
    from blocks.graph.run.inspect import record_attention

    network = open_network(folder)
    image = digit_images(4)[3:]
    found = record_attention(network, {"image": scaled(image)})
    inner = found["stages.0.units.0.inner.inner"].sent_from(27)[0].mean(0)
    cross = found["stages.0.units.0.cross.inner"].weights[0].mean(0)
    figure, axes = plt.subplots(1, 5, figsize=(13, 2.9))
    axes[0].imshow(image[0, 0], cmap="gray_r")
    axes[0].set_title("image, and a cell", fontsize=10)
    axes[1].imshow(inner, cmap="viridis")
    axes[1].set_title("inside its patch: weights", fontsize=10)
    axes[2].imshow(cross, cmap="viridis", vmin=0)
    axes[2].set_title("4 patches among each other", fontsize=10)
    for row in range(4):
        for column in range(4):
            share = f"{cross[row, column]:.2f}"
            axes[2].text(column, row, share, ha="center", va="center", color="white", fontsize=9)
    for axis, without, title in (
        (axes[3], True, "reached without cross"),
        (axes[4], False, "reached with it"),
    ):
        reached = find_reach(network, scaled(image), without)
        axis.imshow(reached, cmap="Blues", vmin=0, vmax=1.6)
        axis.set_title(f"{title}: {int(reached.sum())} of 64", fontsize=10)
        print(f"cat: {title}: {int(reached.sum())} of 64 cells")
    for axis in (axes[0], axes[1], axes[3], axes[4]):
        axis.plot(3, 3, marker="o", color=COLOURS[1])
    hide_ticks(axes)
    save(figure, "cat")


def find_reach(network: nn.Module, image: Tensor, without: bool) -> Tensor:
    """Return which pixels one cell of the first unit's output depends on: (height, width).

    Args:
        network: a CAT.
        image: one image.
        without: whether the attention between patches is left out.
    """
    unit = network.get_submodule("stages.0.units.0")
    kept: list[Tensor] = []
    handles = [unit.register_forward_hook(lambda module, inputs, output: kept.append(output))]
    if without:
        cross = unit.get_submodule("cross.inner")
        handles.append(cross.register_forward_hook(lambda module, inputs, output: 0 * output))
    x = image.clone().requires_grad_()
    network(image=x)
    for handle in handles:
        handle.remove()
    (gradient,) = torch.autograd.grad(kept[0][0, 3, 3].sum(), x)
    return gradient[0, 0] != 0


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
