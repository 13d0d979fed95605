"""Where dropout acts, model by model, and that it acts in training alone."""

import pytest
import torch
from torch import nn

from blocks.graph import build

TEXT = {name: {"tokens": 7, "dtype": "int", "vocab": 11} for name in ("tokens", "source", "target")}
FACTS = {**TEXT, "vocab": 11, "classes": 5, "image": {"channels": 3, "height": 32, "width": 32}}
SMALL = ["params.depth=1", "params.dim=24"]
GPT = {
    "dropout": 0.1,
    "layers.0.attention.inner": 0.1,
    "layers.0.attention.dropout": 0.1,
    "layers.0.mlp.dropout": 0.1,
}
TRANSFORMER = {
    "source_dropout": 0.1,
    "encoder.0.attention.inner": 0.1,
    "encoder.0.attention.dropout": 0.1,
    "encoder.0.mlp.dropout": 0.1,
    "target_dropout": 0.1,
    "decoder.0.attention.inner": 0.1,
    "decoder.0.attention.dropout": 0.1,
    "decoder.0.cross.inner": 0.1,
    "decoder.0.cross.dropout": 0.1,
    "decoder.0.mlp.dropout": 0.1,
}
# arXiv:2010.11929, appendix B.1: behind every dense layer but q, k, v, and behind the positions
VIT = {
    "dropout": 0.3,
    "layers.0.attention.dropout": 0.3,
    "layers.0.mlp.inner.dropout": 0.3,
    "layers.0.mlp.dropout": 0.3,
}
# As transformer_big of tensor2tensor: the outputs of each branch by more, the weights of attention
# by 0.1.
BIG = {place: 0.1 if place.endswith("inner") else 0.3 for place in TRANSFORMER}


def acting(model: nn.Module) -> dict[str, float]:
    """Path of each module that drops something in training -> the share that it drops."""
    found = {}
    for path, module in model.named_modules():
        rates = {getattr(module, name, 0.0) for name in ("p", "dropout", "projection_dropout")}
        rates = {rate for rate in rates if isinstance(rate, float) and rate > 0}
        if rates:
            (found[path],) = rates
    return found


@pytest.mark.parametrize(
    ("name", "overrides", "wanted"),
    [
        ("gpt2", SMALL, GPT),
        ("gpt", SMALL, GPT),
        ("bert_base", SMALL, GPT),
        ("bert", SMALL, GPT),
        ("encoder", SMALL, GPT),
        ("transformer_base", SMALL[:1], TRANSFORMER),
        ("transformer_deepnorm", SMALL[:1], TRANSFORMER),
        ("transformer", SMALL, TRANSFORMER),
        ("transformer_big", SMALL[:1], BIG),
        ("vit", ["params.depth=1", "params.dropout=0.3"], VIT),
        ("vit", ["params.depth=1"], {}),
        ("llama", ["params.depth=1"], {}),
        ("gpt", [*SMALL, "params.dropout=0"], {}),
        (
            "gpt",
            [*SMALL, "params.attention_dropout=0"],
            {path: 0.1 for path in GPT if not path.endswith("inner")},
        ),
        (
            "bert",
            [*SMALL, "attention=linear"],
            {path: 0.1 for path in GPT if not path.endswith("inner")},
        ),
    ],
)
def test_dropout_stands_where_the_paper_or_the_authors_have_it(name, overrides, wanted):
    heads = (
        [f"params.heads={12 if name in ('gpt2', 'bert_base') else 4}"]
        if SMALL[1] in overrides
        else []
    )
    assert acting(build(name, [*overrides, *heads], FACTS, device="meta")) == wanted


@pytest.mark.parametrize("name", ["gpt", "bert", "encoder", "transformer"])
def test_weights_of_attention_are_dropped_in_training_and_not_in_evaluation(name):
    torch.manual_seed(0)
    model = build(
        name,
        [*SMALL, "params.heads=4", "params.dropout=0.0", "params.attention_dropout=0.5"],
        FACTS,
    )
    never = build(name, [*SMALL, "params.heads=4", "params.dropout=0.0"], FACTS)
    never.load_state_dict(model.state_dict())
    ids = torch.randint(0, 11, (3, 7))
    inputs = {"source": ids, "target": ids} if name == "transformer" else {"tokens": ids}
    first, second = (model(**inputs)["logits"] for _ in range(2))
    assert not torch.allclose(first, second)
    assert torch.equal(model.eval()(**inputs)["logits"], never.eval()(**inputs)["logits"])
