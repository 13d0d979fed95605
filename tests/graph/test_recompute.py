import copy
import pickle

import pytest
import torch

from blocks.graph import build, find_repeats, use_activation_checkpointing

WORDS = {"tokens": {"tokens": 11, "dtype": "int", "vocab": 13}, "vocab": 13}
IMAGE = {"image": [3, 16, 16], "classes": 7}
CASES = {
    "gpt": (
        "gpt",
        ["params.dropout=0.3", "params.dim=24", "params.heads=2", "params.depth=3"],
        WORDS,
    ),
    "experts": ("gpt", ["mlp=mixture", "params.dim=24", "params.heads=2", "params.depth=2"], WORDS),
    "vit": (
        "vit",
        ["params.drop_path=0.5", "params.dropout=0.2", "params.dim=24", "params.heads=3"],
        IMAGE,
    ),
    "batchnorm": ("resnet18", [], IMAGE),
    "shared": ("vit", ["params.dim=24", "params.heads=3", "+model.graph.layers.share=true"], IMAGE),
}


def made(case: str) -> torch.nn.Module:
    name, overrides, facts = CASES[case]
    torch.manual_seed(0)
    return build(name, overrides, facts)


def inputs(case: str, batch: int = 5) -> torch.Tensor:
    facts = CASES[case][2]
    generator = torch.Generator().manual_seed(1)
    if "tokens" in facts:
        return torch.randint(0, 13, (batch, 11), generator=generator)
    return torch.randn(batch, *facts["image"], generator=generator)


def step(model: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    torch.manual_seed(2)
    logits = model(x)["logits"]
    left = [
        part.auxiliary_loss
        for part in model.modules()
        if getattr(part, "auxiliary_loss", None) is not None
    ]
    (logits.square().mean() + sum(left, start=torch.zeros(()))).backward()
    return torch.rand(3)


@pytest.mark.parametrize("case", CASES)
def test_gradients_statistics_and_random_numbers_are_equal_to_the_bit(case):
    plain, again = made(case), made(case)
    assert use_activation_checkpointing(again) == len(find_repeats(plain)) > 0
    assert torch.equal(step(plain, inputs(case)), step(again, inputs(case)))
    for (name, a), b in zip(plain.named_parameters(), again.parameters(), strict=True):
        assert torch.equal(a.grad, b.grad), name
    for (name, a), b in zip(plain.named_buffers(), again.buffers(), strict=True):
        assert torch.equal(a, b), name
    assert list(plain.state_dict()) == list(again.state_dict())


def test_a_deep_network_keeps_the_inputs_of_its_repeats_alone(peak):
    """8 layers of width 64 over 128 tokens: 19.9 MB at most without, 4.7 MB with it."""
    overrides = ["params.depth=8", "params.dim=64", "params.heads=2"]
    facts = {"tokens": {"tokens": 128, "dtype": "int", "vocab": 31}, "vocab": 31}
    most = []
    for anew in (False, True):
        model = build("gpt", overrides, facts)
        if anew:
            use_activation_checkpointing(model)
        with peak(*model.parameters(), *model.buffers()) as measured:
            step(model, torch.zeros(4, 128, dtype=torch.long))
        most.append(measured.most)
    assert most[1] < most[0] / 3, most


def test_in_evaluation_and_without_gradients_nothing_is_computed_twice():
    model = made("gpt")
    use_activation_checkpointing(model)
    calls = []
    for part in find_repeats(model).values():
        part.register_forward_hook(lambda *_: calls.append("whole"))
        part.attention.register_forward_hook(lambda *_: calls.append("part"))
    step(model, inputs("gpt"))
    assert (calls.count("whole"), calls.count("part")) == (
        3,
        6,
    )  # the second time goes past the hooks of the whole
    calls.clear()
    model.eval()
    model(inputs("gpt"))["logits"].sum().backward()
    with torch.no_grad():
        model.train()(inputs("gpt"))
    assert calls.count("part") == 6


def test_a_copy_and_a_pickle_compute_the_same():
    model = made("vit").eval()
    use_activation_checkpointing(model)
    expected = model(inputs("vit"))["logits"]
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(other(inputs("vit"))["logits"], expected)
        assert other.state_dict().keys() == model.state_dict().keys()


def test_the_innermost_repeats_by_path():
    assert list(
        find_repeats(build("swin", [], {"image": [3, 32, 32], "classes": 7}, device="meta"))
    ) == [f"stages.{stage}.layers.{layer}" for stage in (0, 1) for layer in (0, 1)]
    assert list(find_repeats(made("shared"))) == ["layers.0"]
