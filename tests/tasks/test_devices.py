"""Accelerators of the jobs of a sweep: which there are, what each job gets, what does not fit.

No accelerator is needed: the lists of devices are arguments.
"""

import json
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from blocks.graph import ConfigError
from tasks.process.devices import DevicePool, visible_devices
from tasks.sweep.devices import check_fit, count_needed

ROOT = Path(__file__).resolve().parents[2]
UUID = "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6"
MIG = "MIG-c7384736-a75d-5afc-978f-d2f1294409fd"


@pytest.mark.parametrize(
    ("variable", "count", "names"),
    [
        (None, 3, ["0", "1", "2"]),
        (None, 0, []),
        ("", 0, []),
        ("5,7", 2, ["5", "7"]),
        (f"{UUID}, {MIG}", 2, [UUID, MIG]),
        ("MIG-GPU-8932f937/3/0", 1, ["MIG-GPU-8932f937/3/0"]),
        ("2,-1,3", 1, ["2"]),
        ("NoDevFiles", 0, []),
        ("0,1,2,3", 0, []),
    ],
)
def test_devices_are_those_that_the_variable_names_and_the_process_sees(variable, count, names):
    assert visible_devices(variable, count) == names


@pytest.mark.parametrize(
    ("trainer", "needed"),
    [
        ({"accelerator": "cpu", "devices": 4}, 0),
        ({"accelerator": "gpu", "devices": 1}, 1),
        ({"accelerator": "cuda", "devices": "2"}, 2),
        ({"accelerator": "gpu", "devices": -1}, 3),
        ({"devices": "auto"}, 3),
        ({}, 3),
    ],
)
def test_a_job_gets_as_many_devices_as_its_trainer_asks_for(trainer, needed):
    assert count_needed(trainer, share=3) == needed


@pytest.mark.parametrize("devices", [[2, 3], "2,3"])
def test_a_job_that_names_its_devices_is_refused(devices):
    with pytest.raises(ConfigError) as caught:
        count_needed({"accelerator": "gpu", "devices": devices}, share=1)
    assert str(caught.value) == (
        "trainer.devices\n"
        "  each job of this sweep has accelerators of its own, numbered from 0\n"
        f"  got       trainer.devices={devices}\n"
        "  fits      a number of accelerators\n"
        "  fix       trainer.devices=2, or hydra.launcher.share_devices=true"
    )


def test_jobs_that_do_not_fit_are_refused_with_what_fits():
    check_fit([2, 2, 2, 2], 2, ["0", "1", MIG, "3"])
    check_fit([0] * 9, 9, ["0"])
    with pytest.raises(ConfigError) as caught:
        check_fit([1, 2, 1, 2], 4, ["0", "1", UUID])
    assert str(caught.value) == (
        "the command line  hydra.launcher.n_jobs\n"
        "  the jobs need more accelerators than this machine has\n"
        "  got       4 jobs at once, with up to 2 each: 6 in all\n"
        f"  fits      3 in all: 0, 1, {UUID}\n"
        "  fix       hydra.launcher.n_jobs=1, or hydra.launcher.share_devices=true"
    )
    with pytest.raises(ConfigError, match=r"trainer\.devices=1, or"):
        check_fit([2], 2, ["0"])


def test_jobs_at_once_have_different_devices_and_give_them_back():
    pool = DevicePool(["0", UUID, MIG, "3"])
    with ExitStack() as jobs:
        first = jobs.enter_context(pool.take(1))
        second = jobs.enter_context(pool.take(2))
        third = jobs.enter_context(pool.take(0))
        assert first == {"CUDA_VISIBLE_DEVICES": "0"}
        assert second == {"CUDA_VISIBLE_DEVICES": f"{UUID},{MIG}"}
        assert third == {}
        assert pool.free == ["3"]
    assert sorted(pool.free) == sorted(["0", UUID, MIG, "3"])


def sweep(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a sweep of two jobs, whose block writes down which devices the process sees."""
    (folder / "seen").mkdir()
    (folder / "my_blocks").mkdir()
    (folder / "my_blocks" / "look.py").write_text(
        "import os\nimport tempfile\n\n"
        f"_, path = tempfile.mkstemp(dir={str(folder / 'seen')!r})\n"
        "with open(path, 'w') as file:\n"
        "    file.write(os.environ.get('CUDA_VISIBLE_DEVICES', 'not set'))\n",
        encoding="utf-8",
    )
    line = [
        str(ROOT / "train.py"),
        "-m",
        "library=[my_blocks]",
        "trainer=debug",
        "model.params.depth=1",
        "hydra.launcher.n_jobs=2",
        "seed=1,2",
        *words,
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    environment.pop("CUDA_VISIBLE_DEVICES", None)
    return subprocess.run(
        [sys.executable, *line],
        cwd=folder,
        env=environment,
        capture_output=True,
        encoding="utf-8",
        timeout=300,
    )


@pytest.mark.slow
def test_each_process_of_a_sweep_sees_its_own_devices(tmp_path):
    """There is none here, so the runs fail; what their processes were given is what counts."""
    done = sweep(tmp_path, "trainer.accelerator=gpu", f"hydra.launcher.devices=['7','{MIG}']")
    seen = {path.read_text(encoding="utf-8") for path in (tmp_path / "seen").iterdir()}
    assert {"7", MIG} <= seen, done.stderr
    assert seen <= {"7", MIG, "not set"}  # the sweep itself may read the blocks


@pytest.mark.slow
def test_a_sweep_that_does_not_fit_is_refused_and_leaves_nothing(tmp_path):
    done = sweep(tmp_path, "trainer.accelerator=gpu", "hydra.launcher.devices=[0]")
    assert done.returncode == 2
    assert done.stderr.startswith("the command line  hydra.launcher.n_jobs\n"), done.stderr
    assert not list(tmp_path.glob("runs/*"))


@pytest.mark.slow
def test_jobs_on_the_cpu_and_jobs_that_share_are_as_before(tmp_path):
    done = sweep(tmp_path, "hydra.launcher.devices=[0]")
    assert done.returncode == 0, done.stderr
    (plan,) = tmp_path.rglob("sweep.json")
    assert len(json.loads(plan.read_text(encoding="utf-8"))["jobs"]) == 2
    assert {path.read_text(encoding="utf-8") for path in (tmp_path / "seen").iterdir()} == {
        "not set"
    }
