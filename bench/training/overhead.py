"""What composition costs: a composed ViT against the same modules called by hand, in one
interleaved run.

python -m bench.training.overhead [--rounds N]
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from blocks.graph import Graph, build


class ByHand(nn.Module):
    """The forward that one would write for `conf/model/vit.yaml`, over the very modules of the
    composed model.
    """

    def __init__(self, model: Any):
        super().__init__()
        self.patch, self.token, self.position = model.patch, model.token, model.position
        self.layers = nn.ModuleList(
            nn.ModuleList(
                [
                    layer.attention.norm,
                    layer.attention.inner,
                    layer.mlp.norm,
                    layer.mlp.inner.expand,
                    layer.mlp.inner.activation,
                    layer.mlp.inner.project,
                ]
            )
            for layer in model.layers.children()
        )
        self.norm, self.head = model.norm, model.head

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = self.position(self.token(self.patch(image)))
        layers: Any = self.layers
        for norm1, attention, norm2, expand, activation, project in layers:
            x = x + attention(norm1(x))
            x = x + project(activation(expand(norm2(x))))
        return self.head(self.norm(x)[:, 0])


def seconds(step: Callable[[], Any]) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def compare(name: str, model: Graph, image: torch.Tensor, rounds: int) -> None:
    """Forward and backward of both, alternating; medians and their ratio."""
    hand = ByHand(model)
    torch.testing.assert_close(model(image)["logits"], hand(image), rtol=0, atol=1e-6)

    def composed() -> None:
        model(image)["logits"].square().mean().backward()

    def by_hand() -> None:
        hand(image).square().mean().backward()

    ours: list[float] = []
    theirs: list[float] = []
    for index in range(rounds + 3):
        first, second = (composed, by_hand) if index % 2 else (by_hand, composed)
        a, b = seconds(first), seconds(second)
        if index >= 3:
            (ours if index % 2 else theirs).append(a)
            (theirs if index % 2 else ours).append(b)
    pairs = [a / b for a, b in zip(ours, theirs, strict=True)]
    low, high = statistics.quantiles(pairs, n=4)[0], statistics.quantiles(pairs, n=4)[2]
    ratio = statistics.median(ours) / statistics.median(theirs)
    ours_ms, theirs_ms = statistics.median(ours) * 1e3, statistics.median(theirs) * 1e3
    print(f"{name:<28} composed {ours_ms:8.2f} ms, by hand {theirs_ms:8.2f} ms")
    print(f"{'':<28} ratio {ratio:.3f}, quartiles of the pairs {low:.3f} to {high:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=60)
    rounds = parser.parse_args().rounds
    torch.manual_seed(0)
    print(
        f"torch {torch.__version__}, {torch.get_num_threads()} threads, seed 0, forward and "
        "backward"
    )
    compare("vit, digits 8x8, batch 64", build("vit"), torch.randn(64, 1, 8, 8), 4 * rounds)
    facts = {"image": [3, 224, 224], "classes": 1000}
    compare(
        "vit_ti16, 224x224, batch 2",
        build("vit_ti16", ["params.drop_path=0.0"], facts),
        torch.randn(2, 3, 224, 224),
        rounds,
    )


if __name__ == "__main__":
    main()
