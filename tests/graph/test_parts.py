"""Parts of blocks: chosen by a slot, changed at a node, and shared by several nodes."""

import re

import pytest
import torch

from blocks.graph import Composed, ConfigError, IncrementalModel, build, plan
from tests.graph.emitted import check_config

ATTENTION = {"block": "SelfAttention", "heads": 2, "rotary": {"block": "Rotary", "base": 100.0}}
BIAS = {"block": "SelfAttention", "heads": 2, "position_bias": {"block": "RelativeBias"}}
INPUTS = {"x": {"tokens": 7, "dim": 8}}


def bias_of(part, **slots):
    attention = {**BIAS, "position_bias": part}
    layers = {"repeat": 3, "body": {"inner": {"use": "attention"}}}
    return {"inputs": INPUTS, "graph": {"layers": layers}, "attention": attention, **slots}


def rotary_of(net):
    return net.get_submodule("a.rotary")


def test_a_part_is_chosen_by_a_slot_and_changed_at_its_node():
    slots = {"turn": {"block": "Rotary", "base": "10 * dim"}}
    used = {**ATTENTION, "rotary": {"use": "turn"}}
    changed = {**ATTENTION, "rotary": {"use": "turn", "base": 7.0}}
    for attention, base in ((used, 80.0), (changed, 7.0)):
        found = build({"inputs": INPUTS, "graph": {"a": attention}, **slots})
        written = {**ATTENTION, "rotary": {"block": "Rotary", "base": base}}
        expected = build({"inputs": INPUTS, "graph": {"a": written}})
        expected.load_state_dict(found.state_dict())
        x = torch.randn(2, 7, 8)
        assert torch.equal(found(x), expected(x))


def test_a_node_changes_a_part_of_its_option_with_the_names_in_reach_of_each():
    option = {"block": "SelfAttention", "heads": 2, "rotary": {"block": "Rotary", "base": "wide"}}
    node = {"use": "attention", "rotary": {"dims": "few"}}
    body = {"params": {"few": 2}, "body": {"a": node}}
    model = {"params": {"wide": 50.0, "few": 4}, "inputs": INPUTS, "graph": {"b": body}}
    net = build({**model, "attention": option})
    part = {"block": "Rotary", "base": 50.0, "dims": 2}
    expected = build({"inputs": INPUTS, "graph": {"a": {**ATTENTION, "rotary": part}}})
    expected.load_state_dict(
        {key.removeprefix("b."): value for key, value in net.state_dict().items()}
    )
    x = torch.randn(2, 7, 8)
    assert torch.equal(net(x), expected(x))


SHARED = {
    "written in the option": bias_of({"block": "RelativeBias", "share": True}),
    "chosen by a slot": bias_of({"use": "bias", "share": True}, bias={"block": "RelativeBias"}),
}


@pytest.mark.parametrize(
    "name",
    ["written in the option", pytest.param("chosen by a slot", marks=pytest.mark.slow)],
)
def test_a_shared_part_is_one_parameter_and_is_emitted(name, tmp_path):
    net = build(SHARED[name])
    tables = {id(layer.inner.position_bias.table) for layer in net.layers.children()}
    assert len(tables) == 1
    net(torch.randn(2, 7, 8)).sum().backward()
    apart = build(bias_of({"block": "RelativeBias"}))
    assert list(net.state_dict()) == list(apart.state_dict())
    check_config(SHARED[name], tmp_path)


def test_a_part_of_another_node_is_shared_by_its_path(tmp_path):
    second = {**BIAS, "position_bias": {"share": "a.position_bias"}}
    config = {"inputs": INPUTS, "graph": {"a": BIAS, "b": second, "c": second}}
    net = build(config)
    assert net.a.position_bias.table is net.b.position_bias.table is net.c.position_bias.table
    check_config(config, tmp_path)


# Parts that are bodies ----------------------------------------------------------------------------

NORM = {
    "body": {"left": {"block": "RMSNorm", "in": "q"}, "right": {"block": "RMSNorm", "in": "k"}},
    "outputs": ["left", "right"],
}
GATE = {
    "in": ["read", "x"],
    "body": {
        "flat": {"block": "Rearrange", "in": "read", "pattern": "b t h d -> b t (h d)"},
        "open": {"block": "Linear", "in": "x", "features": "flat.shape[2]"},
        "gate": {"block": "Sigmoid"},
        "product": {"block": "Multiply", "in": ["flat", "gate"]},
    },
}
NORMED = {"block": "SelfAttention", "heads": 2, "causal": True}


def normed(part, **slots):
    layers = {"repeat": 3, "body": {"inner": {"use": "attention"}}}
    graph = {"layers": layers, "last": {"block": "LinearRecurrence", "heads": 2, "gate": GATE}}
    attention = {**NORMED, "qk_norm": part}
    return {"inputs": INPUTS, "graph": graph, "attention": attention, **slots}


BODIES = {
    "in place": normed({**NORM, "in": ["q", "k"]}),
    "by a slot": normed({"use": "norm", "in": ["q", "k"]}, norm=NORM),
    "shared": normed({"use": "norm", "in": ["q", "k"], "share": True}, norm=NORM),
}


@pytest.mark.parametrize("name", BODIES)
def test_a_part_that_is_a_body_equals_the_block_that_does_the_same(name):
    net, expected = build(BODIES[name]), build(normed({"block": "QKNorm"}))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.uniform_(-1, 1)
    weights = {
        key.replace("norm.left", "norm.q").replace("norm.right", "norm.k"): value
        for key, value in net.state_dict().items()
    }
    expected.load_state_dict(weights)
    x = torch.randn(2, 7, 8)
    assert torch.equal(net(x), expected(x))
    tables = {id(layer.inner.qk_norm.left.weight) for layer in net.layers.children()}
    assert len(tables) == (1 if name == "shared" else 3)


@pytest.mark.slow
def test_parts_that_are_bodies_are_emitted(tmp_path):
    text = check_config(BODIES["shared"], tmp_path)
    assert "qk_norm=" in text
    assert "gate=Gate(" in text


def test_parts_that_are_bodies_are_decoded_step_by_step():
    net = build(BODIES["in place"]).double().eval()
    x = torch.randn(2, 7, 8, dtype=torch.float64)
    steps = IncrementalModel(net, ["x"]).start(limit=7)
    with torch.no_grad():
        found = [steps.step(x=x[:, start:end]) for start, end in ((0, 4), (4, 5), (5, 7))]
        torch.testing.assert_close(torch.cat(found, 1), net(x), rtol=0, atol=1e-12)


def test_a_body_may_be_a_part_of_a_part_and_leave_values_unread():
    one = {"block": "Constant", "value": 1.0, "shape": [1], "in": []}
    slower = {"body": {"slow": {"block": "Gain", "factor": 0.5}, "one": one}}
    rotary = {"block": "Rotary", "scaling": {**slower, "outputs": ["slow", "one"]}}
    same = {"body": {"same": {"block": "Gain", "in": "k", "factor": 1.0}}}
    outputs = {"outputs": {"first": "same", "second": "same"}}
    parts = {"rotary": rotary, "qk_norm": {"in": ["q", "k"], **same, **outputs}}
    net = build({"inputs": INPUTS, "graph": {"a": {**NORMED, **parts}}})
    expected = build({"inputs": INPUTS, "graph": {"a": {**NORMED, "rotary": {"block": "Rotary"}}}})
    assert list(net.state_dict()) == list(expected.state_dict())
    turns = [each.a.rotary.turns(7, torch.randn(1)) for each in (net, expected)]
    torch.testing.assert_close(turns[0][0][2:3], turns[1][0][1:2])  # at half the speed


def told(graph, **slots):
    with pytest.raises(ConfigError) as caught:
        plan(Composed({"model": {"inputs": INPUTS, "graph": graph, **slots}}), {})
    return str(caught.value)


WRONG = {
    "fewer names than values": (
        {"a": {**ATTENTION, "rotary": {"use": "turn"}}},
        """\
the composed configuration  graph.a
  SelfAttention.rotary: `in` names 1 values, and the block gives 2
  got       in: [x], for (batch, 2, 7, 4), (batch, 2, 7, 4)
  from      the composed configuration
  fits      in: [NAME1, NAME2]""",
    ),
    "names that are not": (
        {"a": {**ATTENTION, "rotary": {"use": "turn", "in": ["q", "q"]}}},
        """\
the composed configuration  graph.a
  SelfAttention.rotary: `in` of a part names what the block gives it, in order
  got       in: [q, q]
  from      the composed configuration
  fits      in: x, in: [q, k]""",
    ),
    "names beside a block": (
        {"a": {**ATTENTION, "rotary": {"block": "Rotary", "in": ["q", "k"]}}},
        """\
the composed configuration  graph.a
  SelfAttention.rotary: a part is a block inside a block
  got       in: [q, k], beside a block
  from      the composed configuration
  fits      {block: Name}, {use: SLOT} or {body: {...}}, share: true beside; {share: NODE.PART}""",
    ),
    "numbers": (
        {"a": {**BIAS, "position_bias": {"use": "turn"}}},
        """\
the composed configuration  graph.a
  SelfAttention.position_bias: a body takes tensors, and the block gives this part something else
  got       int, int
  from      the composed configuration
  fits      {block: Name}""",
    ),
    "fewer outputs than the block takes": (
        {"a": {**ATTENTION, "rotary": {"use": "turn", "in": ["q", "k"]}}},
        """\
the composed configuration  graph.a
  SelfAttention fails: too many values to unpack (expected 2)
  got       x (batch, 7, 8); heads=2, dim=8, rotary with 1 output
  from      heads  the composed configuration
            rotary  the composed configuration
  fix       look at blocks/attention/dot_product.py; DOUGONG_DEBUG=1 shows the traceback""",
    ),
    "a mistake inside": (
        {"a": {**ATTENTION, "rotary": {"in": ["q", "k"], "body": {"b": {"block": "Tahn"}}}}},
        """\
the composed configuration  graph.a.rotary.b
  no block 'Tahn'
  got       block: Tahn
  from      the composed configuration
  fits      did you mean Tanh?
  fix       python -m blocks catalog lists all; blocks of your own come with library=[FOLDER]""",
    ),
    "an unknown part": (
        {"a": BIAS, "b": {**BIAS, "position_bias": {"share": "a.position_bais"}}},
        """\
the composed configuration  graph.b
  SelfAttention.position_bias: no part 'a.position_bais' to share, before this one
  got       share: a.position_bais
  from      the composed configuration
  fits      did you mean a.position_bias?""",
    ),
    "no parameters": (
        {"a": {**ATTENTION, "rotary": {"block": "Rotary", "share": True}}},
        """\
the composed configuration  graph.a
  Rotary has no parameters that could be shared
  got       a.rotary
  fix       leave `share` out""",
    ),
    "other widths": (
        {"a": {"use": "attention"}, "b": {"use": "attention", "heads": 4}},
        """\
the composed configuration  graph.b
  parts that share their parameters are made alike
  got       RelativeBias(heads=4), and a.position_bias is RelativeBias(heads=2)
  fix       share among nodes of equal widths, or leave `share` out""",
    ),
}
SLOTS = {
    "turn": {"body": {"act": {"block": "Tanh"}}},
    "attention": {**BIAS, "position_bias": {"block": "RelativeBias", "share": True}},
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_part_is_reported(name):
    graph, expected = WRONG[name]
    slots = {slot: SLOTS[slot] for slot in SLOTS if f"'{slot}'" in str(graph)}
    found = re.sub(r"\.py:\d+:1", ".py", told(graph, **slots))
    assert found == expected


UNCALLED = """
from jaxtyping import Float
from torch import Tensor, nn


class Silent(nn.Module):
    def __init__(self, turn: nn.Module):
        super().__init__()
        self.turn = turn

    def forward(self, x: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch tokens dim"]:
        return x
"""


def test_a_body_that_its_block_does_not_call_is_reported(tmp_path):
    (tmp_path / "silent.py").write_text(UNCALLED, encoding="utf-8")
    node = {"block": "Silent", "turn": SLOTS["turn"]}
    with pytest.raises(ConfigError) as caught:
        build({"inputs": INPUTS, "graph": {"a": node}}, library=[str(tmp_path)])
    assert (
        str(caught.value)
        == """\
the composed configuration  graph.a
  Silent.turn: the block does not call this part
  from      the composed configuration
  fix       leave it out, or write {block: Name}"""
    )
