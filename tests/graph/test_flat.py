import re
from pathlib import Path

import pytest
import torch

from blocks.graph import Graph, IncrementalModel, build
from blocks.graph.record.module import Scan
from blocks.graph.run.flatten import FlatGraph

SMALL = ["params.dim=16", "params.depth=3", "params.heads=2", "params.vocab=13", "params.length=11"]


@pytest.fixture
def network():
    torch.manual_seed(0)
    return build("gpt2", SMALL, {}).eval()


@torch.no_grad()
def test_a_network_without_levels_says_the_same_and_calls_no_body(network):
    flat = FlatGraph(network)
    assert not any(
        isinstance(block, Graph) and not isinstance(block, Scan) for block in flat.blocks.values()
    )
    tokens = torch.randint(13, (2, 7))
    assert torch.equal(flat.bind({})(tokens=tokens)["logits"], network(tokens=tokens)["logits"])


@torch.no_grad()
def test_another_call_stands_in_for_a_block(network):
    flat = FlatGraph(network)
    run = flat.bind({network.head: torch.nn.Identity()})
    tokens = torch.randint(13, (2, 7))
    assert torch.equal(network.head(run(tokens=tokens)["logits"]), network(tokens=tokens)["logits"])


def test_a_scan_stays_one_call():
    words = {"tokens": 11, "dtype": "int", "vocab": 13}
    model = build("seq2seq", facts={"source": words, "target": words, "vocab": 13})
    assert sum(isinstance(block, Scan) for block in FlatGraph(model).blocks.values()) == 1


@pytest.mark.parametrize("place", ["layers.1", "layers.1.mlp", "layers.1.mlp.inner.expand"])
def test_a_hook_is_called_at_every_step(network, place):
    called = []
    network.get_submodule(place).register_forward_hook(lambda *_: called.append(place))
    steps = IncrementalModel(network, ["tokens"]).start(5)
    for _ in range(4):
        steps.step(tokens=torch.randint(13, (1, 1)))
    assert len(called) == 4


@torch.no_grad()
def test_the_network_is_as_it_was_during_the_steps(network):
    before = {name: dict(vars(module)) for name, module in network.named_modules()}
    model = IncrementalModel(network, ["tokens"])
    tokens = torch.randint(13, (2, 5))
    sessions = model.start(5), model.start(5)
    for session in sessions:  # each has its own caches
        session.step(tokens=tokens[:, :3])
    results = [session.step(tokens=tokens[:, 3:])["logits"] for session in sessions]
    assert torch.equal(*results)
    torch.testing.assert_close(results[0], network(tokens=tokens)["logits"][:, 3:])
    for name, module in network.named_modules():
        assert vars(module).keys() == before[name].keys(), name
        assert all(vars(module)[key] is value for key, value in before[name].items()), name


def test_the_page_decodes_as_the_whole_network_does():
    page = (Path(__file__).parents[2] / "docs" / "grammar.md").read_text(encoding="utf-8")
    code = next(each for each in re.findall(r"```python\n(.*?)```", page, re.S) if "step(" in each)
    code = code.replace('build("llama"', 'build("llama", ["params.depth=1", "params.dim=32"]')
    code = code.replace("64", "12")
    space = {"build": build}
    exec(code, space)
    last, text = space["logits"], space["prompt"]
    with torch.no_grad():
        for _ in range(3):
            whole = space["decoder"](tokens=text)["logits"]
            text = torch.cat((text, whole[:, -1:].argmax(-1)), 1)
        whole = space["decoder"](tokens=text)["logits"]
    torch.testing.assert_close(last, whole[:, -1:])
