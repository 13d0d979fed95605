"""A run used after training, as a person does it: train, then ask in a process of its own."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TINY = [
    "model.params.depth=1",
    "model.params.dim=16",
    "model.params.heads=2",
    "trainer.max_epochs=1",
]


def python(*arguments, folder, given=None):
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"}
    environment.pop("DOUGONG_DEBUG", None)
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        encoding="utf-8",
        capture_output=True,
        timeout=180,
        input=given,
    )


def trained(folder, *arguments):
    options = [*TINY, *arguments, f"hydra.run.dir={folder}/run"]
    result = python(str(ROOT / "train.py"), *options, folder=folder)
    assert result.returncode == 0, result.stderr
    return folder / "run", result.stdout


@pytest.fixture(scope="module")
def translator(tmp_path_factory):
    small = ("data.train=256", "data.val=20", "data.test=20")
    return trained(tmp_path_factory.mktemp("translate"), "experiment=translate", *small)


@pytest.fixture(scope="module")
def writer(tmp_path_factory):
    few = (
        "trainer.limit_train_batches=10",
        "trainer.limit_val_batches=2",
        "trainer.limit_test_batches=2",
    )
    return trained(tmp_path_factory.mktemp("language"), "experiment=language", *few)


def test_a_translator_tells_its_metrics_and_shows_its_translations(translator):
    place, out = translator
    for name in ("accuracy", "bleu", "chrf", "exact_match", "loss", "perplexity"):
        assert f"test {name} " in out
    page = (place / "report.html").read_text(encoding="utf-8")
    assert "Translations of the test" in page
    assert "年" in page


def test_one_answer_a_text_and_bad_ones_do_not_stop_the_rest(translator):
    texts = ["Monday, November 23, 2026", "", "x" * 500, "Oct 1, 2020"]
    result = python("-m", "tasks", "translate", translator[0], *texts, folder=translator[0])
    assert result.returncode == 1
    assert len(result.stdout.splitlines()) == len(texts)
    assert result.stderr.splitlines()[0] == "'': nothing to translate"
    assert result.stderr.splitlines()[1].startswith(
        f"'{'x' * 60}': 500 tokens, the longest in training had "
    )
    assert len(result.stderr.splitlines()) == 2


@pytest.mark.slow
def test_texts_come_from_standard_input_too(translator):
    lines = "Oct 1, 2020\nOct 2, 2020\n"
    result = python(
        "-m", "tasks", "translate", translator[0], "--beams", "2", folder=translator[0], given=lines
    )
    assert (result.returncode, result.stderr, len(result.stdout.splitlines())) == (0, "", 2)
    plain = ("translate", translator[0], "--beams", "2", "--no-cache", *lines.splitlines())
    assert python("-m", "tasks", *plain, folder=translator[0]).stdout == result.stdout


@pytest.mark.slow
def test_a_writer_goes_on_where_the_prompt_stops_the_same_for_a_seed(writer):
    place, out = writer
    assert "test bits_per_character " in out
    assert "the test text compressed: gzip " in out
    command = ("-m", "tasks", "generate", place, "--prompt", "The ", "--tokens", "200")
    said = [python(*command, "--seed", seed, folder=place) for seed in ("1", "1", "2")]
    assert all(each.returncode == 0 and each.stdout.startswith("The ") for each in said), said[
        0
    ].stderr
    assert said[0].stdout == said[1].stdout != said[2].stdout
    assert python(*command, "--seed", "1", "--no-cache", folder=place).stdout == said[0].stdout
    likely = (*command, "--temperature", "0")
    drafted = python(*likely, "--draft", place, folder=place)
    assert drafted.stdout == python(*likely, folder=place).stdout
    assert re.search(r"\ndraft: 1\d\d of 1\d\d tokens accepted \(\d+%\), ", drafted.stderr)


@pytest.mark.slow
def test_evaluating_says_what_training_said(translator, writer):
    for place, out in (translator, writer):
        told = next(line for line in out.splitlines() if line.startswith("test accuracy"))
        result = python("-m", "tasks", "evaluate", place, folder=place)
        notes = result.stderr.splitlines()
        assert result.returncode == 0
        if place == writer[0]:
            assert notes.pop().startswith("note: the test text compressed: gzip ")
        assert notes == []
        found = dict(line.rsplit(" ", 1) for line in result.stdout.splitlines())
        if place == translator[0]:  # the writer was trained with a shortened test
            assert "  ".join(f"{name} {value}" for name, value in sorted(found.items())) == told


def test_evaluating_on_data_that_cannot_be_is_told(translator):
    result = python("-m", "tasks", "evaluate", translator[0], "target=zz", folder=translator[0])
    assert (result.returncode, result.stdout) == (2, "")
    assert "no locale 'zz'" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.slow
def test_what_is_no_run_of_the_kind_is_told(writer, tmp_path):
    result = python("-m", "tasks", "translate", writer[0], "hello", folder=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == f"{writer[0]} does not translate\nfits: a run of task=translate\n"
    result = python("-m", "tasks", "generate", tmp_path, folder=tmp_path)
    assert result.returncode == 2
    fix = "fix: the folder that the training named in its first line"
    assert result.stderr == f"{tmp_path} is no run folder: it has no config.yaml\n{fix}\n"


@pytest.mark.slow
def test_a_damaged_checkpoint_is_named(writer, tmp_path):
    broken = tmp_path / "run"
    (broken / "checkpoints").mkdir(parents=True)
    (broken / "config.yaml").write_text("{}", encoding="utf-8")
    (broken / "checkpoints" / "best.ckpt").write_bytes(b"PK\x03\x04 not whole")
    result = python("-m", "tasks", "generate", broken, folder=tmp_path)
    assert result.returncode == 2
    assert result.stderr.startswith(f"{broken}/checkpoints/best.ckpt cannot be read: ")
    assert "Traceback" not in result.stderr


def test_a_task_and_data_that_do_not_go_together_are_told(tmp_path):
    result = python(str(ROOT / "train.py"), "task=language", folder=tmp_path)
    assert result.returncode == 2
    assert "Language needs data.vocab, which these data do not have" in result.stderr
    assert "got       data.image, data.classes" in result.stderr


def test_a_model_that_was_changed_is_opened_although_its_file_states_a_count(tmp_path):
    """`expect` of lenet5.yaml is about the file, which the command line changed."""
    words = ["model=lenet5", "model.graph.hidden1.features=8", "trainer.max_epochs=1"]
    few = [f"trainer.limit_{part}_batches=1" for part in ("train", "val", "test")]
    made = python(
        str(ROOT / "train.py"), *words, *few, f"hydra.run.dir={tmp_path}/run", folder=tmp_path
    )
    assert made.returncode == 0, made.stderr
    assert "expect" in (tmp_path / "run" / "config.yaml").read_text(encoding="utf-8")
    result = python("-m", "tasks", "evaluate", "run", folder=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "test accuracy" in result.stdout
