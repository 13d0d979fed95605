import pytest
import torch

from blocks.graph import Graph, Stepper, build
from blocks.graph.record.module import Scan
from blocks.graph.run.flatten import Flat

SMALL = ["params.dim=16", "params.depth=3", "params.heads=2", "params.vocab=13", "params.length=11"]


@pytest.fixture
def network():
    torch.manual_seed(0)
    return build("gpt2", SMALL, {}).eval()


@torch.no_grad()
def test_a_network_without_levels_says_the_same_and_calls_no_body(network):
    flat = Flat(network)
    assert not any(
        isinstance(block, Graph) and not isinstance(block, Scan) for block in flat.blocks.values()
    )
    tokens = torch.randint(13, (2, 7))
    assert torch.equal(flat.bind({})(tokens=tokens)["logits"], network(tokens=tokens)["logits"])


@torch.no_grad()
def test_another_call_stands_in_for_a_block(network):
    flat = Flat(network)
    logits = torch.zeros(2, 7, 13)
    said = flat.bind({network.head: lambda x: logits})(tokens=torch.randint(13, (2, 7)))["logits"]
    assert said is logits


def test_a_scan_stays_one_call():
    words = {"tokens": 11, "dtype": "int", "vocab": 13}
    model = build("seq2seq", facts={"source": words, "target": words, "vocab": 13})
    assert sum(isinstance(block, Scan) for block in Flat(model).blocks.values()) == 1


@pytest.mark.parametrize("place", ["layers.1", "layers.1.mlp", "layers.1.mlp.inner.expand"])
def test_a_hook_is_called_at_every_step(network, place):
    called = []
    network.get_submodule(place).register_forward_hook(lambda *_: called.append(place))
    steps = Stepper(network, ["tokens"]).start(5)
    for _ in range(4):
        steps.step(tokens=torch.randint(13, (1, 1)))
    assert len(called) == 4
