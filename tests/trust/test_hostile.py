"""Nothing of a stranger's is executed: a share of the corpus by default, all of it under `slow`."""

from pathlib import Path

import pytest

from tests.trust import cost, hostile
from tests.trust.case import Case, play
from tests.trust.corpus_yaml import GLOBAL

ALL = list(hostile.cases())
SLOW = ("secrets", "sizes")  # which train, or build until a limit is reached
QUICK = [case for case in ALL if case.family not in SLOW][::9]


@pytest.mark.parametrize("case", QUICK, ids=str)
def test_nothing_is_executed(case):
    assert hostile.faults(case) == []


@pytest.mark.slow
@pytest.mark.parametrize("case", [case for case in ALL if case not in QUICK], ids=str)
def test_nothing_is_executed_by_the_rest(case):
    assert hostile.faults(case) == []


@pytest.mark.slow
@pytest.mark.parametrize("case", hostile.sample(9), ids=str)
def test_nothing_is_executed_in_a_process_of_its_own(case):
    assert hostile.faults(case, processes=True) == []


def test_the_corpus_is_as_large_as_it_says():
    assert len(ALL) >= 150
    assert len({str(case) for case in ALL}) == len(ALL)


def test_the_watch_sees_what_it_must(tmp_path):
    """What the user names on the command line does run: the canaries sing, so their silence means
    something.
    """
    outcome = play(
        Case("own", "library", ["blocks", "explain", "model=mlp", "library=[@CONF@]"]), tmp_path
    )
    assert any("executed: EXECUTED" in harm for harm in outcome.harm)
    assert any(harm.startswith("open ") for harm in outcome.harm)
    assert any(harm.startswith("exec ") for harm in outcome.harm)
    assert "the environment: CANARY_SET" in outcome.harm


def test_the_command_line_may_trust_a_class_of_ones_own(tmp_path):
    words = ["train", "trainer=debug", "model.params.depth=1", "callbacks.progress.style=none"]
    body = "    def setup(self, *_, **__):\n        raise ValueError('own')\n"
    own = f"import pytorch_lightning as pl\n\n\nclass Own(pl.Callback):\n{body}"
    files = {"here/mine.py": own}
    asked = [*words, "+callbacks.own={_target_: mine.Own}"]
    assert play(Case("own", "not trusted", asked, files), tmp_path / "a").status == 2
    outcome = play(Case("own", "trusted", [*asked, "trust=mine.Own"], files), tmp_path / "b")
    assert (outcome.status, "ValueError: own" in outcome.err) == (1, True)


def test_a_run_folder_is_no_command_line():
    from blocks.graph import ConfigError, compose

    for word in (
        "library=[mine]",
        "trust=a.B",
        "hydra.run.dir=/srv/x",
        "++hydra.callbacks.e={a: 1}",
        "runs=/srv/x",
    ):
        with pytest.raises(ConfigError, match="a run folder may not set"):
            compose(["model=mlp"], adopted=[word])
    composed = compose(["seed=3"], adopted=["model=mlp", "callbacks.checkpoint.dirpath=/srv/x"])
    assert not composed.is_typed(("callbacks", "checkpoint", "dirpath"))
    assert composed.is_typed(("seed",))


def test_an_experiment_says_more_than_the_first_file_and_less_than_the_command_line(tmp_path):
    from blocks.graph import compose

    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment/mine.yaml").write_text(
        f"{GLOBAL}seed: 5\nweights: {{freeze: [patch]}}\n", encoding="utf-8"
    )
    composed = compose(["experiment=mine"], config_dir=str(tmp_path))
    assert (composed.config["seed"], composed.config["weights"]["freeze"]) == (5, ["patch"])
    assert compose(["experiment=mine", "seed=7"], config_dir=str(tmp_path)).config["seed"] == 7


def test_every_yaml_of_the_project_keeps_the_rules():
    from blocks.support.yaml_rules import check, conf_folder

    files = sorted(Path(conf_folder()).rglob("*.yaml"))
    assert len(files) > 100
    assert all(check(file) for file in files)


def test_python_m_imports_nothing_from_where_the_user_stands(tmp_path):
    """`python -m` puts that folder before all others; a stranger's folder may hold a yaml.py, or
    plug-ins for Hydra.
    """
    mark = tmp_path / "EXECUTED"
    names = ("yaml", "argparse", "torch", "hydra_plugins/strange")
    files = {f"here/{name}.py": f"open({str(mark)!r}, 'w')\n" for name in names}
    case = Case(
        "own",
        "a folder of a stranger",
        ["blocks", "explain", "model=mlp", "data=digits"],
        files,
        refused=False,
    )
    outcome = play(case, tmp_path, hostile.apart)
    assert (outcome.status, outcome.harm) == (0, [])


@pytest.mark.slow
def test_no_bomb_is_looked_at_for_long(capsys):
    assert hostile.bombs() == 0


def test_no_answer_takes_long_or_much_memory():
    cost.prepare()
    found = {str(case): cost.measure(case) for case in hostile.endless()[::40]}
    assert {name: each.faults for name, each in found.items() if each.faults} == {}
    assert all(each.seconds > 0 for each in found.values())


def test_a_cost_is_noted(monkeypatch):
    """What is measured is not nothing: the same answer is at fault where less is allowed."""
    monkeypatch.setattr(cost, "SECONDS", 0)
    assert any("takes" in fault for fault in cost.measure(hostile.endless()[0]).faults)


@pytest.mark.slow
def test_no_answer_of_all_takes_long_or_much_memory():
    assert hostile.costs([]) == 0
