import pickle
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import nn

from blocks.graph import ConfigError, build
from blocks.graph.compose.compose import conf_folder
from blocks.graph.weights import load_weights, save_weights
from blocks.graph.weights.finetune import fine_tune, freeze, learning_rates
from blocks.graph.weights.interpolate import resample
from blocks.graph.weights.names import read_map

MAPS = sorted(file.stem for file in (conf_folder() / "weights").glob("*.yaml"))
GPT = ["params.dim=32", "params.depth=1", "params.heads=2", "params.vocab=17", "params.length=8"]


def vit(size=8, classes=5, seed=0, **facts):
    torch.manual_seed(seed)
    return build(
        "vit",
        ["params.depth=2"],
        {"image": {"channels": 1, "height": size, "width": size}, "classes": classes, **facts},
    )


def linear(rows, columns):
    """The smallest model: one linear layer, named `only`."""
    return build(
        {
            "inputs": {"x": {"dim": columns}},
            "graph": {"only": {"block": "Linear", "features": rows, "bias": False}},
        }
    )


def equal(a, b):
    return all(torch.equal(value, b.state_dict()[name]) for name, value in a.state_dict().items())


def told(*arguments, **keywords):
    with pytest.raises(ConfigError) as error:
        load_weights(*arguments, **keywords)
    return str(error.value)


def test_missing_names_that_differ_in_a_number_are_named_once():
    layers = {"block": "Linear", "features": 3, "repeat": 9}
    model = build({"inputs": {"x": {"dim": 3}}, "graph": {"layers": layers}})
    message = told(model, {"x": torch.zeros(3)})
    assert "nothing fills 18 of ours\n" in message
    assert "  got       layers.*.weight (9), layers.*.bias (9)\n" in message


# ------------------------------------------------------------------------------------------------
# files


def test_saved_weights_come_back_and_a_tied_one_is_stored_once(tmp_path):
    first, second = build("gpt2", GPT), build("gpt2", GPT)
    save_weights(first, tmp_path / "gpt.safetensors")
    with safe_open(tmp_path / "gpt.safetensors", "pt") as file:
        assert "embedding.weight" in file.keys()  # noqa: SIM118
        assert "head.weight" not in file.keys()  # noqa: SIM118
    assert not equal(first, second)
    report = load_weights(second, tmp_path / "gpt.safetensors")
    assert equal(first, second)
    assert second.head.weight is second.embedding.weight
    assert str(report) == f"{len(list(first.parameters()))} tensors matched"


@pytest.mark.parametrize(
    "wrap", [lambda s: s, lambda s: {"model": s, "epoch": 3}, lambda s: {"state_dict": s}]
)
def test_a_file_of_torch_save_is_read_bare_or_wrapped(tmp_path, wrap):
    first, second = vit(seed=1), vit(seed=2)
    torch.save(wrap(first.state_dict()), tmp_path / "vit.pth")
    load_weights(second, tmp_path / "vit.pth")
    assert equal(first, second)


def test_a_file_that_would_run_code_is_refused(tmp_path):
    class Trap:
        def __reduce__(self):
            return Path.touch, (tmp_path / "ran",)

    file = tmp_path / "trap.pt"
    file.write_bytes(b"")
    torch.save({"weight": Trap()}, file)
    assert "this file holds more than tensors: reading it could run code" in told(vit(), file)
    file.write_bytes(pickle.dumps(Trap()))
    assert "trap.pt" in told(vit(), file)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "name", ["weights", "weights.bin", "weights.pt", "weights.safetensors", "weights.v2"]
)
def test_weights_are_recognised_by_their_content(tmp_path, name):
    first, second = vit(seed=1), vit(seed=2)
    save_weights(first, tmp_path / name)
    load_weights(second, tmp_path / name)
    assert equal(first, second)
    third = vit(seed=3)
    torch.save(first.state_dict(), tmp_path / name)
    load_weights(third, tmp_path / name)
    assert equal(first, third)


@pytest.mark.parametrize("name", ["program", "program.bin", "program.safetensors"])
def test_a_program_is_named_as_one_and_not_read(tmp_path, name):
    with (tmp_path / name).open("wb") as file:
        torch.export.save(torch.export.export(nn.Linear(3, 2), (torch.zeros(5, 3),)), file)
    assert "this file is a program of torch.export, not weights" in told(vit(), tmp_path / name)


@pytest.mark.parametrize(
    "content", [b"", b"\x08", b"PK\x03\x04", b"\x90\0\0\0\0\0\0\0{}", b"<html>not found</html>"]
)
@pytest.mark.parametrize("name", ["w", "w.bin", "w.safetensors"])
def test_what_are_no_weights_is_no_danger(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    assert "this file cannot be read as weights" in told(vit(), tmp_path / name)


def test_a_missing_and_a_broken_file_are_told(tmp_path):
    (tmp_path / "vit.safetensors").write_bytes(b"no tensors")
    assert "vit.safetensors\n  this file cannot be read as weights" in told(
        vit(), tmp_path / "vit.safetensors"
    )
    assert "did you mean vit.safetensors?" in told(vit(), tmp_path / "vit.safetensor")


# ------------------------------------------------------------------------------------------------
# accounting


def test_what_is_missing_and_left_over_is_told_and_nothing_is_copied():
    model = vit()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = {name: value + 1 for name, value in before.items()}
    state["heads.weight"] = state.pop("head.weight")
    assert told(model, state) == (
        "names of our own  weights\n"
        "  nothing fills 1 of ours\n"
        "  got       head.weight\n"
        "  fits      did you mean heads.weight?\n"
        "  fix       another map, or fewer layers\n\n"
        "the state_dict  weights\n"
        "  1 of theirs fill nothing\n"
        "  got       heads.weight\n"
        "  fix       a line in the map, or in its `drop`"
    )
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    report = load_weights(model, state, strict=False)
    assert (report.missing, report.left_over) == (("head.weight",), ("heads.weight",))


def test_the_map_that_fits_a_file_is_named():
    state = {
        "conv1.weight": torch.zeros(64, 3, 7, 7),
        "layer1.0.conv1.weight": torch.zeros(64, 64, 3, 3),
        "bn1.weight": torch.zeros(64),
        "bn1.bias": torch.zeros(64),
    }
    model = build(
        "resnet18", [], {"image": {"channels": 3, "height": 32, "width": 32}, "classes": 5}
    )
    assert "the map torchvision_resnet fits this file" in told(model, state, "timm_vit")


def test_an_unknown_map_and_an_unknown_word_are_told():
    assert "did you mean timm_vit" in told(vit(), {"x": torch.zeros(1)}, "tim_vit")
    assert "did you mean drop?" in told(
        vit(), {"x": torch.zeros(1)}, {"map": {"a": "b"}, "dropp": []}
    )
    assert "did you mean transpose?" in told(
        linear(2, 3),
        {"x": torch.zeros(2, 3)},
        {"map": {"only.weight": {"from": "x", "transpos": True}}},
    )


def test_an_expression_in_a_map_is_reckoned_never_run():
    state = {"x": torch.zeros(2, 3)}
    assert "cannot call __import__" in told(
        linear(2, 3), state, {"map": {"only.{p}": "{__import__('os').getcwd()}"}}
    )


@pytest.mark.parametrize("name", MAPS)
def test_every_map_of_the_project_reads_and_names_its_models(name):
    read = read_map(name)
    assert read.sections["map"]
    assert (conf_folder() / "weights" / f"{name}.yaml").read_text(encoding="utf-8").startswith("# ")


# ------------------------------------------------------------------------------------------------
# operations


def test_joins_parts_and_turns_are_exact():
    q, k, v = torch.randn(3, 2, 5)
    model = linear(6, 5)
    load_weights(
        model, {"q": q, "k": k, "v": v}, {"map": {"only.weight": {"from": ["q", "k", "v"]}}}
    )
    assert torch.equal(model.only.weight, torch.cat([q, k, v]))
    load_weights(
        model,
        {"x": torch.cat([k, v, q])},
        {"map": {"only.weight": {"from": "x", "parts": [2, 0, 1], "of": 3}}},
    )
    assert torch.equal(model.only.weight, torch.cat([q, k, v]))
    load_weights(
        model,
        {"x": torch.cat([v, k, q])},
        {"map": {"only.weight": {"from": "x", "parts": [2, 1, 0], "of": [2, 2, 2]}}},
    )
    assert torch.equal(model.only.weight, torch.cat([q, k, v]))
    load_weights(
        model,
        {"x": torch.cat([q, k, v]).T},
        {"map": {"only.weight": {"from": "x", "transpose": True}}},
    )
    assert torch.equal(model.only.weight, torch.cat([q, k, v]))
    load_weights(
        model,
        {"x": model.only.weight.detach().flip(1)[:, None]},
        {"map": {"only.weight": {"from": "x", "flip": [2], "reshape": True}}},
    )
    assert torch.equal(model.only.weight, torch.cat([q, k, v]))


def test_values_that_lie_in_turn_and_a_number_that_is_added():
    values = torch.randn(3, 4)
    line = {"from": "x", "interleaved": 2, "axis": 1, "add": 0.5}
    model = linear(3, 4)
    load_weights(model, {"x": values}, {"map": {"only.weight": line}})
    assert torch.equal(model.only.weight, values[:, [0, 2, 1, 3]] + 0.5)
    wrong = {"map": {"only.weight": {**line, "add": "one"}}}
    assert "add of a map is a number, not 'one'" in told(linear(3, 4), {"x": values}, wrong)


def test_a_part_that_nothing_takes_is_left_over():
    message = told(
        linear(4, 5),
        {"x": torch.randn(6, 5)},
        {"map": {"only.weight": {"from": "x", "parts": [0, 1], "of": 3}}},
    )
    assert "1 of theirs fill nothing\n  got       x" in message


def test_parts_of_unequal_sizes_are_each_accounted_for():
    values = torch.randn(7, 5)
    line = {"from": "x", "parts": [2, 0], "of": [1, 4, 2]}
    rest = {"from": "x", "parts": 1, "of": [1, 4, 2]}
    message = told(linear(3, 5), {"x": values}, {"map": {"only.weight": line}})
    assert "1 of theirs fill nothing\n  got       x" in message
    model = linear(4, 5)
    load_weights(model, {"x": values}, {"map": {"only.weight": rest}}, strict=False)
    assert torch.equal(model.only.weight, values[1:5])
    wrong = {"map": {"only.weight": {**line, "of": [1, 4, 3]}}}
    assert "cannot become (3, 5)" in told(linear(3, 5), {"x": values}, wrong)


def test_tensors_that_differ_cannot_fill_what_is_tied():
    state = build("gpt2", GPT).state_dict()
    state["head.weight"] = state["head.weight"] + 1
    assert (
        "embedding.weight and head.weight are one parameter here and two different ones there"
        in told(build("gpt2", GPT), state)
    )


def test_a_head_for_other_classes_is_replaced_when_asked():
    first, second = vit(classes=5, seed=1), vit(classes=7, seed=2)
    fresh = second.head.weight.detach().clone()
    message = told(second, first.state_dict(), {"map": {"{name*}": "{name*}"}, "head": ["head.*"]})
    assert "head.weight is (7, 64), and head.weight gives (5, 64)" in message
    assert "weights.head=replace" in message
    report = load_weights(
        second,
        first.state_dict(),
        {"map": {"{name*}": "{name*}"}, "head": ["head.*"]},
        head="replace",
    )
    assert report.replaced == ("head.weight", "head.bias")
    assert torch.equal(second.head.weight, fresh)
    assert torch.equal(second.norm.weight, first.norm.weight)


def test_positions_are_resampled_to_another_resolution():
    small, large = vit(8, seed=1), vit(12, seed=2)  # grids of 4 x 4 and 6 x 6, and a class token
    rows = torch.arange(4.0).repeat_interleave(4)[:, None].expand(-1, 64)
    small.position.table.data[1:] = rows
    own = {
        "map": {
            "position.table": {"from": "position.table", "fit": "grid", "prefix": 1},
            "{name*}": "{name*}",
        }
    }
    report = load_weights(large, small.state_dict(), own)
    assert report.reshaped == {"position.table": "4 x 4 to 6 x 6, bicubic"}
    table = large.position.table.detach()
    assert torch.equal(table[0], small.position.table[0])
    grid = table[1:].view(6, 6, 64)
    assert torch.allclose(grid, grid[:, :1].expand(-1, 6, -1), atol=1e-6)  # rows stay rows
    assert (grid[1:, 0, 0] > grid[:-1, 0, 0]).all()
    load_weights(small, small.state_dict(), own)  # the same resolution changes nothing
    assert torch.equal(small.position.table[1:], rows)


def test_a_window_table_keeps_its_middle_and_a_list_its_beginning():
    table = torch.randn(49, 2)
    wide, how = resample("window", table, (81, 2))
    assert how == "7 x 7 to 9 x 9, bicubic"
    assert torch.allclose(wide[40], table[24], atol=1e-5)
    assert torch.equal(resample("first", table, (9, 2))[0], table[:9])


def test_resampling_equals_timm():
    timm = pytest.importorskip("timm")
    table = torch.randn(1, 17, 8)
    theirs = timm.layers.resample_abs_pos_embed(table, [6, 6], num_prefix_tokens=1)
    assert torch.allclose(resample("grid", table, (37, 8), prefix=1)[0], theirs[0], atol=1e-6)


# ------------------------------------------------------------------------------------------------
# fine-tuning


def test_freezing_by_path_module_and_kind():
    model = vit()
    assert freeze(model, ["patch", "layers.0.*"]) == [
        name for name, _ in model.named_parameters() if name.startswith(("patch.", "layers.0."))
    ]
    assert [name for name, value in model.named_parameters() if not value.requires_grad] == freeze(
        model, ["patch", "layers.0"]
    )
    assert freeze(model, ["LayerNorm.weight"]) == [
        name for name, _ in model.named_parameters() if name.endswith("norm.weight")
    ]


def test_learning_rates_by_pattern_the_last_wins():
    rates = learning_rates(vit(), {"*": 0.5, "layers.{i}": "0.1 ** (2 - i)", "head": 2})
    assert rates["patch.project.weight"] == 0.5
    assert rates["layers.0.mlp.norm.bias"] == pytest.approx(0.01)
    assert rates["layers.1.mlp.norm.bias"] == pytest.approx(0.1)
    assert rates["head.bias"] == 2


@pytest.mark.parametrize(
    ("do", "message"),
    [
        (
            lambda m: freeze(m, ["layer.0"]),
            "'layer.0' matches no parameter\n  fits      did you mean layers.0",
        ),
        (
            lambda m: learning_rates(m, {"hed": 1}),
            "'hed' matches no parameter\n  fits      did you mean head?",
        ),
        (lambda m: learning_rates(m, {"head": -1}), "a multiplier is a number from 0"),
        (
            lambda m: fine_tune(m, {"freez": []}),
            "no key 'freez' in weights\n  fits      did you mean freeze?",
        ),
        (
            lambda m: fine_tune(m, {"map": "timm_vit"}),
            "need weights.load, which is missing\n  fix       weights.load=FILE",
        ),
    ],
)
def test_mistakes_of_fine_tuning_are_told(do, message):
    with pytest.raises(ConfigError) as error:
        do(vit())
    assert message in str(error.value)


def test_the_section_does_all_three(tmp_path):
    first, second = vit(seed=1), vit(seed=2)
    save_weights(first, tmp_path / "vit.safetensors")
    section = {
        "load": str(tmp_path / "vit.safetensors"),
        "map": None,
        "head": "keep",
        "freeze": ["patch"],
        "learning_rate": {"head": 10},
    }
    report, frozen, rates = fine_tune(second, section)
    assert len(report.matched) == len(first.state_dict())
    assert frozen == ["patch.project.weight", "patch.project.bias"]
    assert rates["head.weight"] == 10
    assert equal(first, second)


def test_buffers_are_weights_too():
    norm = {
        "inputs": {"x": {"channels": 3, "height": 2, "width": 2}},
        "graph": {"norm": {"block": "BatchNorm2d"}},
    }
    model, peer = build(norm), nn.BatchNorm2d(3)
    peer(torch.randn(4, 3, 2, 2))
    load_weights(model, peer.state_dict(), {"map": {"norm.{p}": "{p}"}})
    assert torch.equal(model.norm.running_var, peer.running_var)
    assert model.norm.num_batches_tracked == 1


def test_a_key_given_twice_in_a_map_is_an_error(tmp_path):
    path = tmp_path / "twice.yaml"
    path.write_text("map:\n  only.weight: a\n  only.bias: b\n  only.weight: c\n", encoding="utf-8")
    with pytest.raises(ConfigError) as error:
        read_map(path)
    assert "'only.weight' is given twice" in str(error.value)
    assert "line 2 and line 4" in str(error.value)
    assert error.value.problems[0].fix == "delete one of them"


def test_layers_of_two_kinds_fill_one_name_by_two_pieces(tmp_path):
    path = tmp_path / "kinds.yaml"
    lines = "map:\n  layers.{i}.weight: plain.{i}\n  layers.%s.weight: other.%s\n"
    path.write_text(lines % ("{i}", "{i}"), encoding="utf-8")
    with pytest.raises(ConfigError) as error:
        read_map(path)
    fix = "delete one of them; for layers of another kind write layers.{n}.weight"
    assert error.value.problems[0].fix == fix
    path.write_text(lines % ("{n}", "{n}"), encoding="utf-8")
    layers = {"block": "Linear", "features": 3, "bias": False, "repeat": 2}
    model = build({"inputs": {"x": {"dim": 3}}, "graph": {"layers": layers}})
    theirs = {"plain.0": torch.randn(3, 3), "other.1": torch.randn(3, 3)}
    load_weights(model, theirs, path)
    ours = model.state_dict()
    assert torch.equal(ours["layers.0.weight"], theirs["plain.0"])
    assert torch.equal(ours["layers.1.weight"], theirs["other.1"])
