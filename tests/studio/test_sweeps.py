"""Sweeps of the page: the form's command line, the queue, stop and resume, hostile folders."""

import json
import os
import subprocess
import sys
import time

import pytest

from blocks.studio.engine import Studio
from blocks.studio.page.run.parallel import draw_parallel, list_axes
from blocks.studio.run.queue import work
from blocks.studio.run.sweeps import MOST_JOBS, SweepError, Sweeps, sweep_words
from blocks.watch.engine import Engine
from tests.studio.conftest import JOURNEY, expect_command, type_over

SECONDS = 20.0
TRAINER = """
import json, os, signal, sys, time
words = [word for word in sys.argv[1:] if "=" in word]
run = words[0].partition("=")[2] if words[0].startswith("resume=") else "runs/day/" + words[-1]
os.makedirs(f"{run}/checkpoints", exist_ok=True)
print("seed 0, run folder", run, flush=True)
record = {"status": "running", "overrides": words}
def keep(status, **more):
    with open(f"{run}/run.json", "w") as file:
        json.dump({**record, "status": status, **more}, file)
def stop(*_):
    open(f"{run}/checkpoints/last.ckpt", "w").close()
    keep("interrupted")
    sys.exit(143)
signal.signal(signal.SIGTERM, stop)
keep("running")
with open("order.txt", "a") as file:
    print(*sys.argv[1:], file=file, flush=True)
if words[-1] == "seed=1":
    time.sleep(60)
if words[-1] == "seed=2":
    sys.exit(3)
keep("finished", test={"test/accuracy": 0.5 + 0.1 * ("lr=2" in words[-1])})
"""


@pytest.fixture
def sweeps(tmp_path, monkeypatch):
    """Sweeps of a project whose trainings are a small script, without a queue of their own."""
    trainer = tmp_path / "trainer.py"
    trainer.write_text(TRAINER, encoding="utf-8")
    monkeypatch.setattr("blocks.studio.run.queue.train_script", lambda: [str(trainer)])
    monkeypatch.setattr(Sweeps, "resume", lambda self, sweep: None)
    return Sweeps(tmp_path)


def statuses(sweeps, sweep):
    return [row["status"] for row in sweeps.describe(sweep)]


QUEUE = """
import sys
from pathlib import Path
from blocks.studio.run import queue
queue.train_script = lambda: ["trainer.py"]
queue.work(Path.cwd(), sys.argv[1])
"""


def start_queue(project, sweep):
    """The process of a queue, with the small script as its training."""
    command = [sys.executable, "-c", QUEUE, sweep.name]
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(command, cwd=project, env=paths)


def wait_for(condition):
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_keys_with_values_replace_those_of_the_model():
    command = ["model=vit", "model.params.dim=96", "data=digits"]
    values = {"model.params.dim": ["32", "64"], "seed": ["0", "1"], "optimizer.lr": []}
    assert sweep_words(command, values) == [
        "model=vit", "data=digits", "model.params.dim=32,64", "seed=0,1"
    ]  # fmt: skip


def test_the_jobs_of_a_sweep_are_built_before_they_are_queued(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    studio = Studio(tmp_path, Engine())
    text, _ = studio.drafts.read("mlp")
    studio.answer({"ask": "graph", "model": "mlp", "text": text, "words": []})
    words = ["model=mlp", "model.params.hidden=8,16", "seed=0,1"]
    found = studio.answer({"ask": "sweep", "words": words})
    assert found["draft"] is None
    assert found["jobs"][1] == ["model=mlp", "model.params.hidden=8", "seed=1"]
    assert len(found["jobs"]) == 4
    wrong = studio.answer({"ask": "sweep", "words": ["model=mlp", "model.params.hidden=8,x"]})
    assert "hidden" in json.dumps(wrong["errors"])
    many = studio.answer({"ask": "sweep", "words": ["model=mlp", "seed=range(0,5000)"]})
    assert many["errors"][0]["got"] == "5,000 trainings"
    drafted = f"{text}# mine\n"
    studio.answer({"ask": "graph", "model": "mlp", "text": drafted, "words": []})
    words = ["--config-dir", "studio", "model=mlp_draft", "seed=0,1"]
    found = studio.answer({"ask": "sweep", "words": words})
    assert found["draft"] == ("mlp", drafted)
    assert found["jobs"][0] == ["model=mlp_draft", "seed=0"]


def test_a_queue_is_stopped_and_resumed_and_what_failed_does_not_stop_it(sweeps, tmp_path):
    jobs = [["model=a_draft", f"seed={seed}"] for seed in (0, 1, 2, 3)]
    sweep = sweeps.start(["model=a_draft", "seed=0,1,2,3"], jobs, ("a", "text: 1"))
    folder = f"studio/sweeps/{sweep.name}"
    assert (tmp_path / folder / "model" / "a_draft.yaml").read_text("utf-8") == "text: 1"
    assert statuses(sweeps, sweep) == ["waiting"] * 4
    child = start_queue(tmp_path, sweep)
    wait_for(lambda: sweeps.read_state(sweep).get("job") == 1)
    wait_for(lambda: (tmp_path / "runs/day/seed=1/run.json").exists())
    assert sweeps.is_running(sweep)
    assert statuses(sweeps, sweep)[:2] == ["finished", "running"]
    assert work(tmp_path, sweep.name) == 0  # another one has nothing to do
    child.terminate()
    child.wait(SECONDS)
    assert not sweeps.is_running(sweep)
    assert statuses(sweeps, sweep) == ["finished", "interrupted", "waiting", "waiting"]
    assert sweeps.next_words(sweep, 0) is None
    assert sweeps.next_words(sweep, 1) == ["--config-dir", folder, "resume=runs/day/seed=1"]
    assert sweeps.next_words(sweep, 2) == ["--config-dir", folder, *jobs[2]]
    assert work(tmp_path, sweep.name) == 0
    assert statuses(sweeps, sweep) == ["finished", "finished", "killed", "finished"]
    order = (tmp_path / "order.txt").read_text("utf-8").splitlines()
    assert [line.split()[-1] for line in order] == [
        "seed=0", "seed=1", "resume=runs/day/seed=1", "seed=2", "seed=3"
    ]  # fmt: skip
    assert Sweeps(tmp_path).list() == [sweep]


def test_a_training_that_outlives_its_queue_holds_the_sweep(sweeps, tmp_path):
    sweep = sweeps.start(["seed=1"], [["model=a", "seed=1"]])
    child = start_queue(tmp_path, sweep)
    wait_for(lambda: (tmp_path / "runs/day/seed=1/run.json").exists())
    wait_for(lambda: "training" in sweeps.read_state(sweep))
    child.kill()
    child.wait(SECONDS)
    assert sweeps.is_running(sweep)
    training = sweeps.read_state(sweep)["training"]
    os.kill(training, 15)
    wait_for(lambda: not sweeps.is_running(sweep))
    assert statuses(sweeps, sweep) == ["interrupted"]


@pytest.mark.parametrize(
    "jobs",
    [
        [],
        [["model=vit"]] * (MOST_JOBS + 1),
        [["--config-dir=/etc", "model=vit"]],
        [["--config-dir", "model=vit"]],
        [["model=vit", 3]],
        [["-m"]],
    ],
    ids=range(6),
)
def test_what_is_no_training_is_neither_started_nor_read(sweeps, jobs, tmp_path):
    with pytest.raises(SweepError):
        sweeps.start(["model=vit"], jobs)
    folder = tmp_path / "studio" / "sweeps" / "strange"
    folder.mkdir(parents=True)
    (folder / "sweep.json").write_text(json.dumps({"words": [], "jobs": jobs}), "utf-8")
    assert sweeps.list() == []
    assert work(tmp_path, "strange") == 2


def test_a_sweep_is_read_by_its_name_alone(sweeps, tmp_path):
    outside = tmp_path.parent / "outside"
    outside.mkdir(exist_ok=True)
    (outside / "sweep.json").write_text(json.dumps({"words": [], "jobs": [["a=1"]]}), "utf-8")
    sweeps.folder.mkdir(parents=True)
    (sweeps.folder / "link").symlink_to(outside)
    for name in ("../../../outside", "link", "", ".", "x" * 100):
        with pytest.raises(SweepError):
            sweeps.read(name)
    sweep = sweeps.start(["seed=0"], [["model=a", "seed=0"]])
    sweeps.log(sweep, 0).write_text("seed 0, run folder /etc\n", "utf-8")
    assert statuses(sweeps, sweep) == ["failed"]  # nothing is read there
    sweeps.write_state(sweep, queue=os.getppid(), training=os.getppid())
    sweeps.stop(sweep)  # a process that is not ours goes on


def test_a_line_leads_from_the_values_of_a_training_to_its_measure():
    rows = [
        {"job": 0, "overrides": ["model=a", "lr=1", "seed=0"], "test/accuracy": 0.5,
         "val/loss": 1.0},
        {"job": 1, "overrides": ["model=a", "lr=2", "seed=0"], "val/loss": 2.0},
    ]  # fmt: skip
    assert list_axes(rows) == ["test/accuracy", "val/loss"]
    drawn = draw_parallel(rows, "val/loss")
    assert [axis["name"] for axis in drawn["parallelAxis"]] == ["lr", "val/loss"]
    assert drawn["series"][0]["data"] == [["1", 1.0], ["2", 2.0]]
    assert (drawn["visualMap"]["min"], drawn["visualMap"]["max"]) == (1.0, 2.0)
    assert draw_parallel(rows, "test/accuracy")["series"][0]["data"] == [["1", 0.5]]
    assert draw_parallel([], "")["series"] == []


class TestJourney:
    """The form, the queue, the table and the chart in a browser."""

    pytestmark = JOURNEY

    def test_values_are_chosen_queued_stopped_resumed_and_compared(self, page, project):
        driver = pytest.importorskip("playwright.sync_api")
        type_over(page, "norm:     {use: norm}", "norm:     {block: RMSNorm}")
        expect_command(page, "dougong train --config-dir studio model=vit_draft data=digits")
        page.get_by_role("tab", name="sweep").click()
        page.get_by_label("learning rates").click()
        for rate in ("1e-3", "3e-3"):
            page.locator(".q-menu .q-item", has_text=rate).click()
        page.keyboard.press("Escape")
        page.get_by_label("epochs").last.fill("1")
        add_key(page, "model.params.depth", "2")
        add_key(page, "trainer.limit_train_batches", "4")
        words = "-m --config-dir studio model=vit_draft data=digits optimizer.lr=1e-3,3e-3"
        shown = page.locator(".studio-line")
        driver.expect(shown).to_contain_text(words)
        driver.expect(shown).to_contain_text("model.params.depth=2")
        page.get_by_role("button", name="start the queue").click()
        status = page.locator(".studio-sweep-status")
        driver.expect(status).to_contain_text("0 / 2 finished · running")
        type_over(page, "block: RMSNorm", "block: LayerNorm")  # which the trainings do not see
        page.get_by_role("button", name="stop").last.click()
        driver.expect(status).to_contain_text("not running")
        page.reload()
        page.get_by_role("button", name="resume").click()
        driver.expect(status).to_contain_text("2 / 2 finished", timeout=5 * 60_000)
        table = page.locator(".studio-outputs table").first
        driver.expect(table).to_contain_text("0.001")
        driver.expect(table.locator("a")).to_have_count(2)
        driver.expect(page.locator(".studio-chart canvas").last).to_be_visible()
        draft = next(project.glob("studio/sweeps/*/model/vit_draft.yaml"))
        assert "RMSNorm" in draft.read_text(encoding="utf-8")


def add_key(page, key, value):
    """Choose or type a key of the form, and a value for it."""
    field = page.get_by_label("add a key")
    field.fill(key)
    page.keyboard.press("Enter")
    values = page.get_by_label(key, exact=True).last
    values.fill(value)
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
