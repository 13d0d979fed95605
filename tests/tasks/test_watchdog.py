"""A run that cannot end itself is ended, and no process outlives the one that started it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from blocks.graph import ConfigError, compose
from hydra_plugins.dougong_launcher import ProcessLauncher
from tasks.config import instantiate
from tasks.data.images.image_folder import Images
from tasks.data.images.listing.samples import Samples
from tasks.process import runtime, watchdog
from tasks.process.parent import end_worker_with_parent
from tasks.process.signals import SignalGuard
from tasks.process.watchdog import ProcessLostError, Watchdog
from tasks.run.build import make_trainer
from tasks.run.sections import check_sections

ROOT = Path(__file__).resolve().parents[2]
CHILD = """
import time
from tasks.process.parent import die_with_parent
die_with_parent()
print("ready", flush=True)
time.sleep(60)
"""
PARENT = f"""
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", {CHILD!r}], stdout=subprocess.PIPE, text=True)
print(child.pid, child.stdout.readline(), flush=True)
time.sleep(60)
"""


def alive(number):
    try:
        state = (
            Path(f"/proc/{number}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
        )
    except OSError:
        return False
    return state != "Z"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("stopped", [False, True])
def test_a_process_ends_with_its_parent_even_if_it_was_stopped(stopped):
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], cwd=ROOT, stdout=subprocess.PIPE, encoding="utf-8"
    ) as parent:
        child = int(parent.stdout.readline().split()[0])
        if stopped:
            os.kill(child, signal.SIGSTOP)
        parent.kill()
    end = time.monotonic() + 10
    while alive(child) and time.monotonic() < end:
        time.sleep(0.05)
    assert not alive(child)


def test_processes_that_read_data_end_with_the_one_that_trains():
    data = Images("nowhere", workers=1)
    data.classes, data.parts = (
        ["cat"],
        {
            part: Samples.pack(Path("nowhere"), names, ["cat"] * len(names))
            for part, names in {"train": [], "val": ["x.png"], "test": []}.items()
        },
    )
    assert data.val_dataloader().loader.worker_init_fn is end_worker_with_parent


@pytest.fixture
def ended(monkeypatch):
    """What ends a run: the exit status, and what is told."""
    found = []
    monkeypatch.setattr(watchdog, "PATIENCE", 0.2)
    monkeypatch.setattr(watchdog, "GRACE", 0.2)
    monkeypatch.setattr(watchdog, "PAUSE", 0.02)
    monkeypatch.setattr(watchdog.os, "_exit", found.append)
    return found


def wait_for(found, seconds=20):
    end = time.monotonic() + seconds
    while not found and time.monotonic() < end:
        time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_run_that_hangs_is_ended_by_a_signal(ended, number):
    told = []
    with SignalGuard(Watchdog(lambda *end: told.append(end))) as guard:
        guard.patient = True  # as in training, which never comes to its next step here
        os.kill(os.getpid(), number)
        wait_for(ended)
    assert ended == [128 + number]
    name = signal.Signals(number).name
    assert told == [
        (
            128 + number,
            f"stopped by {name}: the run did not respond and was ended; "
            "resume=RUN continues from its last checkpoint",
        )
    ]


def test_a_run_that_gives_signs_of_life_is_not_ended(ended, monkeypatch):
    monkeypatch.setattr(watchdog, "PATIENCE", 1.0)  # a loaded machine pauses the loop
    with SignalGuard(Watchdog(print)) as guard:
        guard.patient = True
        os.kill(os.getpid(), signal.SIGTERM)
        for _ in range(75):
            time.sleep(0.02)
            guard.beat()
    assert not ended


@pytest.mark.parametrize(
    ("code", "status", "told"),
    [
        ("exit(3)", 3, "process 1 of 2 ended with status 3; its own message stands above"),
        (
            "import os; os.kill(os.getpid(), 9)",
            1,
            "process 1 of 2 was killed by SIGKILL; the memory may have been used up; "
            "resume=RUN continues from the last checkpoint",
        ),
    ],
)
def test_a_run_that_waits_for_a_lost_process_is_ended(ended, code, status, told):
    found = []
    with SignalGuard(Watchdog(lambda *end: found.append(end))) as guard:
        guard.watchdog.ranks = [subprocess.Popen([sys.executable, "-c", code])]
        guard.watchdog.poke()
        wait_for(ended)
    assert (ended, found) == ([status], [(status, told)])


def test_an_error_of_a_connection_names_the_process_that_was_lost(ended):
    watchdog.GRACE = 20
    thread = Watchdog(print)
    thread.ranks = [subprocess.Popen([sys.executable, "-c", "exit(3)"])]
    with (
        pytest.raises(ProcessLostError, match="process 1 of 2 ended with status 3"),
        SignalGuard(thread),
    ):
        raise RuntimeError(
            "[gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:2701"
        )
    thread.join()


@pytest.mark.parametrize(
    "error", [ValueError("mine"), RuntimeError("out of memory: 3 GB"), torch.OutOfMemoryError()]
)
def test_an_error_of_ones_own_stays_what_it_is(error):
    with pytest.raises(type(error)) as raised, SignalGuard(Watchdog(print)):
        raise error
    assert raised.value is error


@pytest.mark.parametrize(
    ("path", "value", "typed", "fits"),
    [
        ("trainer.devices", 7, False, None),
        ("trainer.devices", 8, False, "up to 7, or on the command line up to 28"),
        ("trainer.devices", "64", False, "up to 7, or on the command line up to 28"),
        ("trainer.devices", 28, True, None),
        ("trainer.devices", 29, True, "up to 28"),
        ("trainer.devices", "auto", False, None),
        ("trainer.devices", -1, False, None),
        ("trainer.threads", 8, False, "up to 7, or on the command line up to 28"),
        ("trainer.threads", None, False, None),
        ("data.workers", 8, False, "up to 7, or on the command line up to 28"),
        ("data.workers", "auto", False, None),
        ("trainer.num_nodes", 1, False, None),
        ("trainer.num_nodes", 2, True, "1; torchrun or SLURM starts several, docs/clusters.md"),
        ("trainer.max_epochs", 1000, False, None),
    ],
)
def test_nothing_asks_for_more_than_the_machine_has(monkeypatch, path, value, typed, fits):
    monkeypatch.setattr(runtime, "count_cores", lambda: 7)
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    found = runtime.find_excess(tuple(path.split(".")), value, typed=typed)
    assert (found and found[1]) == fits


def test_a_file_of_a_stranger_starts_no_sixty_four_processes(tmp_path, monkeypatch):
    monkeypatch.setattr(runtime, "count_cores", lambda: 2)
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "flood.yaml").write_text(
        "# @package _global_\ntrainer: {devices: 64, strategy: ddp, threads: 999}\n",
        encoding="utf-8",
    )
    composed = compose(["experiment=flood"], config_dir=str(tmp_path))
    with pytest.raises(
        ConfigError, match="this machine has 2 cores for it\n  got       threads=999"
    ):
        check_sections(composed)
    with pytest.raises(
        ConfigError, match="this machine has 2 cores for it\n  got       devices=64"
    ):
        make_trainer(composed, tmp_path, SignalGuard())
    assert not list(
        instantiate.check_excess(compose(["trainer.devices=4"]), ("trainer", "devices"), 4)
    )


def test_a_sweep_runs_no_more_jobs_at_once_than_is_sensible(monkeypatch):
    monkeypatch.setattr(runtime, "count_cores", lambda: 2)
    with pytest.raises(
        ValueError, match="at most 4 for each of the 2 cores of this machine, got 9"
    ):
        ProcessLauncher(9)
