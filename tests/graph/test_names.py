"""Names: which widths are inferred, what a text may refer to, what the parameters are called."""

import pytest
import torch

from blocks.graph import ConfigError, build, compose, plan

B, N, D = 2, 7, 6
TOKENS = {"tokens": N, "dim": D}
NORM = {"block": "LayerNorm", "epsilon": 1e-6}
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


def model(graph, inputs=None, facts=None, **sections):
    return build({"inputs": inputs or {"x": TOKENS}, "graph": graph, **sections}, facts=facts)


def linear(features, **words):
    return {"block": "Linear", "features": features, **words}


def tokens(batch=B, dim=D):
    return torch.randn(batch, N, dim)


def mistakes(graph, **sections):
    with pytest.raises(ConfigError) as caught:
        model(graph, **sections)
    return [problem.problem for problem in caught.value.problems]


# ---------------------------------------------------------------- widths, names and facts


def test_widths_are_inferred_and_equal_to_written_ones():
    bare = model(
        {"norm": {"block": "RMSNorm"}, "attention": {"block": "SelfAttention", "heads": 2}}
    )
    written = model(
        {
            "norm": {"block": "RMSNorm", "dim": D},
            "attention": {"block": "SelfAttention", "heads": 2, "dim": D},
        }
    )
    assert {k: v.shape for k, v in bare.state_dict().items()} == {
        k: v.shape for k, v in written.state_dict().items()
    }


def test_arguments_axes_params_and_facts_are_found_nearest_first():
    params = {"dim": 40, "features": 50, "width": 60}
    net = model(
        {
            "a": linear("dim"),
            "b": linear("width"),
            "c": linear("data.classes"),
            "d": linear("b.features + c.dim"),
        },
        params=params,
        facts={"classes": 9},
    )
    widths = [net.get_submodule(name).out_features for name in "abcd"]
    assert widths == [
        40,
        60,
        9,
        69,
    ]  # the file's own `params` are nearer than the axes of the input


def test_an_option_sees_the_axes_of_the_place_where_it_is_used():
    net = model(
        {"a": linear(10), "b": {"use": "twice"}, "c": {"use": "twice"}},
        twice={"block": "Linear", "features": "2 * dim"},
    )
    assert (net.b.out_features, net.c.out_features) == (20, 40)


def test_state_dict_keys_are_paths_of_nodes():
    graph = {
        "stem": linear(D),
        "layers": {"repeat": 2, "body": {"mlp": {"use": "residual", "inner": linear("dim")}}},
        "head": linear(3),
    }
    keys = set(model(graph, residual=RESIDUAL, norm=NORM).state_dict())
    rooms = [
        "stem",
        "head",
        *(f"layers.{i}.mlp.{part}" for i in range(2) for part in ("norm", "inner")),
    ]
    assert keys == {f"{room}.{name}" for room in rooms for name in ("weight", "bias")}


def test_the_same_seed_gives_the_same_weights_and_another_others():
    graph = {"layers": {"repeat": 2, "block": "Linear", "features": 5}}
    nets = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        nets.append(model(graph).state_dict())
    assert all(torch.equal(nets[0][key], nets[1][key]) for key in nets[0])
    assert not any(torch.equal(nets[0][key], nets[2][key]) for key in nets[0])


def test_a_build_on_meta_has_the_shapes_of_a_real_one_and_takes_no_memory():
    drawn = build("vit", ["params.depth=2"], device="meta")
    real = build("vit", ["params.depth=2"])
    assert {k: (v.shape, v.dtype) for k, v in drawn.state_dict().items()} == {
        k: (v.shape, v.dtype) for k, v in real.state_dict().items()
    }
    assert all(parameter.is_meta for parameter in drawn.parameters())
    assert not any(tensor.is_meta for tensor in (*real.parameters(), *real.buffers()))


@pytest.mark.parametrize("batch", [1, 3, 8])
def test_every_batch_size_runs_and_examples_do_not_see_each_other(batch):
    torch.manual_seed(0)
    net = build("vit", ["params.depth=1", "params.dim=16"]).eval()
    images = torch.randn(batch, 1, 8, 8)
    logits = net(images)["logits"]
    alone = torch.cat([net(images[i : i + 1])["logits"] for i in range(batch)])
    assert torch.allclose(logits, alone, atol=1e-5)


def test_overrides_in_python_are_those_of_the_command_line():
    torch.manual_seed(0)
    short = build(
        "vit",
        [
            "params.depth=1",
            "norm=rmsnorm",
            "~graph.position",
            "+graph.tail={block: Tanh, after: norm}",
        ],
    )
    planned = plan(
        compose(
            [
                "model=vit",
                "model.params.depth=1",
                "model/norm=rmsnorm",
                "~model.graph.position",
                "+model.graph.tail={block: Tanh, after: norm}",
            ]
        )
    )
    assert short.code == planned.model.code
    assert "tail = self.tail(norm)" in short.code
    assert list(short.state_dict()) == list(planned.model.state_dict())


def test_a_model_of_the_users_own_folder_reads_the_projects_slots(tmp_path):
    (tmp_path / "model" / "norm").mkdir(parents=True)
    (tmp_path / "model" / "norm" / "mine.yaml").write_text(
        "block: LayerNorm\nepsilon: 0.5\n", encoding="utf-8"
    )
    (tmp_path / "model" / "tiny.yaml").write_text(
        "defaults: [mlp: gelu, norm: mine, _self_]\ninputs: {x: [6]}\n"
        "graph:\n  norm: {use: norm}\n  mlp: {use: mlp, hidden: 9}\n",
        encoding="utf-8",
    )
    net = plan(compose(["model=tiny"], config_dir=str(tmp_path))).materialise()
    assert net.norm.eps == 0.5
    assert net.mlp.expand.out_features == 9


def test_a_block_of_ones_own_comes_from_a_folder(tmp_path):
    (tmp_path / "twice.py").write_text(
        "from torch import nn\n\n\nclass Times(nn.Module):\n"
        "    def __init__(self, factor: int = 2):\n        super().__init__()\n"
        "        self.factor = factor\n\n    def forward(self, x):\n        return self.factor "
        "* x\n",
        encoding="utf-8",
    )
    x = tokens()
    net = build(
        {"inputs": {"x": TOKENS}, "graph": {"a": {"block": "Times", "factor": "1 + 2"}}},
        library=[str(tmp_path)],
    )
    assert torch.equal(net(x), 3 * x)


def test_claims_hold_for_the_data_they_name_only():
    graph = {"head": linear("data.classes")}
    expect = {"when": "data.classes == 5", "parameters": 1}
    assert mistakes(graph, expect=expect, facts={"classes": 5}) == [
        "the model has not the parameters it claims"
    ]
    model(graph, expect=expect, facts={"classes": 4})
    model(graph, expect={**expect, "parameters": 35}, facts={"classes": 5})
