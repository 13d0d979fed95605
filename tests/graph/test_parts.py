"""Parts of blocks: chosen by a slot, changed at a node, and shared by several nodes."""

import pytest
import torch

from blocks.graph import Composed, ConfigError, build, plan
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


@pytest.mark.parametrize("name", SHARED)
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


def told(graph, **slots):
    with pytest.raises(ConfigError) as caught:
        plan(Composed({"model": {"inputs": INPUTS, "graph": graph, **slots}}), {})
    return str(caught.value)


WRONG = {
    "a body": (
        {"a": {**ATTENTION, "rotary": {"use": "turn"}}},
        """\
the composed configuration  graph.a
  SelfAttention.rotary: a part is a block inside a block
  got       use: turn, a body
  from      the composed configuration
  fits      {block: Name}, {use: SLOT}, each with share: true or without, {share: NODE.PART}""",
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
    found = told(graph, **slots)
    assert found == expected
