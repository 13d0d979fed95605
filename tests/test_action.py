"""The composite action and the hook, run on a small repository as the services run them."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
STEPS = {step.get("name", step.get("uses")): step for step in ACTION["runs"]["steps"]}
(HOOK,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
MODEL = "inputs: {x: {tokens: 7, dim: 6}}\ngraph:\n  head: {block: Linear, features: 5}\n"


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository with two models; after its first commit one gets wider, one wrong."""
    folder = tmp_path / "repository"
    models = folder / "conf" / "model"
    models.mkdir(parents=True)
    monkeypatch.chdir(folder)
    for name in ("wide", "same", "wrong"):
        (models / f"{name}.yaml").write_text(MODEL, encoding="utf-8")
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "Begin"]):
        git(*words)
    (models / "same.yaml").write_text(f"# a comment\n{MODEL}", encoding="utf-8")
    (models / "wide.yaml").write_text(MODEL.replace("5", "11"), encoding="utf-8")
    (models / "wrong.yaml").write_text(MODEL.replace("Linear", "Liner"), encoding="utf-8")
    return folder


def git(*words):
    who = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    subprocess.run(["git", *who, *words], check=True)


def run_step(name, folder, **environment):
    """Run the script of a step with what the service sets; its exit status and its outputs."""
    temporary = folder.parent / "temporary"
    temporary.mkdir(exist_ok=True)
    output = temporary / "output"
    bin = temporary / "bin"
    bin.mkdir(exist_ok=True)
    if not (bin / "python").exists():
        (bin / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n', encoding="utf-8")
        (bin / "python").chmod(0o755)
    service = {
        "GITHUB_ACTION_PATH": str(ROOT),
        "GITHUB_OUTPUT": str(output),
        "RUNNER_TEMP": str(temporary),
        "PYTHONPATH": str(ROOT),
        "PATH": f"{bin}{os.pathsep}{os.environ['PATH']}",
    }
    script = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", STEPS[name]["run"]]
    done = subprocess.run(
        script,
        env={**os.environ, **service, **environment},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    return done, temporary


def test_the_check_shows_the_wrong_file_at_its_line(repository):
    done, temporary = run_step("check", repository, FILES="conf/model/*.yaml")
    assert done.returncode == 0, done.stderr
    assert (temporary / "output").read_text(encoding="utf-8") == "status=2\n"
    log = json.loads((temporary / "dougong.sarif").read_text(encoding="utf-8"))
    (result,) = log["runs"][0]["results"]
    place = result["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "conf/model/wrong.yaml"
    assert place["region"]["startLine"] == 3
    assert "3 combinations, 1 bad" in done.stdout


def test_a_pattern_that_matches_nothing_is_an_error(repository):
    done, _ = run_step("check", repository, FILES="models/*.yaml")
    assert (done.returncode, done.stderr) == (2, "no file matches models/*.yaml\n")


@pytest.mark.slow
def test_the_comment_states_the_models_that_differ(repository):
    done, temporary = run_step("compare", repository, FILES="conf/model/*.yaml", BASE="HEAD")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "| model | parameters | multiply-adds |",
        "|---|---|---|",
        "| `conf/model/wide.yaml` | 35 → 77 (+120.0%) | 210 → 462 (+120.0%) |",
        "| `conf/model/wrong.yaml` | 35 → - | 210 → - |",
    ]
    assert (temporary / "models.md").read_text(encoding="utf-8") == done.stdout


@pytest.mark.slow
def test_the_hook_checks_the_files_of_a_commit(repository):
    files = ["conf/model/wide.yaml", "conf/model/wrong.yaml"]
    assert all(re.search(HOOK["files"], file) for file in files)
    assert not re.search(HOOK["files"], "conf/model/attention/own.yaml")
    assert not re.search(HOOK["files"], "conf/data/own.yaml")
    words = [sys.executable, *HOOK["entry"].split()[1:]]
    for chosen, status in ((files[:1], 0), (files, 2)):
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [*words, *chosen],
            env=environment,
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
        )
        assert done.returncode == status, done.stderr


def test_the_action_reads_what_its_steps_set():
    """The end of the action is the status of the check, and all scripts are bash."""
    assert shutil.which("bash")
    assert STEPS["end"]["run"] == "exit ${{ steps.check.outputs.status }}"
    assert STEPS["check"]["id"] == "check"
    for step in STEPS.values():
        if "run" in step:
            assert step["shell"] == "bash"
            assert "${{ inputs" not in step["run"]  # a value is no code: it comes by `env`
    assert STEPS["upload"]["with"]["sarif_file"].endswith("/dougong.sarif")
