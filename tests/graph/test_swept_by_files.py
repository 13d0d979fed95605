"""A file of an option may say what a sweep runs, and nothing else of Hydra."""

import pytest

from blocks.graph import ConfigError, compose
from blocks.graph.compose.combinations import combinations, swept_by_files
from blocks.graph.describe.sweep_check import check

SWEEP = "hydra: {sweeper: {params: {model: 'vit,mlp', seed: '1,2'}}}"


@pytest.fixture
def told(tmp_path):
    """What composing says of an experiment with these lines."""

    def say(*lines):
        write(tmp_path, *lines)
        try:
            compose(["experiment=mine"], config_dir=str(tmp_path))
        except ConfigError as error:
            return str(error).replace(str(tmp_path), "")
        return "nothing"

    return say


def write(folder, *lines):
    (folder / "experiment").mkdir(exist_ok=True)
    text = "\n".join(["# @package _global_", "# mine", *lines])
    (folder / "experiment" / "mine.yaml").write_text(text + "\n", encoding="utf-8")


def test_the_runs_of_a_file_are_those_of_the_command_line(tmp_path):
    write(tmp_path, SWEEP)
    folder = str(tmp_path)
    found = combinations(["experiment=mine"], folder)
    assert found == [
        (f"model={model}", f"seed={seed}", "experiment=mine")
        for model in ("vit", "mlp")
        for seed in (1, 2)
    ]
    assert swept_by_files(["experiment=mine", "seed=5"], config_dir=folder) == [
        "model=vit,mlp",
        "seed=1,2",
    ]


def test_the_command_line_wins_over_the_file(tmp_path):
    write(tmp_path, SWEEP)
    found = combinations(["experiment=mine", "model=cnn", "seed=7"], str(tmp_path))
    assert found == [("model=cnn", "seed=7", "experiment=mine")]


def test_check_builds_what_the_file_sweeps(tmp_path):
    write(tmp_path, SWEEP)
    results = check(["experiment=mine", "seed=0"], str(tmp_path))
    assert [result.overrides[0] for result in results] == ["model=vit", "model=mlp"]
    assert not any(result.problems for result in results)


def test_alone_the_file_is_one_run(tmp_path, told):
    assert told(SWEEP) == "nothing"
    assert compose(["experiment=mine"], config_dir=str(tmp_path)).choices["model"] == "vit"


def test_another_word_of_hydra_is_refused_with_its_place(told):
    assert told("hydra: {job: {chdir: true}}") == (
        "/experiment/mine.yaml:3:9  hydra.job\n"
        "  a file that is chosen may not change how Hydra runs\n"
        "  fits      hydra.sweeper.params: {data.lag: '5,20'}\n"
        "  fix       set it on the command line"
    )


@pytest.mark.parametrize(
    "lines",
    [
        ["hydra: {sweeper: {_target_: os.system}}"],
        ["hydra: {sweeper: {max_batch_size: 1}}"],
        ["data: &x {run: {dir: elsewhere}}", "hydra: ${data}"],
        ["data: &x {hydra: {run: {dir: elsewhere}}}", "<<: *x"],
        ["data: &x {library: '[x]'}", "hydra: {sweeper: {params: {<<: *x}}}"],
        ["defaults: [override /hydra/launcher: basic]"],
        ["defaults: [/hydra/callbacks@hydra.callbacks.x: y]"],
        ["hydra: {sweeper: {params: {hydra/launcher: basic}}}"],
        ["hydra: {sweeper: {params: {'+hydra.run.dir': x}}}"],
    ],
)
def test_no_way_around_it_is_open(told, lines):
    assert told(*lines) != "nothing"


def test_a_sweep_in_a_file_names_no_code(told):
    assert told("hydra: {sweeper: {params: {library: '[mine]'}}}") == (
        "/experiment/mine.yaml:3:28  hydra.sweeper.params.library\n"
        "  blocks of your own are named on the command line, not in a file: their code runs\n"
        "  fix       library=... on the command line"
    )


def test_a_key_that_is_swept_stands_once():
    with pytest.raises(ConfigError, match="a swept key is given twice"):
        combinations(["seed=1,2", "seed=3"])
    assert combinations(["seed=1", "seed=2"]) == [
        ("seed=2",)
    ]  # as without a sweep: the last one counts
