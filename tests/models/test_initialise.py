import pytest
import torch
from torch import nn

from blocks.graph import ConfigError, build

FACTS = {"image": {"channels": 3, "height": 32, "width": 32}, "classes": 10}


def model(lines, depth=2, width=64):
    """`depth` linear layers and a norm."""
    torch.manual_seed(0)
    return build({
        "params": {"depth": depth},
        "inputs": {"x": {"dim": width}},
        "graph": {
            "layers": {"repeat": "depth", "body": {"linear": {"block": "Linear", "features": width}}},
            "norm": {"block": "LayerNorm"},
        },
        "initialise": lines,
    })  # fmt: skip


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
    assert torch.equal(net.layers.get_submodule("0.linear").weight, plain.layers.get_submodule("0.linear").weight)
    assert (net.layers.get_submodule("1.linear").weight == 0).all()


@pytest.mark.parametrize(("line", "peer"), [
    ("xavier_uniform", nn.init.xavier_uniform_),
    ({"xavier_normal": 2.0}, lambda x: nn.init.xavier_normal_(x, 2.0)),
    ("kaiming_uniform", lambda x: nn.init.kaiming_uniform_(x, 0.0, "fan_in", "relu")),
    ({"kaiming_normal": "fan_out"}, lambda x: nn.init.kaiming_normal_(x, mode="fan_out", nonlinearity="relu")),
    ({"kaiming_normal": {"nonlinearity": "leaky_relu", "slope": 0.2}}, lambda x: nn.init.kaiming_normal_(x, 0.2)),
    ("orthogonal", nn.init.orthogonal_),
    ({"normal": {"mean": 1, "std": 2}}, lambda x: nn.init.normal_(x, 1, 2)),
    ({"trunc_normal": 0.02}, lambda x: nn.init.trunc_normal_(x, std=0.02)),
    ({"uniform": 0.1}, lambda x: nn.init.uniform_(x, -0.1, 0.1)),
])  # fmt: skip
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
    assert [net.layers.get_submodule(f"{i}.linear").weight[0, 0].item() for i in range(2)] == [64.5, 65.0]


def test_gpt2_scales_its_branches_by_depth_and_ties_first():
    torch.manual_seed(0)
    net = build("gpt2", ["params.dim=128", "params.depth=8", "params.heads=2", "params.vocab=100", "params.length=8"])
    assert net.head.weight is net.embedding.weight
    spread = {
        name: value.std().item()
        for name, value in net.named_parameters()
        if name.endswith("weight") and value.dim() == 2
    }
    assert all(spread[name] == pytest.approx(0.005 if ".project." in name else 0.02, rel=0.05) for name in spread)


@pytest.mark.parametrize(("name", "pattern", "deviation"), [
    ("vit", "head.weight", 0.02),
    ("swin", "head.weight", 0.02),
    ("convnext_t", "stem.weight", 0.02),
    ("vgg16", "head.weight", 0.01),
    ("resnet18", "stages.0.units.0.first.conv.weight", (2 / (64 * 9)) ** 0.5),
    ("mixer_b16", "layers.0.channels.inner.expand.weight", 768**-0.5),
])  # fmt: skip
def test_models_start_as_their_papers_say(name, pattern, deviation):
    torch.manual_seed(0)
    assert build(name, [], FACTS).get_parameter(pattern).std().item() == pytest.approx(deviation, rel=0.1)


def test_an_option_changes_all_of_it():
    assert build("vit", ["initialise=torch"], FACTS).head.weight.std().item() == pytest.approx(
        (3 * 64) ** -0.5, rel=0.1
    )


@pytest.mark.parametrize(("lines", "message"), [
    ({"Liner.weight": "zeros"}, "'Liner.weight' matches no parameter\n  fits      did you mean Linear.weight"),
    ({"Linear.wieght": "zeros"}, "'Linear.wieght' matches no parameter\n  fits      did you mean Linear.weight"),
    ({"layers.*.linar.weight": "zeros"}, "did you mean layers.*.linear.weight"),
    ({"norm.weight": "xavier_uniform"}, "xavier_uniform is for matrices, and norm.weight (64,) is none"),
    ({"norm": {"norml": 0.1}}, "'norml'\n  got       norm: {norml: 0.1}\n  fits      did you mean normal"),
    ({"norm": {"normal": {"sd": 1}}}, "normal has no argument 'sd'"),
    ({"norm": {"constant": {}}}, "constant needs value"),
    ({"norm": {"zeros": 1}}, "zeros takes no argument"),
    ({"norm": {"normal": "1 / deph"}}, "no name 'deph' in scope here"),
    ({"layers.{0}": "zeros"}, "{0} is no name"),
    ({"Linear.weight": {"kaiming_normal": "fan"}}, "mode takes one of fan_in, fan_out"),
])  # fmt: skip
def test_mistakes_are_told(lines, message):
    with pytest.raises(ConfigError) as error:
        model(lines)
    assert message in str(error.value)


def test_a_kind_that_a_model_has_not_is_no_mistake():
    model({"Conv2d.weight": "kaiming_normal"})


def test_a_tied_parameter_is_named_by_its_first_name():
    with pytest.raises(ConfigError, match=r"'head\.weight' is the same parameter as 'embedding\.weight'"):
        build("gpt2", ["+initialise={head.weight: zeros}", "params.depth=1"], device="meta")
