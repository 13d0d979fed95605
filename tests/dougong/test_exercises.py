"""The exercises of the course: an answer passes its own check, and a wrong one does not."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from dougong import main as dougong
from dougong.commands.exercise import check_answer
from dougong.exercises.read import LANGUAGES, read_exercises

ROOT = Path(__file__).resolve().parents[2]
EXERCISES = read_exercises()
TRAINED = [number for number, exercise in EXERCISES.items() if exercise.needs_run]


def untrained(exercise):
    """The exercise without what only a run can show."""
    conditions = tuple(each for each in exercise.conditions if not each.is_score)
    return replace(exercise, conditions=conditions)


@pytest.mark.parametrize("number", EXERCISES)
def test_an_answer_passes_and_the_start_does_not(number):
    exercise = untrained(EXERCISES[number])
    assert [each for each in check_answer(exercise, exercise.answer) if not each.holds] == []
    if not EXERCISES[number].needs_run:
        assert not all(each.holds for each in check_answer(exercise, []))


@pytest.mark.parametrize("number", [number for number in EXERCISES if number not in TRAINED])
def test_a_wrong_answer_fails(number):
    exercise = EXERCISES[number]
    assert not all(each.holds for each in check_answer(exercise, exercise.wrong))


def test_every_text_is_there_in_both_languages():
    for exercise in EXERCISES.values():
        for texts in (exercise.question, exercise.hint, exercise.reason):
            assert tuple(texts) == LANGUAGES
            assert all(text.strip() for text in texts.values())


def test_every_lesson_has_three():
    lessons = [number.partition(".")[0] for number in EXERCISES]
    assert {lesson: lessons.count(lesson) for lesson in lessons} == dict.fromkeys(lessons, 3)


def test_what_is_printed_for_an_answer(capsys):
    words = ["exercise", "5.1"]
    assert dougong.main([*words, "model.params.window=2"]) == 1
    assert capsys.readouterr().out == (
        "no   argument of stages.0.layers.1.attention.inner.shift: exactly 0; found 1\n"
        "no   parameters: at least, times the start, 1; found 134,838, the bound is 135,318\n"
        "yes  blocks of WindowAttention: exactly 4; found 4\n"
        "not yet; --hint helps\n"
    )
    behind = [*words, "--language", "zh", "model/attention=window_unshifted"]  # of an option
    assert dougong.main(behind) == 0
    assert capsys.readouterr().out == (
        "对   stages.0.layers.1.attention.inner.shift 的取值：等于 0；得到 0\n"
        "对   参数量：至少是起点的 1 倍；得到 135,318，界限是 135,318\n"
        "对   WindowAttention 的个数：等于 4；得到 4\n"
        "完成\n"
    )


def test_a_training_is_asked_for_and_a_folder_without_one_refused(capsys, tmp_path):
    assert dougong.main(["exercise", "6.3", "model.params.size=8"]) == 1
    assert "found no run: train it and name its folder" in capsys.readouterr().out
    assert dougong.main(["exercise", "6.3", str(tmp_path)]) == 2
    assert "this folder holds no finished run" in capsys.readouterr().err


def test_an_unknown_number_is_answered_with_the_known_ones(capsys):
    assert dougong.main(["exercise", "99.1"]) == 2
    printed = capsys.readouterr().err
    assert "no exercise has this number" in printed
    assert "1.1, 1.2, 1.3, 2.1" in printed


@pytest.mark.slow
@pytest.mark.parametrize("number", TRAINED)
@pytest.mark.parametrize("kind", ["answer", "wrong"])
def test_a_trained_answer_passes_and_a_wrong_one_fails(number, kind, tmp_path):
    exercise = EXERCISES[number]
    overrides = [*exercise.start, *getattr(exercise, kind), f"hydra.run.dir={tmp_path / 'run'}"]
    words = [sys.executable, "-m", "dougong", "train", *overrides, "callbacks.progress.style=none"]
    subprocess.run(words, cwd=ROOT, check=True, timeout=900)
    found = check_answer(exercise, [str(tmp_path / "run")])
    assert all(each.holds for each in found) == (kind == "answer")
