"""A family of widths whose starts and learning rates carry over (muP)."""

import pytest
import torch
from torch.nn import functional as F

from blocks.__main__ import main
from blocks.graph import ConfigError, build, carry_starts, compare_widths, measure_starts

FACTS = {"tokens": {"tokens": 16, "dtype": "int", "vocab": 31}, "vocab": 31}
HEADS = "params.heads=dim // 8"
PATHS = ("embedding", "layers.0", "layers.1", "head")


def make(dim, *words, model="llama", **options):
    overrides = [f"params.dim={dim}", "params.depth=2", HEADS, *words]
    return build(model, [*overrides, "params.kv_heads=1"], facts=FACTS, **options)


def test_the_rule_of_each_parameter():
    transfers = compare_widths(make(64, device="meta"), make(32, "params.depth=1", device="meta"))
    found = {name: (rule.role, rule.growth) for name, rule in transfers.items()}
    assert found["embedding.weight"] == ("input", 1.0)
    assert found["layers.1.attention.norm.weight"] == ("input", 1.0)
    assert found["layers.1.attention.inner.qkv.weight"] == ("hidden", 2.0)
    assert found["layers.0.mlp.inner.project.weight"] == ("hidden", 170 / 85)
    assert found["head.weight"] == ("output", 2.0)
    hidden, output = transfers["layers.1.attention.inner.qkv.weight"], transfers["head.weight"]
    assert (hidden.learning_rate, hidden.deviation) == (0.5, 0.5**0.5)
    assert (output.learning_rate, output.deviation) == (0.5, 0.5)
    same = compare_widths(make(32, device="meta"), make(32, device="meta"))
    assert {rule.learning_rate for rule in same.values()} == {1.0}


def test_starts_have_the_deviations_of_the_rules():
    torch.manual_seed(0)
    base, wide = make(32), make(128)
    starts = measure_starts(base)
    transfers = compare_widths(wide, base)
    gain = wide.norm.weight.clone()
    carry_starts(wide, transfers, starts)
    now = measure_starts(wide)
    assert torch.equal(wide.norm.weight, gain)
    for name, times in (("embedding.weight", 1), ("layers.1.mlp.inner.gate.weight", 2)):
        assert now[name] == pytest.approx(starts[name] / times, rel=1e-5)
    assert now["head.weight"] == pytest.approx(starts["head.weight"] / 4, rel=1e-5)


def sizes_after_training(dim, carried, steps=4, rate=0.02):
    """The mean size of what some nodes give after some steps of Adam."""
    torch.manual_seed(0)
    network, rules = make(dim), {}
    if carried:
        base = make(32)
        rules = compare_widths(network, base)
        carry_starts(network, rules, measure_starts(base))
    groups = []
    for name, parameter in network.named_parameters():
        factor = rules[name].learning_rate if carried else 1.0
        groups.append({"params": [parameter], "lr": rate * factor})
    optimizer = torch.optim.Adam(groups)
    tokens = torch.randint(31, (8, 17), generator=torch.Generator().manual_seed(1))
    for _ in range(steps):
        optimizer.zero_grad()
        logits = network(tokens[:, :-1])["logits"]
        F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten()).backward()
        optimizer.step()
    seen = {}
    for path in PATHS:
        network.get_submodule(path).register_forward_hook(
            lambda module, inputs, out, path=path: seen.update({path: float(out.abs().mean())})
        )
    with torch.no_grad():
        network(tokens[:, :-1])
    return seen


def test_the_coordinate_check():
    """Activations stay of one size while the model becomes eight times as wide; without the rules
    they grow with the width (Yang et al. 2022, appendix D.1).
    """
    narrow = sizes_after_training(32, carried=True)
    wide, plain = sizes_after_training(256, carried=True), sizes_after_training(256, carried=False)
    for path in PATHS:
        assert 0.5 < wide[path] / narrow[path] < 2
    assert plain["layers.1"] / narrow["layers.1"] > 50


LLAMA = ["model=llama", "model.params.dim=?", "model.params.heads=dim // 16"]
LLAMA += ["model.params.kv_heads=1", "model.params.depth=2,3", "parameters=3e5,1e6"]


def test_a_ladder_is_a_table_and_commands(capsys):
    assert main(["fit", *LLAMA, "--multiple", "16", "--ladder"]) == 0
    lines = capsys.readouterr().out.splitlines()
    words = "model=llama model.params.heads=dim // 16 model.params.kv_heads=1"
    assert lines[2:4] == [
        f"   297,200  32.7 M  -0.9%  {words} model.params.depth=2 model.params.dim=80",
        f"   931,824   114 M  -6.8%  {words} model.params.depth=3 "
        "weights.base={dim: 80, depth: 2} model.params.dim=144",
    ]
    assert lines[5:] == [
        "width  rate of hidden, output  start of hidden, output",
        "------------------------------------------------------",
        "1                        1, 1                     1, 1",
        "1.8              0.556, 0.556             0.745, 0.556",
    ]
    assert main(["fit", *LLAMA, "--multiple", "16", "--ladder", "--commands"]) == 0
    assert (
        capsys.readouterr()
        .out.splitlines()[1]
        .endswith(
            "train.py model=llama 'model.params.heads=dim // 16' model.params.kv_heads=1 "
            "model.params.depth=3 'weights.base={dim: 80, depth: 2}' model.params.dim=144"
        )
    )


def test_a_list_of_another_length_is_reported(capsys):
    assert main(["fit", *LLAMA, "model.params.hidden=64,96,128", "--ladder"]) == 2
    assert capsys.readouterr().err.endswith(
        """\
the command line: model.params.hidden=64,96,128
  a list of a ladder has a value for each budget
  got       3 values, 2 budgets
  fits      python -m blocks fit model=llama 'model.params.dim=?' model.params.depth=4,6 \
parameters=1e6,4e6 --ladder
"""
    )


def test_heads_that_grow_and_tied_outputs_are_reported():
    with pytest.raises(ConfigError) as error:
        compare_widths(make(64, "params.heads=4", device="meta"), make(32, device="meta"))
    assert (
        str(error.value)
        == """\
weights.base
  starts and learning rates carry over between heads of one width
  got       layers.0.attention.inner has heads of 16, and of 8 in the base
  fix       let the number of heads grow with the width: model.params.heads='dim // 32'"""
    )
    tied = ["+tie={head.weight: embedding.weight}"]
    with pytest.raises(ConfigError) as error:
        compare_widths(make(64, *tied, device="meta"), make(32, *tied, device="meta"))
    assert (
        str(error.value)
        == """\
weights.base
  one parameter both reads an input and gives an output, whose rules differ
  got       embedding.weight and head.weight are one
  fix       untie them: '~model.tie'"""
    )
    with pytest.raises(ConfigError) as error:
        compare_widths(make(64, "mlp=gelu", device="meta"), make(32, device="meta"))
    assert "the base has no such parameter" in str(error.value)
