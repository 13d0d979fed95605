"""The parts of docs/your_own.md, run from a folder outside of the repository."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "your_own.md").read_text(encoding="utf-8")
MOST = 25  # lines of Python of a part
FILES = re.findall(r"```(?:python|yaml)\n# (\S+)\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = re.findall(r"```sh\ndougong train (.*?)\n```", PAGE, re.DOTALL)
QUICK = [
    *("trainer.max_epochs=1", "trainer.limit_train_batches=2", "trainer.limit_val_batches=1"),
    *("trainer.limit_test_batches=1", "callbacks.progress.style=none", "runs=runs"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("mine")
    for name, text in FILES:
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return place


def test_the_page_has_eight_parts_of_few_lines():
    assert len(COMMANDS) == 8
    for name, text in FILES:
        assert len(text.strip().splitlines()) <= MOST, name


@pytest.mark.slow
@pytest.mark.parametrize("number", range(8))
def test_a_part_trains_from_a_folder_of_its_own(folder, number):
    words = re.findall(r"'([^']*)'|(\S+)", COMMANDS[number])
    given = [quoted or plain for quoted, plain in words]
    done = subprocess.run(
        [sys.executable, "-m", "dougong", "train", *given, *QUICK],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(folder)},
        capture_output=True,
        encoding="utf-8",
        timeout=300,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    assert "test loss" in done.stdout
