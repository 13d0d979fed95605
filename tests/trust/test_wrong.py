"""Wrong configurations of a training are told on one screen: a share by default, all under
`slow`.
"""

import json
import sys
from pathlib import Path

import pytest

from blocks.graph.codes import CODES
from tests.trust import starts, wrong

# Those that are found out in training only.
LATE = ("callbacks.checkpoint.monitor=val/accuracyy",)
QUICK = [entry for entry in wrong.entries() if entry not in LATE][::6]


def check(entry, folder):
    status, out, err = wrong.told(entry, folder)
    assert wrong.faults(entry, status, out, err, folder) == [], err


@pytest.mark.parametrize("entry", QUICK)
def test_a_mistake_is_told_on_one_screen(entry, tmp_path):
    check(entry, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("entry", [entry for entry in wrong.entries() if entry not in QUICK])
def test_every_mistake_is_told_on_one_screen(entry, tmp_path):
    check(entry, tmp_path)


CODE_LINES = (Path(__file__).parent / "wrong_codes.txt").read_text(encoding="utf-8").splitlines()
LISTED = [line.partition(": ")[2] for line in CODE_LINES]


def check_codes(entry, folder, monkeypatch):
    """Errors as JSON have the codes that they had before, and the text of nothing else."""
    monkeypatch.setenv("DOUGONG_ERRORS", "json")
    status, _, err = wrong.told(entry, folder)
    answer = json.loads(err.splitlines()[-1])
    found = [error["code"] for error in answer["errors"]]
    assert answer["status"] == status
    assert set(found) <= CODES.keys()
    assert f"{' '.join(found)}: {entry}" in CODE_LINES


def test_every_mistake_has_a_code():
    assert sorted(LISTED) == sorted(wrong.entries())


@pytest.mark.parametrize("entry", QUICK[::3])
def test_the_code_of_a_mistake_stays(entry, tmp_path, monkeypatch):
    check_codes(entry, tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("entry", LISTED)
def test_the_codes_of_the_listed_mistakes_stay(entry, tmp_path, monkeypatch):
    check_codes(entry, tmp_path, monkeypatch)


def test_there_are_more_than_a_hundred():
    assert len(set(wrong.entries())) == len(wrong.entries()) > 100


def test_a_wrong_number_of_epochs_names_its_line(tmp_path):
    status, _, err = wrong.told("FILE trainer: {max_epochs: -5}", tmp_path)
    assert (status, err) == (
        2,
        (
            "conf/experiment/mine.yaml:2:11  trainer.max_epochs\n"
            "  max_epochs must not be below -1\n"
            "  got       max_epochs=-5\n"
            "  fits      1 or more; -1: no limit\n"
        ),
    )


@pytest.mark.slow
def test_fifty_processes_that_start_at_once_have_fifty_folders(tmp_path):
    assert len(set(starts.claims(50, tmp_path))) == 50


@pytest.mark.slow
def test_starts_of_the_whole_program_have_folders_of_their_own(tmp_path):
    assert len(set(starts.starts(12, tmp_path))) == 12


@pytest.mark.parametrize("name", ["epoch=0-step=4", "a path with spaces", "断点 [1]", "it's"])
def test_any_path_can_be_given_on_the_command_line(name, tmp_path):
    """The weights are read: what is told is that the file holds none, with its whole name."""
    if not name.isascii() and sys.getfilesystemencoding() != "utf-8":
        pytest.skip("the locale has no such file names")
    folder = tmp_path / name
    folder.mkdir()
    file = folder / f"{name}.ckpt"
    file.write_bytes(b"")
    _, _, err = wrong.told(f"weights.load={file}", tmp_path)
    assert f"{name}.ckpt" in err
    assert "this file cannot be read as weights" in err
