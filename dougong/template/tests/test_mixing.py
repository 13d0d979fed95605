"""pytest (pip install pytest) runs this from the folder of the project."""

import torch

from dougong import build


def test_a_model_with_the_block_gives_an_answer_for_each_image():
    model = build(
        "my_model",
        overrides=["+graph.mixing={block: TokenMixing, after: position}"],
        facts={"image": [1, 8, 8], "classes": 10},
        library=["my_blocks"],
    )
    logits = model(torch.randn(5, 1, 8, 8))["logits"]
    assert logits.shape == (5, 10)
    assert logits.isfinite().all()
