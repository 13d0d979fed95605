"""Wrong configurations, one of each kind: what a person is told is one screen that names the place
and a fix.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from blocks.graph import ConfigError, build, compose, plan

ROOT = Path(__file__).parents[2]
LINES, COLUMNS = 24, 110  # one screen

# A file of wrong/: conf/model/broken.yaml of the user (or words for the project's `vit`), the
# command line, the text.
FOLDER = Path(__file__).parent / "wrong"
MESSAGE = "=== message\n"


def case(file: Path) -> tuple[str | None, list[str], str]:
    model, rest = file.read_text(encoding="utf-8").split("\n=== command line\n")
    overrides, text = rest.split(MESSAGE)
    return (
        None if model == "(the project's vit)" else model,
        overrides.splitlines(),
        text.removesuffix("\n"),
    )


WRONG = {file.stem: case(file) for file in sorted(FOLDER.glob("*.txt"))}


def told(folder: Path, model: str | None, overrides: list[str]) -> str:
    """What a wrong configuration is answered with."""
    (folder / "model").mkdir()
    if model is not None:
        (folder / "model" / "broken.yaml").write_text(f"{model}\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        plan(
            compose(
                [f"model={'vit' if model is None else 'broken'}", *overrides],
                config_dir=str(folder),
            )
        )
    return str(caught.value)


def is_one_screen(text: str) -> bool:
    lines = text.splitlines()
    return (
        len(lines) <= LINES
        and max(map(len, lines)) <= COLUMNS
        and "Traceback" not in text
        and 'File "' not in text
    )


@pytest.mark.parametrize("name", WRONG)
def test_a_mistake_is_reported_with_its_place_and_a_fix(name, tmp_path, monkeypatch, golden):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NO_SUCH_VARIABLE", raising=False)
    model, overrides, text = WRONG[name]
    found = told(tmp_path, model, overrides)
    golden(FOLDER / f"{name}.txt", text, found)
    assert is_one_screen(found)
    for problem in found.split("\n\n"):
        assert problem.startswith(("model/broken.yaml:", "the command line:", "and\n"))
        assert "\n  fits " in problem or "\n  fix " in problem or problem.startswith("and\n")


OWN = {
    "a folder that is not there": (
        None,
        None,
        """\
the command line: library=[mine]  library
  no folder or package 'mine' with blocks
  fits      a folder with .py files, or a package""",
    ),
    "a folder without blocks": (
        "notes.txt",
        "nothing",
        """\
the command line: library=[mine]  library
  no .py file in 'mine'
  fits      a folder with files that define nn.Module classes""",
    ),
    "a syntax error": (
        "own.py",
        "class = 3",
        """\
the command line: library=[mine]  library
  mine/own.py cannot be imported
  got       SyntaxError: invalid syntax (own.py, line 1) (line 1)
  fix       mend that file, or leave it out""",
    ),
    "a package that is not installed": (
        "own.py",
        "import no_such_package",
        """\
the command line: library=[mine]  library
  mine/own.py cannot be imported
  got       ModuleNotFoundError: No module named 'no_such_package' (line 1)
  fix       mend that file, or leave it out""",
    ),
    "forward that raises": (
        "own.py",
        """\
from torch import nn


class Own(nn.Module):
    def forward(self, x):
        raise ValueError(f"{x.shape[1]} tokens are too many")""",
        """\
model/broken.yaml:3:3  graph.act
  Own fails: 7 tokens are too many
  got       x (batch, 7, 6)
  fix       look at mine/own.py:6:1; DOUGONG_DEBUG=1 shows the traceback""",
    ),
    "forward that returns nothing": (
        "own.py",
        """\
from torch import nn


class Own(nn.Module):
    def forward(self, x):
        x + 1""",
        """\
model/broken.yaml:3:3  graph.act
  Own: forward must return a tensor or a tuple of tensors
  got       NoneType
  fix       end forward with return ...""",
    ),
}


@pytest.mark.parametrize("name", OWN)
def test_a_mistake_in_a_block_of_ones_own_is_told(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file, code, text = OWN[name]
    if file is not None:
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / file).write_text(f"{code}\n", encoding="utf-8")
    model = "inputs: {x: {tokens: 7, dim: 6}}\ngraph:\n  act: {block: Own}"
    assert told(tmp_path, model, ["library=[mine]"]) == text


def test_a_block_of_ones_own_is_not_named_in_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "own.py").write_text(
        "raise SystemExit('the code of a stranger runs')\n", encoding="utf-8"
    )
    model = (
        "# @package _global_\nlibrary: [mine]\nmodel:\n  inputs: {x: [6]}\n  graph: {act: "
        "{block: ReLU}}"
    )
    assert (
        told(tmp_path, model, [])
        == """\
model/broken.yaml:2:1  library
  blocks of your own are named on the command line, not in a file: their code runs
  fix       library=[FOLDER] on the command line"""
    )


def test_a_folder_of_yaml_that_is_not_there_is_told():
    with pytest.raises(ConfigError) as caught:
        compose([], config_dir="nowhere")
    assert (
        str(caught.value)
        == """\
the command line: --config-dir
  no folder 'nowhere'
  fits      a folder with model/, data/, ..."""
    )


def test_every_mistake_on_the_command_line_is_told_at_once():
    with pytest.raises(ConfigError) as caught:
        compose(["model=vitt", "model.params.depth=2,4", "seeed=1", "~model.graph.positions"])
    assert len(caught.value.problems) == 4


def test_a_bracket_inside_a_value_is_not_taken_for_an_open_one():
    with pytest.raises(ConfigError, match="quote it"):
        compose(["runs=a [b=[1],2]"])
    with pytest.raises(ConfigError, match="close the bracket"):
        compose(["runs=[1,2"])


def test_mistakes_that_fill_more_than_a_screen_are_told_in_a_line_each():
    wrong = {f"n{i}": {"block": "Liner", "in": "x"} for i in range(40)}
    with pytest.raises(ConfigError) as caught:
        build(
            {"inputs": {"x": [6]}, "graph": {**wrong, "sum": {"block": "Add", "in": list(wrong)}}}
        )
    text = str(caught.value)
    assert is_one_screen(text)
    assert text.endswith("more")
    assert "graph.n0" in text


def test_one_mistake_is_not_told_twice():
    """What hangs on a broken node is silent: only the cause is told."""
    graph = {
        "a": {"block": "Liner"},
        "b": {"block": "LayerNorm"},
        "c": {"block": "Add", "in": ["a", "b"]},
    }
    with pytest.raises(ConfigError) as caught:
        build({"inputs": {"x": [6]}, "graph": graph, "outputs": {"logits": "c"}})
    assert [problem.problem for problem in caught.value.problems] == ["no block 'Liner'"]


def explain(folder: Path, *arguments: str, debug: str = "0") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "blocks", "explain", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "DOUGONG_DEBUG": debug}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, encoding="utf-8", timeout=120
    )


def test_the_command_line_ends_with_status_2_and_nothing_on_stdout(tmp_path):
    model, _, text = WRONG["unknown_block"]
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "broken.yaml").write_text(model, encoding="utf-8")
    done = explain(tmp_path, "model=broken", "--config-dir", ".")
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"{text}\n")


def test_the_command_line_shows_the_traceback_only_when_asked(tmp_path):
    done = explain(tmp_path, "model.params.detph=3", debug="1")
    assert done.returncode != 0
    assert done.stdout == ""
    assert "Traceback" in done.stderr
    assert "no key 'detph' in model.params" in done.stderr


OWN_NAMES = """\
inputs: {x: {tokens: 7, dim: 6}}
graph:
  place: {block: LearnedPosition, in: x}
  blocks: {repeat: 2, body: {wide: {block: Linear, features: dim}, act: {block: Tanh}}}
  head: {block: Linear, features: 5}
"""


def test_an_option_for_other_names_says_how_to_name_yours(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.yaml").write_text(OWN_NAMES, encoding="utf-8")
    words = ["model=mine", "+model/registers=learned"]
    with pytest.raises(ConfigError) as caught:
        plan(compose(words, config_dir=str(tmp_path)))
    assert (
        str(caught.value).partition("\n\n")[0]
        == """\
conf/model/registers/learned.yaml:6:52  graph.register
  'after' names no node 'position'
  got       after: position
  fits      blocks, head, no_register, place
  fix       model/registers is for models with a node 'position'
            name that of this model: model.graph.register.after=NODE"""
    )
    words += ["model.graph.register.after=place", "model.graph.no_register.after=blocks"]
    built = plan(compose(words, config_dir=str(tmp_path)))
    assert built.find("blocks").shapes["out"][1] == 7 + 4
    assert built.find("head").shapes["out"][1] == 7
