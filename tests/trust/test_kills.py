"""The harness of docs/trust.md at a small size, and that it notices what it is there to notice."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def harness(name, *words):
    command = [sys.executable, "-m", f"tests.trust.{name}", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", timeout=600)


@pytest.mark.slow
@pytest.mark.parametrize(
    "case", ["in_a_save", "in_validation", "two_processes", "in_a_save_of_shards"]
)
def test_runs_that_are_killed_end_equal(case):
    found = harness("kills", "--count", "4", "--only", case)
    assert found.returncode == 0, found.stdout + found.stderr
    assert "1 of 1 runs end equal to the bit" in found.stdout


@pytest.mark.slow
def test_a_resume_without_the_random_states_is_noticed():
    found = harness("kills", "--count", "3", "--only", "vit", "--forget")
    assert found.returncode == 1
    assert "tensors differ" in found.stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ends", "damage", "ranks"])
def test_the_rest_is_as_told(name):
    found = harness(name)
    assert found.returncode == 0, found.stdout + found.stderr
