"""Every model and experiment can be looked at by its name alone, and the facts that were used are
said.
"""

import re

import pytest

from blocks.__main__ import main
from blocks.commands.common import Planner
from blocks.graph import ConfigError, compose, conf_folder, plan
from blocks.graph.compose.facts import fill_in, look_up_facts
from tasks.resume.compare import compare_config
from tasks.run.data_facts import read_data

FILES = [
    f"{group}={file.stem}"
    for group in ("model", "experiment")
    for file in (conf_folder() / group).glob("*.yaml")
]
SOME = [
    "model=gpt",
    "model=seq2seq",
    "model=answer",
    "model=signal_gru",
    "model=vit_s16",
    "experiment=positions",
    "experiment=mnist",
    "experiment=mnist1d",
]
EXAMPLE = "tokens={tokens: 128, dtype: int, vocab: 1024}, vocab=1024"


def ask(command: str, word: str, folder) -> int:
    more = {
        "diff": [word],
        "draw": ["-o", str(folder / "a.svg")],
        "emit": ["-o", str(folder / "a.py")],
        "fit": ["parameters=1e6"],
    }
    return main([command, word, *more.get(command, [])])


@pytest.mark.parametrize("word", SOME)
def test_a_file_can_be_looked_at_by_its_name_alone(word, tmp_path):
    assert ask("explain", word, tmp_path) == 0


@pytest.mark.slow
@pytest.mark.parametrize("command", ["explain", "draw", "check", "emit", "diff"])
def test_every_file_can_be_looked_at_by_its_name_alone(command, tmp_path):
    failed = [word for word in sorted(FILES) if ask(command, word, tmp_path)]
    assert not failed


def test_the_example_is_said_once_and_beside_the_answer(capsys):
    assert main(["check", "model=gpt,llama"]) == 0
    told = capsys.readouterr()
    assert told.err == f"facts: no data are chosen; these are the example of the model: {EXAMPLE}\n"
    assert "facts" not in told.out


def test_facts_of_small_data_are_read(capsys):
    assert main(["explain", "experiment=memory"]) == 0
    assert (
        capsys.readouterr().err
        == "facts: read from data=recall: tokens={tokens: 41, dtype: int, vocab: 16}, vocab=16\n"
    )


def test_data_that_are_not_read_leave_open_what_the_example_says(capsys):
    assert main(["explain", "model=gpt", "data=text", "data.length=64"]) == 0
    assert capsys.readouterr().err == (
        "facts: data=text was not read; what it leaves open is the example of the model: "
        "tokens={tokens: 64, dtype: int, vocab: 1024}, vocab=1024\n"
    )


def test_a_model_without_an_example_has_the_default_data(capsys):
    assert main(["explain", "model=vit"]) == 0
    assert capsys.readouterr().err == ""


def test_data_that_do_not_fit_are_a_mistake_as_before(capsys):
    assert main(["explain", "model=gpt", "data=digits"]) == 2
    assert "the data does not say 'tokens'" in capsys.readouterr().err


def test_a_mistake_elsewhere_reads_no_data(monkeypatch):
    composed = compose(["model=vit", "data=digits", "+model.graph.more={block: Relu}"])
    monkeypatch.setattr(Planner, "facts_of", lambda *_: pytest.fail("it imports Lightning"))
    with pytest.raises(ConfigError, match="Relu"):
        Planner()(composed)


UNREAD = {
    "data=table": """\
conf/data/table.yaml:3:1  data.path
  data.path is missing
  fix       data.path=...
""",
    "model=table_mlp data=hub_table": """\
conf/model/table_mlp.yaml:4:10  inputs.numbers
  the data does not say 'numbers'
  got       numbers: data.numbers
  fits      data has no facts; data=hub_table was not read, which may take longer than a second
  fix       choose other data (data=...), or state it: +data.facts.numbers=...
""",
    "data=images": """\
conf/data/images.yaml:3:1  data.path
  path is missing
  fix       data.path=FOLDER, or data.table=FILE
""",
    "data=images data.table=none.csv": """\
the command line: data.table=none.csv  data.table
  none.csv cannot be read: No such file or directory
  fix       data.table=FILE with a row for each image
""",
}


@pytest.mark.parametrize("words", UNREAD)
def test_data_that_cannot_be_read_say_why(words, capsys):
    assert main(["explain", *words.split()]) == 2
    assert re.sub(r"\n\n.*", "\n", capsys.readouterr().err, flags=re.DOTALL) == UNREAD[words]


def test_two_models_are_compared_with_the_same_facts(capsys):
    assert main(["diff", "model=resnet18", "model=vgg16"]) == 0
    assert "image={channels: 3, height: 224, width: 224}" in capsys.readouterr().err
    assert main(["diff", "model=gpt", "model=transformer_base"]) == 0
    assert EXAMPLE in capsys.readouterr().err


def test_a_number_of_samples_that_takes_long_is_not_read():
    composed = compose(["experiment=memory", "data.train=100000000"])
    from tasks.run.data_facts import read_facts

    assert read_facts(composed) is None


def test_an_example_changes_nothing_in_training():
    composed = compose(["model=gpt"])
    with pytest.raises(ConfigError, match="the data does not say 'tokens'"):
        plan(composed)
    assert look_up_facts(composed)[0]["vocab"] == 1024
    config = composed.config
    assert compare_config({**config, "model": {**config["model"], "example": None}}, config) == []


def test_what_is_open_is_filled_in_axis_by_axis():
    declared = {"tokens": {"tokens": 8, "vocab": None}, "classes": None, "width": 3}
    example = {"tokens": {"tokens": 128, "vocab": 5}, "classes": 2, "width": 4, "height": 1}
    assert fill_in(declared, example) == {
        "tokens": {"tokens": 8, "vocab": 5},
        "classes": 2,
        "width": 3,
    }


def test_a_fact_without_a_size_declares_nothing():
    assert set(read_data(compose(["experiment=positions"])).facts()) == {
        "source",
        "target",
        "vocab",
    }
