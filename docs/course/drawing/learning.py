"""Pictures of lessons 7, 8 and 10: gradients along layers, a loss surface, functions, depth."""

from collections.abc import Callable
from typing import Any

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from drawing.canvas import (
    COLOURS,
    all_digits,
    digit_images,
    open_network,
    save,
    scaled,
)
from torch import Tensor, nn
from torch.func import functional_call

DIGITS = {"image": [1, 8, 8], "classes": 10}
SEEDS = 5  # of initial weights, for what is measured before training

# Back-propagation ---------------------------------------------------------------------------------


def draw_backprop() -> None:
    """Gradients along the layers of a perceptron, and three walks over a plane of its loss."""
    figure, axes = plt.subplots(1, 3, figsize=(12.5, 3.5), layout="constrained")
    draw_layers(axes[0])
    loss = make_plane()
    draw_walks(axes[1], axes[2], loss)
    save(figure, "backprop")
    compare_with_differences()


def draw_layers(axis: Any) -> None:
    """The norm of the gradient at the output of each of ten layers, before any training."""
    images, labels = all_digits()
    depth = 10
    kinds = [("tanh", "torch"), ("tanh", "xavier"), ("relu", "torch"), ("relu", "xavier")]
    for (activation, start), colour in zip(kinds, COLOURS, strict=False):
        overrides = [
            f"model/activation={activation}",
            f"model/initialise={start}",
            f"params.depth={depth}",
        ]
        sizes = torch.stack(
            [
                layer_gradients(build_small("mlp", overrides, seed), images[:256], labels[:256])
                for seed in range(SEEDS)
            ]
        )
        mean = sizes.log().mean(0).exp()
        label = f"{activation}, {start}"
        axis.semilogy(range(1, depth + 1), mean, marker="o", ms=3, label=label, color=colour)
        print(f"backprop: {label}: layer 1 {mean[0]:.2e}, layer {depth} {mean[-1]:.2e}")
    axis.set(xlabel="layer", ylabel="norm of the loss's gradient", title="at each layer's output")
    axis.legend(fontsize=8)
    axis.grid(alpha=0.3)


def build_small(name: str, overrides: list[str], seed: int) -> nn.Module:
    """Return an untrained network for the digits, with the weights of a seed."""
    from blocks.graph import build

    torch.manual_seed(seed)
    return build(name, overrides, DIGITS)


def layer_gradients(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Return the norm of the gradient at the output of each repeat of `layers`."""
    kept: list[Tensor] = []

    def keep(module: nn.Module, inputs: Any, output: Tensor) -> None:
        output.retain_grad()
        kept.append(output)

    layers = network.get_submodule("layers")
    handles = [layer.register_forward_hook(keep) for layer in layers.children()]
    F.cross_entropy(network(image=images)["logits"], labels).backward()
    for handle in handles:
        handle.remove()
    return torch.stack([output.grad.norm() for output in kept if output.grad is not None])


def make_plane() -> Callable[[Tensor], Tensor]:
    """Return the loss of a perceptron in a plane of its weights, through its initial weights.

    The first axis is the direction of the first gradient, the second that of the gradient one
    step later, made orthogonal to the first. Both axes have the unit length 1.
    """
    images, labels = all_digits()
    network = build_small("mlp", [], 0)
    start = {name: weight.detach() for name, weight in network.named_parameters()}

    def loss_at(weights: dict[str, Tensor]) -> Tensor:
        output = functional_call(network, weights, kwargs={"image": images})
        return F.cross_entropy(output["logits"], labels)

    def gradient_at(weights: dict[str, Tensor]) -> dict[str, Tensor]:
        held = {name: weight.clone().requires_grad_() for name, weight in weights.items()}
        found = torch.autograd.grad(loss_at(held), list(held.values()))
        return dict(zip(held, found, strict=True))

    first = unit(gradient_at(start))
    moved = {name: start[name] - 3.0 * first[name] for name in start}
    second = gradient_at(moved)
    along = sum(float((second[name] * first[name]).sum()) for name in start)
    second = unit({name: second[name] - along * first[name] for name in start})

    def plane(point: Tensor) -> Tensor:
        weights = {
            name: start[name] + point[0] * first[name] + point[1] * second[name] for name in start
        }
        return loss_at(weights)

    return plane


def unit(direction: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return a direction in the space of all weights with length 1."""
    length = sum(float(part.square().sum()) for part in direction.values()) ** 0.5
    return {name: part / length for name, part in direction.items()}


def draw_walks(surface: Any, curve: Any, loss: Callable[[Tensor], Tensor]) -> None:
    """Gradient descent from one point with three rates, on the surface and over the steps."""
    side = torch.linspace(-14, 6, 33)
    with torch.no_grad():
        heights = torch.stack(
            [torch.stack([loss(torch.stack((x, y))) for x in side]) for y in side]
        )
    surface.contourf(side, side, heights.log(), levels=24, cmap="Greys")
    for rate, colour in zip((0.1, 1.0, 1.6), COLOURS, strict=False):
        point = torch.tensor([2.0, 5.0])
        places, losses = [point], []
        for _ in range(60):
            held = point.clone().requires_grad_()
            value = loss(held)
            (gradient,) = torch.autograd.grad(value, held)
            point = point - rate * gradient
            places.append(point)
            losses.append(value.item())
        walk = torch.stack(places)
        surface.plot(walk[:, 0], walk[:, 1], marker="o", ms=3, lw=1, color=colour)
        curve.semilogy(losses, label=f"η = {rate:g}", color=colour)
        print(f"backprop: rate {rate:g}: loss {losses[0]:.3f}, after 59 steps {losses[-1]:.3f}")
    surface.set(xlim=(-14, 6), ylim=(-14, 6), title="w - η · gradient on the loss surface")
    hide_ticks_of(surface)
    curve.set(xlabel="step", ylabel="loss")
    curve.legend()
    curve.grid(alpha=0.3)


def hide_ticks_of(axis: Any) -> None:
    """Remove the ticks of one axis."""
    axis.set_xticks([])
    axis.set_yticks([])


def compare_with_differences() -> None:
    """Print how far back-propagation is from (L(w + h) - L(w - h)) / 2h, in float64."""
    images, labels = all_digits()
    network = build_small("mlp", ["params.hidden=16"], 0).double()
    weight = network.get_parameter("layers.0.linear.weight")

    def loss() -> Tensor:
        return F.cross_entropy(network(image=images[:64].double())["logits"], labels[:64])

    (gradient,) = torch.autograd.grad(loss(), weight)
    step, furthest = 1e-6, 0.0
    with torch.no_grad():
        for place in range(0, weight.numel(), 7):
            entry = weight.view(-1)[place]
            before = entry.item()
            entry.fill_(before + step)
            above = loss().item()
            entry.fill_(before - step)
            below = loss().item()
            entry.fill_(before)
            slope = (above - below) / (2 * step)
            furthest = max(furthest, abs(slope - gradient.view(-1)[place].item()))
    print(f"backprop: largest distance from finite differences {furthest:.1e}")


# Functions and pools ------------------------------------------------------------------------------


def draw_functions(runs: dict[str, str]) -> None:
    """Four functions with their slopes, what trained LeNets feed them, and the two pools."""
    from blocks.catalog import catalog

    known = catalog()
    names = ["Tanh", "ReLU", "GELU", "SiLU"]
    figure, axes = plt.subplots(2, 4, figsize=(12, 5.4), layout="constrained")
    x = torch.linspace(-4, 4, 201, requires_grad=True)
    for axis, name in zip(axes[0], names, strict=True):
        y = known[name].factory()(x)
        (slope,) = torch.autograd.grad(y.sum(), x)
        axis.plot(x.detach(), y.detach(), color=COLOURS[0], label="value")
        axis.plot(x.detach(), slope, color=COLOURS[1], label="slope")
        axis.set(title=name, ylim=(-1.3, 2.5))
        axis.grid(alpha=0.3)
    axes[0, 0].legend()
    for axis, (label, folder) in zip(axes[1], runs.items(), strict=False):
        draw_entering(axis, label, open_network(folder))
    draw_pools(axes[1, 2], axes[1, 3], open_network(next(iter(runs.values()))))
    save(figure, "functions")


def draw_entering(axis: Any, label: str, network: nn.Module) -> None:
    """What enters the first activation after training, for all digits."""
    images, _ = all_digits()
    with torch.no_grad():
        entering = record_node(network, "conv1", images).flatten()
    axis.hist(entering.clamp(-4, 4).numpy(), bins=60, color=COLOURS[4], density=True)
    axis.set(title=f"what enters {label}")
    axis.set_yticks([])
    flat = {"tanh": entering.abs() > 2, "ReLU": entering < 0}[label].double().mean()
    print(f"functions: {label}: slope below 0.1 at {flat:.3f} of the places")


def record_node(network: nn.Module, name: str, images: Tensor) -> Tensor:
    """Return the output of a node of a network."""
    from blocks.graph.run.inspect import record_activations

    return record_activations(network, {"image": images})[name]


def draw_pools(largest: Any, mean: Any, network: nn.Module) -> None:
    """One feature map of a trained LeNet, pooled by both blocks."""
    from blocks.catalog import catalog

    maps = record_node(network, "tanh1", scaled(digit_images(4))[3:])[:, :1]
    for axis, name in ((largest, "MaxPool2d"), (mean, "AvgPool2d")):
        pooled = catalog()[name].factory(2)(maps)[0, 0]
        axis.imshow(pooled, cmap="viridis", vmin=maps.min(), vmax=maps.max())
        axis.set_title(f"one feature map after {name}", fontsize=10)
        hide_ticks_of(axis)
        print(f"functions: {name}: mean {pooled.mean():.3f} of a map with {maps.mean():.3f}")


# Depth --------------------------------------------------------------------------------------------


def draw_depth() -> None:
    """An untrained ViT by depth, for five residual styles: the gradient at the first layer, and how
    far two halves of the images agree about it.
    """
    depths = [2, 4, 8, 16, 32]
    figure, axes = plt.subplots(1, 2, figsize=(11, 3.6))
    styles = ["prenorm", "postnorm", "plain", "norm_only", "none"]
    for style, colour in zip(styles, COLOURS, strict=False):
        found = torch.stack([measure_style(style, depth) for depth in depths])
        axes[0].loglog(depths, found[:, 0], marker="o", ms=4, label=style, color=colour)
        axes[1].semilogx(depths, found[:, 1], marker="o", ms=4, label=style, color=colour)
        for depth, (size, cosine) in zip(depths, found.tolist(), strict=True):
            print(f"depth: {style}, {depth} layers: gradient {size:.1e}, agreement {cosine:.2f}")
    axes[0].set(title="gradient norm after the first layer", xlabel="layers")
    axes[1].set(title="agreement of two batches (cosine)", xlabel="layers")
    for axis in axes:
        axis.minorticks_off()
        axis.set_xticks(depths, [str(depth) for depth in depths])
        axis.grid(alpha=0.3)
    axes[0].legend()
    save(figure, "depth")


def measure_style(style: str, depth: int) -> Tensor:
    """Return the gradient at the first layer's output, a geometric mean over seeds, and the mean
    cosine between the gradients that two batches have for the first layer's weights.
    """
    images, labels = all_digits()
    sizes = ["params.dim=32", "params.heads=2", "params.patch=4", f"params.depth={depth}"]
    gradients, cosines = [], []
    for seed in range(SEEDS):
        network = build_small("vit", [f"model/residual={style}", *sizes], seed)
        gradients.append(layer_gradients(network, images[:64], labels[:64])[0])
        weights = list(network.get_submodule("layers.0").parameters())
        halves = []
        for part in (slice(0, 256), slice(256, 512)):
            loss = F.cross_entropy(network(image=images[part])["logits"], labels[part])
            found = torch.autograd.grad(loss, weights)
            halves.append(torch.cat([gradient.flatten() for gradient in found]))
        cosines.append(F.cosine_similarity(halves[0], halves[1], dim=0))
    size = torch.stack(gradients).clamp_min(1e-30).log().mean().exp()
    return torch.stack((size, torch.stack(cosines).mean())).detach()
