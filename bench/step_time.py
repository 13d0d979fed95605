"""The time of a training step that `explain --time` estimates, beside the time that it takes.

python -m bench.step_time [vit_s16 swin_t resnet50 gpt2] [--rounds N] [--threads N]
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F

from bench.families.language import GPT, Size
from bench.families.ours import built
from blocks.graph import compose, plan
from blocks.graph.describe.answers.ceiling import measure as measure_ceiling
from blocks.graph.describe.answers.step_time import estimate_step
from blocks.graph.describe.cost import measure
from blocks.graph.describe.memory_budget import Setting
from blocks.graph.record.record import count_parameters
from tasks.learn.losses.chunked_loss import VocabularyLoss

IMAGES, CLASSES, STEPS = 8, 1000, 4
IMAGE = {"channels": 3, "height": 224, "width": 224}


def make_step(model: str, words: list[str], batch: int) -> Callable[[], None]:
    """Return a step of training with fused AdamW."""
    network = built(model, words, {"classes": CLASSES, "image": IMAGE}).train()
    optimizer = torch.optim.AdamW(network.parameters(), fused=True)
    if model == "gpt2":
        tokens, label = torch.randint(GPT, (2, batch, Size().tokens))
        whole = VocabularyLoss(network)
        loss = lambda: whole({"tokens": tokens}, label).loss  # noqa: E731
    else:
        images, label = torch.randn(batch, 3, 224, 224), torch.randint(CLASSES, (batch,))
        loss = lambda: F.cross_entropy(network(images)["logits"], label)  # noqa: E731

    def step() -> None:
        loss().backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def compare(model: str, rounds: int) -> list[float]:
    """Return estimated / measured of each round; the ceiling is measured in each."""
    words, batch = ([], IMAGES) if model != "gpt2" else (Size().overrides, Size().batch)
    composed = compose([f"model={model}", *(f"model.{word}" for word in words)])
    planned = plan(composed, {"classes": CLASSES, "image": IMAGE})
    cost, parameters = measure(planned)[""], count_parameters(planned.model)
    setting = Setting(batch, 1, 1, torch.float32, torch.float32, 2, False)
    step = make_step(model, words, batch)
    step()
    ratios = []
    for _ in range(rounds):
        estimate = estimate_step(cost, parameters, setting, measure_ceiling())
        taken = []
        for _ in range(STEPS):
            begin = time.perf_counter()
            step()
            taken.append(time.perf_counter() - begin)
        ratios.append(estimate.seconds / statistics.median(taken))
    return ratios


def main() -> None:
    parser = argparse.ArgumentParser("python -m bench.step_time", description=__doc__)
    parser.add_argument("models", nargs="*", default=["vit_s16", "swin_t", "resnet50", "gpt2"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    for model in options.models:
        ratios = compare(model, options.rounds)
        shown = f"{statistics.median(ratios):.2f}, {min(ratios):.2f} to {max(ratios):.2f}"
        print(f"{model}: estimated / measured {shown}", flush=True)


if __name__ == "__main__":
    main()
