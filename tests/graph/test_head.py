import torch
from torch import nn

from blocks.graph import build, split_head

B, T = 2, 7
GPT = [
    "params.dim=22",
    "params.depth=1",
    "params.heads=2",
    "params.vocab=53",
    "params.length=7",
    "params.dropout=0.0",
]


def test_body_and_head_are_the_network():
    torch.manual_seed(0)
    network, tokens = build("gpt2", GPT), torch.randint(53, (B, T))
    parts = split_head(network)
    assert torch.equal(parts.head(parts.body(tokens=tokens)), network(tokens)["logits"])
    assert parts.head.weight is network.embedding.weight
    assert parts.body.input_names == network.input_names


def test_what_does_not_lead_to_the_head_is_not_run():
    graph = {
        "trunk": {"block": "Linear", "features": 5},
        "aside": {"block": "Linear", "in": "trunk", "features": 3},
        "head": {"block": "Linear", "in": "trunk", "features": 11},
    }
    network = build(
        {
            "inputs": {"x": {"dim": 13}},
            "graph": graph,
            "outputs": {"logits": "head", "other": "aside"},
        }
    )
    network.aside.forward = None
    x = torch.randn(B, 13)
    assert torch.equal(split_head(network).body(x), network.trunk(x))


def test_there_is_no_head_where_something_else_stands_last():
    graph = {"first": {"block": "Linear", "features": 5}, "last": {"block": "GELU"}}
    assert split_head(build({"inputs": {"x": {"dim": 13}}, "graph": graph})) is None
    assert split_head(nn.Linear(3, 5)) is None
    named = build(
        {
            "inputs": {"x": {"dim": 13}},
            "graph": {"last": graph["first"]},
            "outputs": {"other": "last"},
        }
    )
    assert split_head(named) is None
    assert split_head(named, "other").head is named.last


def test_a_head_that_is_watched_is_left_in_its_network():
    network = build(
        {"inputs": {"x": {"dim": 13}}, "graph": {"last": {"block": "Linear", "features": 5}}}
    )
    assert split_head(network).head is network.last
    network.last.register_forward_hook(lambda *_: None)
    assert split_head(network) is None
