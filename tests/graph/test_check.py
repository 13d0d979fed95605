"""A sweep is checked as it would run: the same combinations, composed the same, the bad ones
named.
"""

import re
import time
from dataclasses import replace

import pytest
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser

from blocks.__main__ import main
from blocks.graph import ConfigError, compose, plan
from blocks.graph.compose.combinations import combinations
from blocks.graph.compose.compose import conf_folder, opened_hydra
from blocks.graph.describe.sweep_check import check, find_idle, report
from blocks.graph.read.loader import CachedLoader, Loader, parse_override

SWEEPS = [
    ["model=vit,swin", "model.params.dim=32,64"],
    ["model=glob(vit_*)", "model.params.depth=range(2,5)", "optimizer.lr=1e-3"],
    [
        "model/mlp=choice(gelu,swiglu)",
        "+model.graph.extra={block: Dropout, rate: 0.1, after: norm}",
    ],
]
ALONE = [
    ["model=vit", "model/mlp=swiglu", "model.params.depth=6"],
    ["model=swin", "~model.graph.patch_norm", "data=imagenet"],
    ["+model.graph.extra={block: Dropout, rate: 0.1, after: norm}", "seed=3"],
    [
        "model=vit",
        "model/residual=postnorm",
        "optimizer.lr=0.1",
        "data.batch_size=7",
        "hydra.job.num=3",
    ],
    ["model.params.detph=3"],
    ["model=vti"],
    ["model/mlp=gelo", "model.params.detph=3"],
    ["+model/rotary=none"],
]


@pytest.mark.parametrize("sweep", SWEEPS, ids=" ".join)
def test_the_combinations_are_those_that_hydra_runs(sweep):
    with opened_hydra() as hydra:
        parsed = OverridesParser.create(config_loader=hydra.config_loader()).parse_overrides(sweep)
        (batch,) = BasicSweeper.split_arguments(parsed, None)
    assert [list(map(meant, each)) for each in combinations(sweep)] == [
        list(map(meant, each)) for each in batch
    ]


def meant(override: str) -> tuple[str, object]:
    parsed = parse_override(override)
    return parsed.get_key_element(), parsed.value()


def composed_or_told(overrides, loader=None):
    try:
        return compose(overrides, loader=loader)
    except ConfigError as error:
        return str(error)


@pytest.mark.slow
def test_composing_with_a_memory_gives_what_hydra_composes():
    loader = CachedLoader()
    for overrides in [
        *ALONE,
        *[each for sweep in SWEEPS for each in combinations(sweep)][::3],
        *ALONE,
    ]:
        plain = composed_or_told(overrides, Loader())
        assert composed_or_told(overrides, loader) == plain, overrides


def test_what_one_combination_changes_the_next_does_not_see():
    loader = CachedLoader()
    first = compose(["model=vit"], loader=loader)
    compose(["model=vit", "model.params.dim=7", "~model.graph.position"], loader=loader).config[
        "model"
    ].clear()
    assert compose(["model=vit"], loader=loader) == first


def test_a_file_is_a_model():
    files = [str(conf_folder() / "model" / f"{name}.yaml") for name in ("vit", "swin")]
    assert combinations([*files, "seed=1,2"]) == combinations(["model=vit,swin", "seed=1,2"])


def test_a_file_that_is_no_model_is_told(tmp_path):
    (tmp_path / "mine.yaml").write_text("graph: {}", encoding="utf-8")
    with pytest.raises(ConfigError) as raised:
        combinations([str(tmp_path / "mine.yaml")])
    assert str(raised.value).splitlines()[1:] == [
        "  no model of this project",
        "  fits      a file in conf/model",
        "  fix       YAML of your own: --config-dir DIR model=NAME, with DIR/model/NAME.yaml",
    ]


def test_an_interval_cannot_be_counted():
    with pytest.raises(ConfigError) as raised:
        combinations(["optimizer.lr=interval(0,1)"])
    assert str(raised.value).splitlines()[1:] == [
        "  an interval has infinitely many values",
        "  fits      key=1,2,3, key=range(1,5), key=choice(a,b) or group=glob(*)",
    ]


def test_every_good_combination_has_the_size_of_its_model():
    results = check(["model.params.dim=32,64", "model.params.heads=4,7"])
    assert [bool(result.problems) for result in results] == [False, True, False, True]
    for result in results[::2]:
        model = plan(compose(result.overrides)).model
        assert result.parameters == sum(parameter.numel() for parameter in model.parameters())


def test_the_table_names_the_bad_ones(capsys):
    assert main(["check", "model.params.dim=32,64", "model.params.heads=4,7"]) == 2
    table = capsys.readouterr().out.split("\n\n")[0]
    assert (
        table
        == """\
dim  heads  parameters    MACs
------------------------------
32   4          51,946   912 k
32   7             bad
64   4         202,186  3.50 M
64   7             bad"""
    )


def test_each_mistake_is_told_once(capsys):
    assert main(["check", "model/norm=layernorm,rmsnorm", "model.params.heads=7"]) == 2
    told = capsys.readouterr().out
    assert told.count("SelfAttention: heads must divide dim") == 1
    assert told.endswith("  in        in all\n\n2 combinations, 2 bad\n")


def test_what_changes_nothing_is_warned_of(tmp_path, capsys):
    (tmp_path / "model" / "extra").mkdir(parents=True)
    (tmp_path / "model" / "extra" / "some.yaml").write_text(
        "# Nothing uses this.\nblock: ReLU\n", encoding="utf-8"
    )
    (tmp_path / "model" / "mine.yaml").write_text(
        "# A model with words that change nothing.\ndefaults: [vit, extra: some, "
        "_self_]\nparams: {unread: 3}\n",
        encoding="utf-8",
    )
    found = find_idle(plan(compose(["model=mine"], config_dir=str(tmp_path))))
    assert [(problem.path, problem.problem) for problem in found] == [
        ("params.unread", "nothing reads this param"),
        ("extra", "no node uses this slot"),
    ]
    assert main(["check", "model=mine", "--config-dir", str(tmp_path)]) == 0
    assert (
        "mine.yaml:3:10  params.unread: nothing reads this param; model=mine\n"
        in capsys.readouterr().out
    )


def test_an_argument_that_its_template_does_not_read_is_warned_of():
    overrides = ["+model.residual.params.useless=1"]
    (problem,) = find_idle(plan(compose(["model=vit"]))) or [None]
    assert problem is None
    with pytest.raises(
        ConfigError, match="no node reads 'useless'"
    ):  # the command line says it: then it is a mistake
        plan(compose(overrides))


@pytest.mark.slow
def test_two_hundred_combinations_take_less_than_twenty_seconds():
    sweep = [
        "model.params.dim=range(32,192,32)",
        "model.params.depth=range(1,6)",
        "model/mlp=gelu,swiglu",
    ]
    start = time.perf_counter()
    results = check([*sweep, "model.params.heads=1,2,3,4"])
    assert len(results) == 200
    assert sum(bool(result.problems) for result in results) == 40
    assert time.perf_counter() - start < 20


def test_a_sweep_over_equal_models_is_told(capsys):
    assert main(["check", "model.params.dim=64,2*32,32", "optimizer.lr=0.1,0.2"]) == 0
    assert capsys.readouterr().out.endswith(
        """
warning: these are the same model
  model.params.dim=64;  model.params.dim=2*32

6 combinations, all good
"""
    )


def test_a_sweep_of_other_things_than_the_model_is_no_warning(capsys):
    assert main(["check", "model=mlp", "optimizer.lr=0.1,0.2", "data.batch_size=32,64"]) == 0
    assert "warning" not in capsys.readouterr().out


def test_a_mistake_in_every_repeat_is_one_of_its_combination(tmp_path):
    """Each combination counts once, however often the mistake is met in it."""
    (tmp_path / "model").mkdir()
    graph = "graph:\n  a: {repeat: 6, body: {b: {block: Linear, features: wide}}}\n"
    (tmp_path / "model" / "mine.yaml").write_text(
        f"params: {{n: 1}}\ninputs: {{x: [6]}}\n{graph}", encoding="utf-8"
    )
    results = check(["model=mine", "seed=1,2", "model.params.n=1,2,3"], config_dir=str(tmp_path))
    assert len(results) == 6
    counts = re.findall(r"(\d+) of (\d+)", report([*results, replace(results[0], problems=())]))
    assert counts == [("6", "7")]
