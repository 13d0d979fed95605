"""Pictures of lessons 11, 13 and 14: patches and words that meet, modern blocks, hidden patches."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import torch
from drawing.canvas import COLOURS, digit_images, hide_ticks, open_network, put_title, save, scaled
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
    axes[2].imshow(cross, cmap="viridis", vmin=0, vmax=0.6)
    axes[2].set_title("weights of 4 patches", fontsize=10)
    for row in range(4):
        for column in range(4):
            share = f"{cross[row, column]:.2f}"
            axes[2].text(column, row, share, ha="center", va="center", color="white", fontsize=9)
    for axis, without, title in (
        (axes[3], True, "without cross"),
        (axes[4], False, "with cross"),
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


ASKED = (
    "what is the top left digit",
    "what is the bottom right digit",
    "which digit is the largest",
    "is there a seven",
    "sum of the left column",
)


def read_questions(folder: str) -> Any:
    """Return the data of a run that answers questions, with the samples of its test."""
    from tasks.data.text.questions import Questions
    from tasks.run.load_run import open_run

    named = open_run(Path(folder)).config["data"].items()
    data = Questions(**{name: value for name, value in named if name not in ("_target_", "facts")})
    data.setup("test")
    return data


def find_different(digits: Tensor) -> int:
    """Return the first row without a digit that occurs twice."""
    return next(row for row, each in enumerate(digits.tolist()) if len(set(each)) == len(each))


def ask_questions(data: Any, asked: Sequence[str]) -> dict[str, Tensor]:
    """Return a batch with each question about the first image of the test with four digits."""
    from tasks.data.sequences.base import pad_rows
    from tasks.data.text.tokenizer import PAD

    kept = data.parts["test"]
    rows = [data.tokenizer.encode(text) for text in asked]
    question = pad_rows(rows, kept["question"].shape[1], PAD)
    image = kept["image"][find_different(kept["digits"])].expand(len(asked), -1, -1, -1)
    return {"image": image, "question": question, "question_mask": question != PAD}


def draw_question(folder: str) -> None:
    """Where five questions look in one image, and how often a place is found."""
    from blocks.graph.run.inspect import record_attention
    from tasks.data.text.questions import PLACES

    network, data = open_network(folder), read_questions(folder)
    kept, texts = data.parts["test"], data.names("test")
    batch = ask_questions(data, ASKED)
    image = batch["image"][0, 0]
    (look,) = (each.weights for each in record_attention(network, batch).values() if each.cross)
    with torch.no_grad():
        answers = network(**batch)["logits"].argmax(-1).tolist()
    figure, axes = plt.subplots(1, len(ASKED), figsize=(13, 3), layout="constrained")
    for axis, text, weights, answer in zip(axes, ASKED, look[:, :, 0], answers, strict=True):
        axis.imshow(image, cmap="gray_r")
        for place, shares in enumerate(weights.T):  # of a patch, a number a head
            across, down = 8 * (place % 2), 8 * (place // 2)
            corner, alpha = (across - 0.5, down - 0.5), 0.6 * float(shares.mean())
            axis.add_patch(plt.Rectangle(corner, 8, 8, color=COLOURS[0], alpha=alpha))
            share = f"{100 * shares.mean():.0f} %"
            white = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
            axis.text(across + 3.5, down + 6.7, share, ha="center", fontsize=9, bbox=white)
        put_title(axis, f"{text}?", data.classes[answer], size=9)
    hide_ticks(axes)
    save(figure, "question")
    print("question: digits", kept["digits"][find_different(kept["digits"])].tolist())
    chosen = (kept["kind"] == data.kinds.index("place")).nonzero()[:, 0].tolist()
    wanted = [next(n for n, place in enumerate(PLACES) if place in texts[row]) for row in chosen]
    names = ("image", "question", "question_mask")
    found = record_attention(network, {name: kept[name][chosen] for name in names})
    (look,) = (each.weights[:, :, 0] for each in found.values() if each.cross)
    found_shares = look[range(len(chosen)), :, wanted].mean(0)
    print(f"question: weight on the place that is asked for, by head {found_shares.tolist()}")


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
