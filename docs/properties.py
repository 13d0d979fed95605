"""What an architecture can and cannot do whatever its weights are, measured in double precision on
networks that have not learned.

Each function returns a paragraph of docs/results.md.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from blocks.graph import build, compose, plan
from blocks.graph.describe.cost import measure

ZERO = 1e-12  # above the errors of rounding
WORDS = {"tokens": 12, "dtype": "int", "vocab": 16}


def network(model: str, overrides: Sequence[str], facts: Mapping[str, Any]) -> nn.Module:
    """Return a network in double precision, its weights drawn with seed 0."""
    torch.manual_seed(0)
    return build(model, overrides, facts).double().eval()


def change(before: Tensor, after: Tensor) -> str:
    """Return the largest difference in words: 0 where it is an error of rounding."""
    value = (before - after).abs().max().item()
    return "0" if value < ZERO else f"{value:.1g}"


@torch.no_grad()
def positions() -> str:
    """Return how far the logits of an encoder move when its tokens are turned around."""
    tokens = torch.arange(12)[None]
    shown = []
    for kind in ("none", "sinusoidal", "learned", "relative", "rotary", "alibi"):
        model = network(
            "encoder", [f"model/position={kind}"], {"tokens": WORDS, "vocab": 16, "classes": 10}
        )
        before, after = (model(tokens=each)["logits"] for each in (tokens, tokens.flip(1)))
        shown.append(f"{kind} {change(before, after)}")
    return (
        "Before any training the largest change of a logit of `model=encoder` when twelve tokens "
        f"are turned around is, by position, {', '.join(shown)}; 0 holds for all weights. Without "
        "positions the network is a function of a set. ALiBi lowers a score by the distance, on "
        "both sides alike, so that an encoder cannot tell a sequence from its mirror image by it; "
        "it was made for causal decoders (Press et al. 2022, arXiv:2108.12409, section 3)."
    )


@torch.no_grad()
def causal() -> str:
    """Return how far earlier logits of a decoder move with the last token of its target."""
    source = torch.arange(12)[None]
    other = source.clone()
    other[0, -1] = 0
    shown = {}
    for mask in ("true", "false"):
        model = network(
            "transformer",
            [
                "model.params.dim=32",
                "model.params.depth=2",
                f"model.graph.decoder.body.attention.inner.causal={mask}",
            ],
            {"source": WORDS, "target": WORDS, "vocab": 16},
        )
        before, after = (model(source=source, target=each)["logits"] for each in (source, other))
        shown[mask] = change(before[:, :-1], after[:, :-1])
    return (
        "Before any training, when the last token of the target changes, the logits at the places "
        f"before it change by {shown['true']} with the mask, whatever the weights are, and by up "
        f"to {shown['false']} without."
    )


def serial() -> str:
    """Return the longest chain of operations that wait for each other, by length."""
    shown = []
    for name, model, options in (
        ("RNN", "rnn_language", ["model/recurrence=rnn_graph"]),
        ("Transformer", "gpt", ["model.params.depth=2"]),
    ):
        facts = {"tokens": {**WORDS, "tokens": 64}, "vocab": 16}
        net = network(model, ["model.params.dim=16", *options], facts)
        lengths = (8, 16, 32, 64)
        chains = (longest_chain(net(tokens=torch.zeros(1, n).long())["logits"]) for n in lengths)
        pairs = ", ".join(
            f"{chain} at {n} tokens" for n, chain in zip(lengths, chains, strict=True)
        )
        shown.append(f"{name} {pairs}")
    return (
        "The longest chain of operations of which each needs the result of the one before, in the "
        f"graph that torch records: {'; '.join(shown)}. No number of processors shortens it."
    )


def longest_chain(output: Tensor) -> int:
    """Return the number of recorded operations on the longest path to a tensor."""
    order: list[Any] = []
    seen: set[Any] = set()
    waiting: list[tuple[Any, bool]] = [(output.grad_fn, False)]
    while waiting:  # each operation after those that it needs
        node, done = waiting.pop()
        if done:
            order.append(node)
        elif node not in seen:
            seen.add(node)
            waiting += [(node, True), *((each, False) for each, _ in node.next_functions if each)]
    chain: dict[Any, int] = {}
    for node in order:
        chain[node] = 1 + max((chain[each] for each, _ in node.next_functions if each), default=0)
    return chain[output.grad_fn]


def shift() -> str:
    """Return how many pixels a window sees before the mean over windows."""
    seen = {}
    for kind in ("window_unshifted", "window"):
        model = network(
            "swin",
            [
                f"model/attention={kind}",
                *(
                    f"model.params.{key}"
                    for key in ("depths=[2]", "heads=[2]", "patch=2", "window=2")
                ),
            ],
            {"image": {"channels": 1, "height": 8, "width": 8}, "classes": 10},
        )
        seen[kind] = seen_pixels(model)
    return (
        "The tokens of the first window, four by four pixels, have a gradient to "
        f"{seen['window_unshifted']} pixels without the shift, whatever the weights are, and to "
        f"{seen['window']} of the 64 with it."
    )


def seen_pixels(model: nn.Module) -> int:
    """Return the number of pixels that the tokens of the first window depend on."""
    found: list[Tensor] = []
    model.get_submodule("norm").register_forward_hook(lambda *each: found.append(each[-1]))
    image = torch.rand(1, 1, 8, 8, dtype=torch.float64, requires_grad=True)
    model(image=image)
    (gradient,) = torch.autograd.grad(found[0][0, :2, :2].square().sum(), image)
    return int((gradient.abs() > ZERO).sum())


def sharing() -> str:
    """Return the receptive field of each part of the CNN, as printed by
    `python -m blocks explain --all`.
    """
    costs = measure(plan(compose(["model=cnn", "experiment=sharing"])))
    fields = [
        (path, cost.field.size[0])
        for path, cost in costs.items()
        if path.count(".") in (0, 3) and cost.field
    ]
    wide = [f"`{path}` {size:g}" for path, size in fields if size > 1]
    return (
        "The receptive field of each convolution, in pixels of a side (`python -m blocks explain "
        f"model=cnn --all`): {', '.join(wide)}."
    )


PROPERTIES = {
    "serial": serial,
    "positions": positions,
    "causal": causal,
    "shift": shift,
    "sharing": sharing,
}
