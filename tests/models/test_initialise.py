import pytest
import torch
from torch import nn

from blocks.graph import ConfigError, build

FACTS = {"image": {"channels": 3, "height": 32, "width": 32}, "classes": 10}


def model(lines, depth=2, width=64):
    """`depth` linear layers and a norm."""
    torch.manual_seed(0)
    return build(
        {
            "params": {"depth": depth},
            "inputs": {"x": {"dim": width}},
            "graph": {
                "layers": {
                    "repeat": "depth",
                    "body": {"linear": {"block": "Linear", "features": width}},
                },
                "norm": {"block": "LayerNorm"},
            },
            "initialise": lines,
        }
    )


def test_the_last_line_wins_and_what_no_line_names_starts_as_its_block_says():
    net = model(
        {
            "*.weight": "ones",
            "Linear.bias": {"constant": 0.5},
            "layers.1": "zeros",
            "layers.1.linear.bias": {"constant": 2},
        }
    )
    assert (net.layers.get_submodule("0.linear").weight == 1).all()
    assert (net.layers.get_submodule("0.linear").bias == 0.5).all()
    assert (net.layers.get_submodule("1.linear").weight == 0).all()
    assert (net.layers.get_submodule("1.linear").bias == 2).all()
    assert (net.norm.bias == 0).all()


def test_null_leaves_a_parameter_to_its_block():
    plain, net = model({}), model({"Linear.weight": "zeros", "layers.0": None})
    assert torch.equal(
        net.layers.get_submodule("0.linear").weight, plain.layers.get_submodule("0.linear").weight
    )
    assert (net.layers.get_submodule("1.linear").weight == 0).all()


@pytest.mark.parametrize(
    ("line", "peer"),
    [
        ("xavier_uniform", nn.init.xavier_uniform_),
        ({"xavier_normal": 2.0}, lambda x: nn.init.xavier_normal_(x, 2.0)),
        ("kaiming_uniform", lambda x: nn.init.kaiming_uniform_(x, 0.0, "fan_in", "relu")),
        (
            {"kaiming_normal": "fan_out"},
            lambda x: nn.init.kaiming_normal_(x, mode="fan_out", nonlinearity="relu"),
        ),
        (
            {"kaiming_normal": {"nonlinearity": "leaky_relu", "slope": 0.2}},
            lambda x: nn.init.kaiming_normal_(x, 0.2),
        ),
        ("orthogonal", nn.init.orthogonal_),
        ({"normal": {"mean": 1, "std": 2}}, lambda x: nn.init.normal_(x, 1, 2)),
        ({"trunc_normal": 0.02}, lambda x: nn.init.trunc_normal_(x, std=0.02)),
        ({"uniform": 0.1}, lambda x: nn.init.uniform_(x, -0.1, 0.1)),
    ],
)
def test_distributions_are_those_of_torch(line, peer):
    net = model({"layers.0.linear.weight": line}, depth=1)
    torch.manual_seed(0)
    nn.Linear(64, 64)
    assert torch.equal(net.layers.get_submodule("0.linear").weight, peer(torch.empty(64, 64)))


def test_a_seed_decides():
    first, second = (model({"Linear.weight": {"normal": 0.02}}) for _ in range(2))
    assert all(map(torch.equal, first.state_dict().values(), second.state_dict().values()))


def test_numbers_are_expressions_of_params_pieces_and_fans():
    net = model({"layers.{i}.*.weight": {"constant": "(i + 1) / depth + fan_in"}})
    assert [net.layers.get_submodule(f"{i}.linear").weight[0, 0].item() for i in range(2)] == [
        64.5,
        65.0,
    ]


def test_gpt2_scales_its_branches_by_depth_and_ties_first():
    torch.manual_seed(0)
    net = build(
        "gpt2",
        [
            "params.dim=128",
            "params.depth=8",
            "params.heads=2",
            "params.vocab=100",
            "params.length=8",
        ],
    )
    assert net.head.weight is net.embedding.weight
    spread = {
        name: value.std().item()
        for name, value in net.named_parameters()
        if name.endswith("weight") and value.dim() == 2
    }
    assert all(
        spread[name] == pytest.approx(0.005 if ".project." in name else 0.02, rel=0.05)
        for name in spread
    )


@pytest.mark.parametrize(
    ("name", "pattern", "deviation"),
    [
        ("vit_ti16", "head.weight", 0.02),
        ("swin_t", "head.weight", 0.02),
        ("cat_t", "head.weight", 0.02),
        ("convnext_t", "stem.weight", 0.02),
        ("vgg16", "head.weight", 0.01),
        ("resnet18", "stages.0.units.0.first.conv.weight", (2 / (64 * 9)) ** 0.5),
        ("mixer_b16", "layers.0.channels.inner.expand.weight", 768**-0.5),
    ],
)
def test_models_start_as_their_papers_say(name, pattern, deviation):
    torch.manual_seed(0)
    assert build(name, [], FACTS).get_parameter(pattern).std().item() == pytest.approx(
        deviation, rel=0.1
    )


def test_an_option_changes_all_of_it():
    assert build("vit", ["initialise=torch"], FACTS).head.weight.std().item() == pytest.approx(
        (3 * 64) ** -0.5, rel=0.1
    )


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            {"Liner.weight": "zeros"},
            "'Liner.weight' matches no parameter\n  fits      did you mean Linear.weight",
        ),
        (
            {"Linear.wieght": "zeros"},
            "'Linear.wieght' matches no parameter\n  fits      did you mean Linear.weight",
        ),
        ({"layers.*.linar.weight": "zeros"}, "did you mean layers.*.linear.weight"),
        (
            {"norm.weight": "xavier_uniform"},
            "xavier_uniform is for matrices, and norm.weight (64,) is none",
        ),
        (
            {"norm": {"norml": 0.1}},
            "'norml'\n  got       norm: {norml: 0.1}\n  fits      did you mean normal",
        ),
        ({"norm": {"normal": {"sd": 1}}}, "normal has no argument 'sd'"),
        ({"norm": {"constant": {}}}, "constant needs value"),
        ({"norm": {"zeros": 1}}, "zeros takes no argument"),
        ({"norm": {"normal": -1}}, "std of normal is negative\n  got       norm: {normal: -1}"),
        ({"norm": {"trunc_normal": float("nan")}}, "std of trunc_normal is nan"),
        ({"norm": {"uniform": -1}}, "uniform has no number between 1 and -1"),
        ({"norm": {"trunc_normal": {"low": 3}}}, "trunc_normal has no number between 3 and 2"),
        ({"norm": {"normal": "1 / deph"}}, "no name 'deph' in scope here"),
        ({"layers.{0}": "zeros"}, "{0} is no name"),
        ({"Linear.weight": {"kaiming_normal": "fan"}}, "mode takes one of fan_in, fan_out"),
    ],
)
def test_mistakes_are_told(lines, message):
    with pytest.raises(ConfigError) as error:
        model(lines)
    assert message in str(error.value)


def test_a_kind_that_a_model_has_not_is_no_mistake():
    model({"Conv2d.weight": "kaiming_normal"})


def test_a_tied_parameter_is_named_by_its_first_name():
    with pytest.raises(
        ConfigError, match=r"'head\.weight' is the same parameter as 'embedding\.weight'"
    ):
        build("gpt2", ["+initialise={head.weight: zeros}", "params.depth=1"], device="meta")


TEXT = {name: {"tokens": 7, "dtype": "int", "vocab": 11} for name in ("tokens", "source", "target")}
TEXT = {**TEXT, "vocab": 11, "classes": 5}
QUESTIONS = {
    "question": {"tokens": 7, "dtype": "int", "vocab": 11},
    "image": [1, 16, 16],
    "classes": 5,
}


def bound(inputs, outputs):
    """Of Glorot and Bengio 2010, equation 16."""
    return (6 / (inputs + outputs)) ** 0.5


@pytest.mark.parametrize("name", ["vit", "swin", "cat", "bert", "transformer", "encoder", "answer"])
def test_small_models_start_by_their_widths(name):
    torch.manual_seed(0)
    net = build(name, [], QUESTIONS if name == "answer" else {**FACTS, **TEXT})
    matrices = {
        path: value
        for path, value in net.named_parameters()
        if path.endswith(("qkv.weight", "project.weight"))
    }
    matrices = {path: value for path, value in matrices.items() if value.dim() == 2}
    assert len(matrices) >= 6
    for path, value in matrices.items():
        assert value.abs().max().item() == pytest.approx(bound(*value.shape), rel=0.01), path


@pytest.mark.parametrize(
    ("name", "deviation"),
    [
        ("gpt2", 0.02),
        ("bert_base", 0.02),
        ("vit_ti16", 0.02),
        ("swin_t", 0.02),
        ("cat_t", 0.02),
    ],
)
def test_models_of_a_papers_size_keep_its_start(name, deviation):
    torch.manual_seed(0)
    small = (
        ["params.depth=1"]
        if name in ("gpt2", "bert_base", "vit_ti16")
        else ["params.depths=[1]", "params.heads=[2]"]
    )
    net = build(name, small, {**FACTS, "image": [3, 112, 112]})
    found = [
        value.std().item()
        for path, value in net.named_parameters()
        if path.endswith(("qkv.weight", "expand.weight"))
    ]
    assert found == pytest.approx([deviation] * len(found), rel=0.05)


def test_experts_start_by_the_widths_of_their_matrices():
    torch.manual_seed(0)
    lines = {
        "MixtureOfExperts.up_weight": "xavier_uniform",
        "MixtureOfExperts.down_weight": {"constant": "fan_in + fan_out / 1000"},
    }
    graph = {"experts": {"block": "MixtureOfExperts", "experts": 5, "hidden": 256}}
    net = build({"inputs": {"x": {"tokens": 3, "dim": 64}}, "graph": graph, "initialise": lines})
    assert net.experts.up_weight.std().item() == pytest.approx(
        (2 / (64 + 256)) ** 0.5, rel=0.01
    )  # 0.0791
    assert (net.experts.down_weight == 256.064).all()


def test_the_two_halves_of_gated_experts_are_matrices_of_their_own():
    graph = {
        "experts": {"block": "MixtureOfExperts", "experts": 5, "hidden": 33, "activation": "swiglu"}
    }
    lines = {"MixtureOfExperts.*_weight": "orthogonal"}
    up = build(
        {"inputs": {"x": {"tokens": 3, "dim": 17}}, "graph": graph, "initialise": lines}
    ).experts.up_weight
    assert up.shape == (5, 17, 66)
    for half in up.split(33, dim=2):
        torch.testing.assert_close(
            half @ half.mT, torch.eye(17).expand(5, -1, -1), atol=1e-5, rtol=0
        )


def attention(lines, **more):
    graph = {"attention": {"block": "SelfAttention", "heads": 6, "kv_heads": 2, **more}}
    return build(
        {"inputs": {"x": {"tokens": 3, "dim": 48}}, "graph": graph, "initialise": lines}
    ).attention


def test_a_part_of_a_fused_projection_is_named_as_a_layer():
    lines = {
        "Linear.weight": "zeros",
        "SelfAttention.v.weight": {"constant": "fan_in + fan_out / 100"},
    }
    q, k, v = attention(lines).qkv.weight.split([48, 16, 16])
    assert not q.any()
    assert not k.any()
    assert (v == 48.16).all()


def test_a_later_line_of_the_whole_wins_over_that_of_a_part():
    assert (
        attention(
            {"*Attention.[qk].weight": "zeros", "SelfAttention.qkv.weight": "ones"}
        ).qkv.weight
        == 1
    ).all()


def spread(net, path):
    return net.get_parameter(path).std().item()


def test_deepnorm_starts_as_the_paper_says():
    torch.manual_seed(0)
    layers, dim, hidden = 3, 96, 384
    net = build("bert", ["residual=deepnorm", f"params.depth={layers}", f"params.dim={dim}"], TEXT)
    beta = (8 * layers) ** -0.25
    q, k, v = net.get_parameter("layers.2.attention.inner.qkv.weight").chunk(3)
    alone = (2 / (2 * dim)) ** 0.5
    assert [part.std().item() for part in (q, k, v)] == pytest.approx(
        [alone, alone, beta * alone], rel=0.03
    )
    assert spread(net, "layers.2.attention.inner.project.weight") == pytest.approx(
        beta * alone, rel=0.03
    )
    for name in ("expand", "project"):
        found = spread(net, f"layers.2.mlp.inner.{name}.weight")
        assert found == pytest.approx(beta * (2 / (dim + hidden)) ** 0.5, rel=0.03)
    assert net.layers.get_submodule("2.mlp.shortcut").factor == pytest.approx((2 * layers) ** 0.25)
    assert spread(net, "head.weight") == pytest.approx(
        (2 / (dim + 11)) ** 0.5, rel=0.05
    )  # no part of a branch


def test_deepnorm_of_an_encoder_and_a_decoder_has_constants_of_its_own():
    torch.manual_seed(0)
    n = m = 2
    net = build("transformer_deepnorm", [f"params.depth={n}"], TEXT)
    sides = {"encoder": 0.87 * (n**4 * m) ** (-1 / 16), "decoder": (12 * m) ** -0.25}
    for side, beta in sides.items():
        found = spread(net, f"{side}.1.mlp.inner.expand.weight")
        assert found == pytest.approx(beta * (2 / (512 + 2048)) ** 0.5, rel=0.01)
    k, v = net.get_parameter("decoder.1.cross.inner.kv.weight").chunk(2)
    assert (v.std() / k.std()).item() == pytest.approx(sides["decoder"], rel=0.01)
    factors = [net.get_submodule(f"{side}.0.mlp.shortcut").factor for side in sides]
    assert factors == pytest.approx([0.81 * (n**4 * m) ** (1 / 16), (3 * m) ** 0.25])


def test_the_command_line_wins_over_what_a_template_says():
    net = build(
        "bert", ["residual=deepnorm", "params.depth=1", "+initialise={Linear.weight: zeros}"], TEXT
    )
    assert not net.get_parameter("layers.0.mlp.inner.expand.weight").any()


def test_xavier_starts_every_weight_as_torch_nn_transformer_does():
    torch.manual_seed(0)
    net = build("transformer_base", ["params.depth=1", "params.vocab=11"])
    peer = nn.Transformer(512, 8, 1, 1, 2048, batch_first=True)
    places = {
        "encoder.0.attention.inner.qkv": "encoder.layers.0.self_attn.in_proj_weight",
        "encoder.0.attention.inner.project": "encoder.layers.0.self_attn.out_proj.weight",
        "encoder.0.mlp.inner.expand": "encoder.layers.0.linear1.weight",
        "decoder.0.attention.inner.qkv": "decoder.layers.0.self_attn.in_proj_weight",
        "decoder.0.cross.inner.q": "decoder.layers.0.multihead_attn.in_proj_weight",
        "decoder.0.cross.inner.kv": "decoder.layers.0.multihead_attn.in_proj_weight",
        "decoder.0.cross.inner.project": "decoder.layers.0.multihead_attn.out_proj.weight",
        "decoder.0.mlp.inner.project": "decoder.layers.0.linear2.weight",
    }
    for ours, theirs in places.items():
        found, wanted = net.get_parameter(f"{ours}.weight"), peer.get_parameter(theirs)
        assert found.abs().max().item() == pytest.approx(wanted.abs().max().item(), rel=1e-3), ours
        assert found.std().item() == pytest.approx(wanted.std().item(), rel=0.01), ours


def test_a_template_says_nothing_of_kinds_that_do_not_exist():
    block = {
        "body": {"linear": {"block": "Linear", "features": 8}},
        "initialise": {"Liner.weight": "zeros"},
    }
    with pytest.raises(ConfigError, match=r"'Liner\.weight' matches no parameter"):
        build({"inputs": {"x": {"dim": 8}}, "graph": {"node": block}})
