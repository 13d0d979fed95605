"""Templates, slots, holes, and inputs that a template hands on."""

import torch
from torch.nn import functional as F

from blocks.graph import build
from tests.graph.test_language import TOKENS, B, D, N, linear, model, tokens

RESIDUAL = {
    "params": {"rate": 0.0, "scale": 1.0},
    "holes": ["inner"],
    "body": {
        "norm": {"use": "norm"},
        "inner": {"use": "inner"},
        "drop": {"block": "DropPath", "rate": "rate"},
        "gain": {"block": "Gain", "factor": "scale"},
        "add": {"block": "Add", "in": ["x", "gain"]},
    },
}
NORM = {"block": "LayerNorm", "epsilon": 1e-6}


def test_a_template_puts_what_fills_its_hole_into_its_body():
    net, x = (
        model({"a": {"use": "residual", "inner": linear("dim")}}, residual=RESIDUAL, norm=NORM),
        tokens(),
    )
    assert torch.equal(net(x), x + net.a.inner(net.a.norm(x)))


def test_the_nearer_argument_wins_over_the_option_and_its_params():
    net = model(
        {
            "a": {"use": "residual", "inner": linear(D), "rate": 0.5, "scale": 3.0},
            "n": {"use": "norm", "epsilon": 0.1},
        },
        residual=RESIDUAL,
        norm=NORM,
    )
    assert net.a.drop.rate == 0.5
    assert net.a.gain.factor == 3.0
    assert (net.n.eps, net.a.norm.eps) == (0.1, 1e-6)


def test_a_template_inside_a_template_sees_its_own_hole():
    net, x = (
        model(
            {"a": {"use": "residual", "inner": {"use": "residual", "inner": linear("dim")}}},
            residual=RESIDUAL,
            norm=NORM,
        ),
        tokens(),
    )
    inner = net.a.inner
    y = net.a.norm(x)
    assert torch.equal(net(x), x + (y + inner.inner(inner.norm(y))))


def test_a_hole_may_have_a_default_filling():
    template = {"holes": {"inner": {"block": "Tanh"}}, "body": {"inner": {"use": "inner"}}}
    x = tokens()
    assert torch.equal(model({"a": {"use": "wrap"}}, wrap=template)(x), torch.tanh(x))
    assert torch.equal(
        model({"a": {"use": "wrap", "inner": {"block": "ReLU"}}}, wrap=template)(x), F.relu(x)
    )


def test_text_flows_through_params_of_a_template_as_text():
    template = {
        "params": {"approximate": "none"},
        "body": {"act": {"block": "GELU", "approximate": "approximate"}},
    }
    x = tokens()
    for word in ("none", "tanh"):
        assert torch.equal(
            model({"a": {"use": "act", "approximate": word}}, act=template)(x),
            F.gelu(x, approximate=word),
        )
    assert torch.equal(model({"a": {"use": "act"}}, act=template)(x), F.gelu(x))


def test_params_refer_to_each_other_and_to_names_around_them():
    template = {
        "params": {"hidden": "4 * dim", "half": "hidden // 2"},
        "body": {"a": linear("hidden"), "b": linear("half")},
    }
    net = model(
        {"a": {"use": "mlp"}, "b": {"use": "mlp", "hidden": "width"}},
        mlp=template,
        params={"width": 10},
    )
    assert (net.a.a.out_features, net.a.b.out_features) == (24, 12)
    assert (net.b.a.out_features, net.b.b.out_features) == (10, 5)


CROSS = {"block": "CrossAttention", "heads": 2}


def test_a_template_hands_further_inputs_to_what_takes_them_by_name():
    """Cross-attention under a residual: `context` goes through the template to the block in its
    hole.
    """
    graph = {"cross": {"use": "residual", "inner": CROSS, "in": {"x": "x", "context": "memory"}}}
    net = model(
        graph, inputs={"x": TOKENS, "memory": {"tokens": 5, "dim": 4}}, residual=RESIDUAL, norm=NORM
    )
    x, memory = tokens(), torch.randn(B, 5, 4)
    expected = x + net.cross.inner(net.cross.norm(x), context=memory)
    assert torch.equal(net(x, memory), expected)
    assert not torch.equal(net(x, memory + 1), expected)


MASKED = {"x": TOKENS, "padding_mask": {"shape": "data.mask", "optional": True, "dtype": "bool"}}


def masked(facts):
    graph = {
        "layers": {
            "repeat": 2,
            "in": {"x": "x", "padding_mask": "padding_mask"},
            "body": {
                "attention": {
                    "use": "residual",
                    "inner": {"block": "SelfAttention", "heads": 2},
                    "in": {"x": "x", "padding_mask": "padding_mask"},
                }
            },
        }
    }
    return model(graph, inputs=MASKED, facts=facts, residual=RESIDUAL, norm=NORM)


def test_an_optional_input_may_stand_before_one_that_is_needed():
    graph = {
        "sum": {
            "block": "SelfAttention",
            "heads": 1,
            "in": {"x": "x", "padding_mask": "padding_mask"},
        }
    }
    turned = dict(reversed(MASKED.items()))
    model = build({"inputs": turned, "graph": graph}, facts={"mask": [N]})
    assert model.input_names == ("x", "padding_mask")
    x = tokens()
    kept = model(padding_mask=torch.ones(B, N, dtype=torch.bool), x=x)
    torch.testing.assert_close(kept, model(x), rtol=0, atol=1e-6)


def test_an_optional_input_may_be_absent():
    torch.manual_seed(0)
    bare = masked({})
    torch.manual_seed(0)
    able, x = masked({"mask": [N]}), tokens()
    assert torch.allclose(bare(x), able(x, torch.ones(B, N, dtype=torch.bool)), atol=1e-6)
    assert torch.allclose(bare(x), able(x), atol=1e-6)


def test_a_mask_through_repeats_and_templates_hides_tokens():
    net, x = masked({"mask": [N]}), tokens()
    mask = torch.ones(B, N, dtype=torch.bool)
    mask[:, 5:] = False
    changed = x.clone()
    changed[:, 5:] = torch.randn(B, 2, D)
    assert torch.allclose(net(x, mask)[:, :5], net(changed, mask)[:, :5], atol=1e-6)
    assert not torch.allclose(net(x)[:, :5], net(changed)[:, :5], atol=1e-6)
