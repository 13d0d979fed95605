"""The process that answers: started ahead of the server, and replaced when it ends or is late."""

import asyncio
import subprocess
import sys

import pytest

from blocks.studio import ahead
from blocks.studio.process import Answers

ECHO = """
import json, sys, time
print("{}", flush=True)
for line in sys.stdin:
    question = json.loads(line)
    if question["ask"] == "die":
        sys.exit()
    time.sleep(question.get("seconds", 0))
    print(json.dumps({"errors": [], **question}), flush=True)
"""


@pytest.fixture
def started(monkeypatch, tmp_path):
    """The folders for which a process was started."""
    folders = []

    def spawn(project, about, more):
        folders.append(project)
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        return subprocess.Popen([sys.executable, "-c", ECHO], **pipes)

    monkeypatch.setattr(ahead, "spawn", spawn)
    monkeypatch.chdir(tmp_path)
    return folders


def test_the_server_takes_the_process_that_was_started_ahead(started, tmp_path):
    async def ask():
        answers = Answers(tmp_path)
        found = await answers.ask("graph", model="vit")
        await answers.stop()
        return found

    with ahead.started_ahead(["model=vit", "--port", "0"]):
        assert started == [tmp_path]
        assert asyncio.run(ask()) == {"errors": [], "ask": "graph", "model": "vit"}
        assert not ahead.waiting
    assert started == [tmp_path]


def test_none_is_left_where_no_server_takes_it(started):
    for alone in ("--answers", "--answers=runs", "--queue", "--help"):
        with ahead.started_ahead([alone, "models"]):
            assert not started
    with ahead.started_ahead(["--no-such-option"]):
        (_, process) = ahead.waiting[0]
    assert process.returncode is not None
    assert not ahead.waiting


def test_one_that_ends_or_is_late_is_replaced(started, tmp_path):
    async def ask():
        answers = Answers(tmp_path, seconds=1.0)
        found = [await answers.ask("die"), await answers.ask("first")]
        found += [await answers.ask("slow", seconds=60), await answers.ask("second")]
        await answers.stop()
        return found

    died, first, slow, second = asyncio.run(ask())
    assert died["errors"][0]["problem"] == "the process that answers has ended"
    assert slow["errors"][0]["problem"] == "there was no answer in time"
    assert (first["ask"], second["ask"]) == ("first", "second")
    assert len(started) == 3
