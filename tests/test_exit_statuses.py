"""Exit statuses of every program, as docs/answers.md states them."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from blocks.__main__ import start as start_question

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "answers.md").read_text(encoding="utf-8")
BLOCKS, TASKS, TRAIN = ["-m", "blocks"], ["-m", "tasks"], [str(ROOT / "train.py")]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def start(words, **more):
    return subprocess.Popen([sys.executable, *words], env={**ENVIRONMENT, **more}, **PIPES)


PIPES = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}


@pytest.mark.parametrize("words", [BLOCKS, TASKS, TRAIN])
def test_help_ends_with_0(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    process = start([*words, "--help"])
    process.communicate(timeout=60)
    assert process.returncode == 0


def test_a_mistake_ends_with_2_in_every_program(tmp_path, monkeypatch):
    """Also with a traceback, and where the parser finds the mistake."""
    monkeypatch.chdir(tmp_path)
    started = [
        start([*BLOCKS, "explain", "model=vitt"], DOUGONG_DEBUG="1"),
        start([*BLOCKS, "explain", "--depth", "x"]),
        start([*TASKS, "predict", "nowhere", "x.png"]),
        start([*TRAIN, "model=vitt"], DOUGONG_DEBUG="1"),
    ]
    statuses = []
    for process in started:
        process.communicate(timeout=120)
        statuses.append(process.returncode)
    assert statuses == [2, 2, 2, 2]


@pytest.mark.parametrize(
    "words",
    [
        ["-m", "dougong", "list"],
        pytest.param(["-m", "dougong", "catalog"], marks=pytest.mark.slow),
        pytest.param([*BLOCKS, "explain", "model=vit_b16"], marks=pytest.mark.slow),
    ],
    ids=" ".join,
)
def test_a_reader_who_has_seen_enough_ends_a_program_quietly(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = [sys.executable, *words]
    with subprocess.Popen(command, env=ENVIRONMENT, **{**PIPES, "stdout": subprocess.PIPE}) as run:
        run.stdout.close()
        assert ("Error" in run.stderr.read(), run.wait(timeout=60)) == (False, 0)


def test_ctrl_c_ends_a_question_with_130(monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("blocks.__main__.answer", stop)
    assert start_question(["explain", "model=vit"]) == 130


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_with_128_and_its_number(number, status, tmp_path, monkeypatch):
    """As a shell reports it: a program that a signal ended has the negative number here."""
    monkeypatch.chdir(tmp_path)
    process = start([*BLOCKS, "watch", "explain", "model=vit"])
    time.sleep(2)
    process.send_signal(number)
    try:
        process.communicate(timeout=60)
    finally:
        process.kill()
    found = process.returncode
    if found < 0:
        found = 128 - found
    assert found == status
    assert str(status) in PAGE


@pytest.mark.slow
def test_an_error_of_training_is_one_line_of_json(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    process = start([*TRAIN, "trainer.max_epochs=-5"], DOUGONG_ERRORS="json")
    _, err = process.communicate(timeout=120)
    assert process.returncode == 2
    (line,) = err.splitlines()
    assert re.match(r'\{"errors": \[\{"file": null, .*"path": "trainer.max_epochs"', line)
    assert line.endswith('"status": 2}')
