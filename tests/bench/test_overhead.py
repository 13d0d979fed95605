"""What composition costs.

Wall-clock figures: marked slow, judged by processor time and the median of many pairs.
"""

import statistics
import time

import pytest
import torch

from bench.training.overhead import ByHand
from blocks.graph import build


@pytest.mark.slow
def test_a_composed_model_costs_at_most_one_percent_more_than_its_modules_by_hand():
    torch.manual_seed(0)
    model = build("vit_ti16", ["params.drop_path=0.0"], {"image": [3, 224, 224], "classes": 1000})
    hand, image = ByHand(model), torch.randn(2, 3, 224, 224)
    torch.testing.assert_close(model(image)["logits"], hand(image), rtol=0, atol=1e-6)
    steps = (
        lambda: model(image)["logits"].square().mean().backward(),
        lambda: hand(image).square().mean().backward(),
    )
    pairs = []
    for number in range(43):
        taken = [0.0, 0.0]
        for which in (0, 1) if number % 2 else (1, 0):
            start = time.process_time()
            steps[which]()
            taken[which] = time.process_time() - start
        pairs.append(taken[0] / taken[1])
    assert statistics.median(pairs[3:]) < 1.01
