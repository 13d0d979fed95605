"""The course: both languages agree, what is generated is current, commands compose, links lead
somewhere; slow: each command gives its figures, and Studio opens each model.
"""

import importlib.util
import json
import re
import shlex
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from blocks.graph import compose
from blocks.graph.compose.combinations import combinations
from blocks.graph.compose.compose import opened_hydra
from blocks.graph.read.loader import CachedLoader
from blocks.studio.engine import Studio
from blocks.studio.text.edits import write_overrides
from blocks.watch.engine import Engine
from dougong import main as dougong
from dougong.exercises.read import read_exercises

ROOT = Path(__file__).resolve().parents[1]
COURSE = ROOT / "docs" / "course"


sys.path.insert(0, str(COURSE))  # where draw.py, started as a program, finds its parts
drawing = {name: importlib.import_module(f"drawing.{name}") for name in ("seeing", "sequences")}


def load(name):
    spec = importlib.util.spec_from_file_location(f"course_{name}", COURSE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


fill = load("fill")
LAST = importlib.import_module("opening").LAST
NAMES = sorted(path.stem for path in (COURSE / "en").glob("[0-9]*.md"))
PLANS = [COURSE / "README.md", COURSE / "README.zh.md"]
PAGES = [*PLANS, *(path for path, _ in fill.lessons())]


def read(language, name):
    return (COURSE / language / f"{name}.md").read_text(encoding="utf-8")


def code_blocks(text):
    return re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def command_of(name):
    """The words of the command that a lesson shows, without those of the exercises."""
    shown = [code for kind, code in code_blocks(read("en", name)) if kind == "bash"]
    words = shlex.split(shown[0])
    assert words[0] == "dougong"
    return words[1:]


TRAINED = [name for name in NAMES if command_of(name)[0] == "train"]


def test_what_is_generated_in_the_lessons_is_current():
    for path, language in fill.lessons():
        text = path.read_text(encoding="utf-8")
        kinds = "figures|exercises"
        assert fill.filled(text, language, kinds) == text, "run python docs/course/fill.py"


@pytest.mark.parametrize("name", NAMES)
def test_a_lesson_says_the_same_in_both_languages(name):
    english, chinese = read("en", name), read("zh", name)
    assert code_blocks(chinese) == code_blocks(english)
    for pattern in (r"^(#+) ", r"\]\(([^)]+\.svg)\)", r"data-widget=\"(\w+)\"", r"\|\s+([\d.]+)"):
        marks = re.compile(pattern, re.MULTILINE)
        assert marks.findall(chinese.replace(".zh.svg", ".svg")) == marks.findall(english)
    for picture in re.findall(r"!\[(.*?)\]", english + chinese):
        assert len(picture) > 5  # for those who do not see it


def test_both_languages_have_the_same_lessons_and_each_has_exercises():
    assert sorted(path.stem for path in (COURSE / "zh").glob("[0-9]*.md")) == NAMES
    lessons = {int(number.partition(".")[0]) for number in read_exercises()}
    assert lessons == {int(name.partition("_")[0]) for name in NAMES}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(COURSE).as_posix())
def test_every_link_leads_to_a_file(page):
    links = re.findall(r"\]\(([^)#:\s]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).resolve().is_file()] == []


@pytest.mark.parametrize("name", [name for name in NAMES if name not in TRAINED])
def test_a_command_that_trains_nothing_prints_what_is_shown(name, capsys):
    assert dougong.main(command_of(name)) == 0
    printed = capsys.readouterr().out.splitlines()
    *_, shown = [code for kind, code in code_blocks(read("en", name)) if kind == "text"]
    assert [line for line in shown.splitlines() if line not in printed] == []


@pytest.mark.parametrize("name", TRAINED)
def test_the_command_of_a_lesson_composes(name):
    words = [word for word in command_of(name)[1:] if word != "-m"]
    loader = CachedLoader()
    with opened_hydra():
        found = [compose(each, loader=loader) for each in combinations(words)]
    recorded = fill.read_figures().get(str(int(name.partition("_")[0])))
    runs = sum(len(row["runs"]) for row in recorded["rows"].values()) if recorded else 1
    assert len(found) == runs


@pytest.mark.parametrize("name", ["windows", "fields", "positions"])
def test_the_numbers_that_are_shown_are_those_of_the_blocks(name):
    stored = json.loads((COURSE / "widgets" / f"{name}.json").read_text(encoding="utf-8"))
    module = drawing["sequences" if name == "positions" else "seeing"]
    assert stored == getattr(module, f"describe_{name}")()


def test_the_shares_that_are_shown_are_those_of_their_scores():
    """Temperature and mask come from trained networks: here what any network must give."""
    stored = json.loads((COURSE / "widgets" / "softmax.json").read_text(encoding="utf-8"))
    scores = torch.tensor(stored["scores"])
    for temperature, shares in zip(stored["temperatures"], stored["shares"], strict=True):
        shown = torch.tensor(shares)
        expected = (scores / temperature).softmax(-1) * shown.sum()  # of the answers shown
        assert (shown - expected).abs().max() < 0.02  # scores have two digits
    stored = json.loads((COURSE / "widgets" / "mask.json").read_text(encoding="utf-8"))
    assert torch.tensor(stored["masked"]).triu(1).max() == 0
    for name in ("masked", "unmasked"):
        assert (torch.tensor(stored[name]).sum(-1) - 1).abs().max() < 0.01


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_studio_opens_the_model_of_the_lesson(name, tmp_path, monkeypatch):
    """The command gives the parameters that the runs of the lesson recorded."""
    monkeypatch.chdir(tmp_path)
    for language in ("en", "zh"):
        assert fill.filled(read(language, name), language, "studio") == read(language, name)
    command = re.findall(r"^`(dougong studio [^`]*)`", read("zh", name), re.MULTILINE)[0]
    _, _, model, *words = shlex.split(command)
    studio = Studio(tmp_path, Engine())
    text, rest = write_overrides(studio.drafts.read(model.partition("=")[2])[0], words)
    question = {"ask": "graph", "model": model.partition("=")[2], "text": text, "words": rest}
    drawn = studio.answer(question)
    assert drawn["errors"] == []
    recorded = fill.read_figures().get(str(int(name.partition("_")[0])))
    if recorded:
        rows = list(recorded["rows"].values())
        row = rows[-1 if name.partition("_")[0] in LAST else 0]
        assert drawn["parameters"] == row["parameters"]


def test_what_the_lessons_state_about_order_and_forms_holds():
    """Attention without positions cannot tell orders apart, ALiBi not a text and its mirror image;
    the forms of a recurrence give the same numbers.
    """
    found = drawing["sequences"].measure_order()
    alike = {name for name, distance in found.items() if distance < 1e-12}
    assert alike == {"none", "alibi, reversed"}
    assert drawing["sequences"].compare_forms() < 1e-12


def test_a_field_is_as_wide_as_explain_says():
    layers = json.loads((COURSE / "widgets" / "fields.json").read_text(encoding="utf-8"))["layers"]
    widths = [max(last - first + 1 for first, last in layer["cells"]) for layer in layers]
    assert widths == [3, 7, 13, 25]


def test_the_attention_that_is_shown_sums_to_one():
    stored = json.loads((COURSE / "widgets" / "attention.json").read_text(encoding="utf-8"))
    sums = [sum(row) for layer in stored["layers"] for head in layer for row in head]
    assert max(abs(total - 1) for total in sums) < 0.01  # three digits each


@pytest.mark.slow
@pytest.mark.parametrize("lesson", fill.read_figures())
def test_a_command_gives_its_figures_again(lesson, tmp_path):
    """The mean over the seeds, within the spread that the table shows."""
    (name,) = [name for name in NAMES if int(name.partition("_")[0]) == int(lesson)]
    sweep = tmp_path / "sweep"  # a folder that exists would not be used again
    words = [*command_of(name), f"hydra.sweep.dir={sweep}", "callbacks.progress.style=none"]
    subprocess.run([sys.executable, "-m", "dougong", *words], cwd=ROOT, check=True)
    found, spent = {}, 0.0
    for folder in sorted(sweep.glob("*/run.json")):
        run = json.loads(folder.read_text(encoding="utf-8"))
        given = dict(word.split("=", 1) for word in run["overrides"])
        label = ", ".join(f"{key}={given[key]}" for key in fill.SETTINGS[lesson])
        metric = fill.METRICS.get(lesson, "test/accuracy")
        found.setdefault(label, []).append(run["test"][metric])
        spent += run["cpu seconds"]
    recorded = fill.read_figures()[lesson]["rows"]
    for label, row in recorded.items():
        shown = [run["score"] for run in row["runs"].values()]
        mean = statistics.fmean(found[label])
        assert min(shown) - 0.01 <= mean <= max(shown) + 0.01, label
    stated = [run["cpu"] for row in recorded.values() for run in row["runs"].values()]
    assert spent < 2.5 * sum(stated)  # of CPU time, which a busy machine lengthens
