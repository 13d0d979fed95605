"""Launchers that hand their jobs to somebody else: what they say, and what they do where jobs
vanish.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hydra.core.utils import JobStatus

from hydra_plugins.dougong_queue import QueueLauncher
from hydra_plugins.dougong_ray import RayLauncher
from hydra_plugins.dougong_submitit import SubmititLauncher
from tasks.run import run_folder
from tests.trust import sweeps

ROOT = Path(__file__).resolve().parents[1]


class Here(QueueLauncher):
    """A queue that runs a job at once, and loses every job whose words name the way "lost"."""

    pause = 0.0

    def __init__(self, place: Path, script: Path, n_jobs: int = 2):
        super().__init__(n_jobs)
        self.folder, self.flags, self.door = place, ["--config-name", "train"], [str(script)]
        self.waves, self.cancelled, self.closed = [], [], False

    def submit(self, jobs):
        self.waves.append(list(jobs))
        return {number: (number, job()) for number, job in jobs.items()}

    def is_done(self, handle):
        if handle[1] == 130:
            raise KeyboardInterrupt
        return True

    def status(self, handle):
        return None if handle[1] == 9 else handle[1]

    def cancel(self, handle):
        self.cancelled.append(handle[0])

    def close(self):
        self.closed = True


@pytest.fixture
def here(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import os, sys\nprint(*sys.argv[1:], "
        "os.getcwd())\nsys.exit(int(sys.argv[3].partition('=')[2]))",
        encoding="utf-8",
    )
    return Here(tmp_path / "sweep", script)


def test_whatever_a_job_does_the_others_finish_and_a_lost_one_is_noted(here, capsys):
    run_folder.Record(here.folder / "6", started="now")
    words = [
        ["status=0", "hydra/launcher=ray", "+hydra.launcher.n_jobs=2"],
        ["status=3"],
        ["status=9"],
        ["status=0"],
    ]
    found = here.launch(words, initial_job_idx=4)
    assert [result.status for result in found] == [
        JobStatus.COMPLETED,
        JobStatus.FAILED,
        JobStatus.FAILED,
        JobStatus.COMPLETED,
    ]
    assert here.waves == [[4, 5], [6, 7]]
    assert here.closed
    assert run_folder.read_record(here.folder / "6")["status"] == "died"
    assert run_folder.read_record(here.folder / "6")["error"] == (
        "it ended without a message: its time or memory was up, its machine failed, or the queue "
        "ended it"
    )
    assert (here.folder / "4" / "job.log").read_text(encoding="utf-8") == (
        f"--config-name train status=0 hydra.run.dir='{here.folder / '4'}' {Path.cwd()}\n"
    )
    assert "job 5 failed: status=3  it exited with status 3" in capsys.readouterr().out


def test_control_c_cancels_what_runs(here):
    with pytest.raises(KeyboardInterrupt):
        here.launch([["status=130"], ["status=0"]], initial_job_idx=0)
    assert here.cancelled == [0, 1]
    assert here.closed


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: SubmititLauncher("slurm", 0, 60), "n_jobs must be 1 or more, got 0"),
        (lambda: SubmititLauncher("moon", 1, 60), "cluster is slurm or local, got moon"),
        (lambda: RayLauncher(None, -1), "n_jobs must be 1 or more, got -1"),
    ],
)
def test_arguments_that_make_no_queue(make, text):
    with pytest.raises(ValueError, match=text):
        make()


def test_a_launcher_that_cannot_be_made_is_told_and_leaves_nothing(tmp_path):
    done = start(
        tmp_path,
        "processes",
        "sys.argv.append('hydra.launcher.n_jobs=0'); import train; train.main()",
    )
    told = "the command line  hydra.launcher\n  hydra.launcher.n_jobs must be 1 or more, got 0\n"
    assert (done.returncode, done.stderr, done.stdout) == (2, told, "")
    assert not list(tmp_path.rglob("sweep.json"))


def start(tmp_path, launcher, code="import train; train.main()"):
    words = [
        "-m",
        f"hydra/launcher={launcher}",
        "trainer=debug",
        "model.params.depth=1",
        "seed=1,2",
    ]
    program = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); sys.argv = ['train.py', "
        f"*{words!r}]; {code}"
    )
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        timeout=300,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


@pytest.mark.parametrize(
    ("launcher", "package", "extra"),
    [
        ("submitit_slurm", "submitit", "slurm"),
        pytest.param("ray", "ray", "ray", marks=pytest.mark.slow),
    ],
)
def test_a_missing_package_is_told_and_leaves_nothing(tmp_path, launcher, package, extra):
    done = start(
        tmp_path,
        launcher,
        "import importlib.util as u; found = u.find_spec; u.find_spec = lambda n, *a: None if "
        f"n == {package!r} else "
        "found(n, *a); import train; train.main()",
    )
    assert (done.returncode, done.stderr) == (
        2,
        "the command line  hydra/launcher\n"
        f"  {launcher} needs the package {package}, which is not installed\n"
        f"  fix       pip install -c constraints.txt -e '.[{extra}]'\n",
    )
    assert not list(tmp_path.rglob("*-sweep"))


@pytest.mark.parametrize(
    "launcher", [pytest.param(name, marks=pytest.mark.slow) for name in ("submitit_local", "ray")]
)
def test_others_finish_and_a_second_run_completes_what_is_missing(tmp_path, launcher):
    pytest.importorskip(launcher.partition("_")[0])
    words = (f"hydra/launcher={launcher}", "hydra.launcher.n_jobs=2")
    found = sweeps.attempt(tmp_path, ["error", "killed", "fine"], 1, *words)
    assert found == {
        "jobs": 3,
        "finished": 1,
        "failed": 2,
        "wrongly ended": 0,
        "status": 1,
        "run again": 2,
        "finished then": 3,
        "status then": 0,
        "never finished": [],
    }
