"""The time of a training step that `explain --time` estimates, beside the time that it takes.

python -m bench.training.step_time [vit_s swin_t resnet50 gpt2] [--rounds N] [--threads N]

The step is that of `python -m bench`.
"""

import argparse
import statistics

import torch

from bench.families import families
from bench.families.images import FACTS
from bench.families.language import Size
from bench.measure import timed
from blocks.graph import compose, plan
from blocks.graph.describe.answers.ceiling import measure as measure_ceiling
from blocks.graph.describe.answers.step_time import estimate_step
from blocks.graph.describe.cost import measure
from blocks.graph.describe.memory_budget import Setting
from blocks.graph.record.record import count_parameters

STEPS = 4
IMAGES = 8
# family -> model
MODELS = {"vit_s": "vit_s16", "swin_t": "swin_t", "resnet50": "resnet50", "gpt2": "gpt2"}


def compare(family: str, rounds: int) -> list[float]:
    """Return estimated / measured of each round; the ceiling is measured in each."""
    words, batch = [f"model={MODELS[family]}"], IMAGES
    if family == "gpt2":
        words += [f"model.{word}" for word in Size().overrides]
        batch = Size().batch
    planned = plan(compose(words), FACTS)
    cost, parameters = measure(planned)[""], count_parameters(planned.model)
    setting = Setting(batch, 1, 1, torch.float32, torch.float32, 2, False)
    step = families(IMAGES)[family].contenders["dougong"]().trainer()
    step()
    ratios = []
    for _ in range(rounds):
        estimate = estimate_step(cost, parameters, setting, measure_ceiling())
        taken = [timed(step)[0] for _ in range(STEPS)]
        ratios.append(estimate.seconds / statistics.median(taken))
    return ratios


def main() -> None:
    parser = argparse.ArgumentParser("python -m bench.training.step_time", description=__doc__)
    parser.add_argument("models", nargs="*", default=list(MODELS))
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
