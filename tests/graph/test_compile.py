import pytest
import torch
from torch._dynamo.testing import CompileCounter, CompileCounterWithBackend

from blocks.graph import (
    build,
    compile_network,
    find_repeats,
    is_compiled,
    use_activation_checkpointing,
)
from blocks.graph.run.compile_regions import share_code

FACTS = {"image": {"channels": 3, "height": 32, "width": 32}, "classes": 5}
GPT = [
    "params.dim=22",
    "params.depth=6",
    "params.heads=2",
    "params.vocab=53",
    "params.length=7",
    "params.dropout=0.0",
]


# The compiler asks tensors for their gradients, and hides that torch warns of it, but for warnings
# that are errors.
pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")


@pytest.fixture(autouse=True)
def fresh():
    torch._dynamo.reset()
    torch.manual_seed(0)


def test_a_repeated_body_is_compiled_once():
    model, tokens = build("gpt2", GPT), torch.randint(53, (2, 7))
    before, counter = model(tokens)["logits"], CompileCounter()
    assert compile_network(model, backend=counter) == 6
    torch.testing.assert_close(model(tokens)["logits"], before, rtol=0, atol=1e-6)
    assert counter.frame_count == 1


def test_layers_that_differ_are_compiled_each():
    model, image = (
        build("swin", ["params.patch=2", "params.depths=[4,2]"], FACTS),
        torch.randn(2, 3, 32, 32),
    )
    before, counter = model(image)["logits"], CompileCounter()
    assert compile_network(model, backend=counter) == 6
    torch.testing.assert_close(model(image)["logits"], before, rtol=0, atol=1e-6)
    assert 2 <= counter.frame_count <= 4  # two stages, each with and without a shift


def test_where_nothing_repeats_the_network_is_compiled_whole():
    facts = {**FACTS, "image": {"channels": 1, "height": 32, "width": 32}}
    model, image = build("lenet5", [], facts), torch.randn(2, 1, 32, 32)
    before, counter = model(image)["logits"], CompileCounter()
    assert compile_network(model, backend=counter) == 0
    torch.testing.assert_close(model(image)["logits"], before, rtol=0, atol=1e-6)
    assert counter.frame_count == 1


def test_only_the_innermost_repeats_are_regions():
    model = build("swin", ["params.patch=2"], FACTS)
    assert list(find_repeats(model)) == [
        "stages.0.layers.0",
        "stages.0.layers.1",
        "stages.1.layers.0",
        "stages.1.layers.1",
    ]


def test_shared_code_changes_nothing_that_is_kept():
    model = build("gpt2", GPT)
    names, tokens = list(model.state_dict()), torch.randint(53, (2, 7))
    before = model(tokens)["logits"]
    share_code(model)
    first, second = model.layers.get_submodule("0"), model.layers.get_submodule("1")
    assert type(first) is type(second)
    assert list(model.state_dict()) == names
    assert torch.equal(model(tokens)["logits"], before)


def test_repeats_that_recompute_are_compiled_once_and_give_the_same_gradients():
    model, tokens = build("gpt2", GPT), torch.randint(53, (2, 7))
    model(tokens)["logits"].square().mean().backward()
    expected = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    model.zero_grad()
    assert use_activation_checkpointing(model) == 6
    counter = CompileCounterWithBackend("aot_eager")
    compile_network(model, backend=counter)
    model(tokens)["logits"].square().mean().backward()
    assert counter.frame_count == 1
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], rtol=0, atol=1e-6, msg=name)


def test_a_network_that_is_compiled_whole_is_one_graph_with_equal_gradients():
    model, tokens = build("gpt2", GPT), torch.randint(53, (2, 7))
    before = model(tokens)["logits"]
    wanted = torch.autograd.grad(before.square().mean(), list(model.parameters()))
    counter = CompileCounterWithBackend("aot_eager")
    assert not is_compiled(model)
    assert compile_network(model, whole=True, backend=counter) == 0
    assert is_compiled(model)
    after = model(tokens)["logits"]
    found = torch.autograd.grad(after.square().mean(), list(model.parameters()))
    torch.testing.assert_close(after, before, rtol=0, atol=1e-6)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)
    assert counter.frame_count == 1
