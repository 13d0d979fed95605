"""Runs beside each other, and one that is resumed."""

import json
import shlex
import shutil
import time
from pathlib import Path

import pytest

from blocks.studio.drafts import Drafts
from blocks.studio.run.runs import Runs, Started, list_options
from blocks.support.program import train_command
from tests.studio.conftest import BROWSER, SECONDS

RUN = Path(__file__).resolve().parents[1] / "data" / "run_of_0_1_0"


def add_runs(project: Path) -> list[str]:
    """Two runs with other overrides and curves."""
    names = ["runs/2026-01-01/00-00-00", "runs/2026-01-01/00-00-01"]
    for place, name in enumerate(names):
        folder = project / name
        if folder.exists():
            continue
        shutil.copytree(RUN, folder)
        record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        record["overrides"] = ["model=vit", f"seed={place}"]
        (folder / "run.json").write_text(json.dumps(record), encoding="utf-8")
    return names


def test_runs_are_read_by_their_names_alone(tmp_path):
    names = add_runs(tmp_path)
    runs = Runs(tmp_path)
    found = runs.read_runs([*names, "runs/../secret", "/etc", "runs/2026-01-01/none"])
    assert list(found) == names
    assert found[names[1]]["overrides"] == ["model=vit", "seed=1"]
    assert found[names[0]]["rows"] == found[names[1]]["rows"] != []
    assert runs.read_gradients(names[0])["head"] > 0
    assert runs.read_gradients("runs/none") == {}


def test_only_the_folders_of_drafts_are_named_again():
    command = "dougong train {} model=vit_draft data=digits"
    for folder in ("studio", "studio/sweeps/2026-01-01_00-00-00-0"):
        options = ["--config-dir", folder]
        assert list_options(command.format(shlex.join(options))) == options
    for folder in ("/etc", "studio/../..", "studio/..", "mine"):
        assert list_options(command.format(f"--config-dir {folder}")) == []
    assert list_options("dougong train model=vit data=digits") == []


def finish(runs: Runs, started: Started) -> None:
    for _ in range(5 * SECONDS):
        if not runs.is_running(started):
            break
        time.sleep(1)
    assert runs.describe(started)["status"] == "finished", runs.read_output(started)


@pytest.mark.slow
def test_the_run_of_a_draft_names_its_command_whole_and_is_resumed(tmp_path):
    drafts, runs = Drafts(tmp_path), Runs(tmp_path)
    drafts.write("mlp", drafts.read("mlp")[0] + "# mine\n")
    words = ["--config-dir", "studio", "model=mlp_draft", "data=digits", "trainer.max_epochs=1"]
    finish(runs, runs.start(words))
    (run,) = runs.list_runs()
    assert shlex.split(run["command"]) == [*train_command(), *words]
    finish(runs, runs.start([*run["options"], f"resume={run['run']}", "trainer.max_epochs=2"]))
    (run,) = runs.list_runs()
    assert shlex.split(run["command"])[-5:-1] == words[:4]


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no browser")
@pytest.mark.filterwarnings("ignore")
def test_two_runs_are_compared_and_one_is_resumed(page, project):
    driver = pytest.importorskip("playwright.sync_api")
    names = add_runs(project)
    page.get_by_role("tab", name="runs").click()
    for name in names:
        page.locator(".studio-run .q-checkbox", has_text=name).click()
    driver.expect(page.locator(".studio-compared canvas")).to_be_visible()
    driver.expect(page.locator(".studio-compared table")).to_contain_text("seed=1")
    page.get_by_role("tab", name="train").click()
    page.get_by_label("epochs").fill("3")
    page.get_by_role("tab", name="runs").click()
    page.get_by_role("button", name=f"resume {names[1]}").click()
    status = page.locator(".studio-status")
    driver.expect(status).to_contain_text(f"resume={names[1]} trainer.max_epochs=3")
    driver.expect(status).to_contain_text("finished", timeout=5 * SECONDS * 1000)
    rows = Runs(project).read_runs([names[1]])[names[1]]["rows"]
    assert max(row["epoch"] for row in rows) >= 2
