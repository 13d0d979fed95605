"""Checkpoints that a thread writes: the same files, errors that are raised, and ends that wait."""

import os
import signal
import time
from collections import OrderedDict

import pytest
import torch

from tasks.process.signals import Interrupted
from tasks.resume import checkpoint, checkpoint_file, writer
from tests.tasks.test_resume import SMALL, learn

TINY = [*SMALL, "trainer.limit_train_batches=4", "trainer.max_epochs=1"]
CLOCK = {"seconds"}


def equal(one, other):
    """Whether nested containers are equal to the bit, apart from values of the clock."""
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and one.equal(other)
    if isinstance(one, dict):
        names = one.keys() - CLOCK
        return names == other.keys() - CLOCK and all(equal(one[n], other[n]) for n in names)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return one == other


def keep_all(monkeypatch, seen, pause):
    """Keep what every save writes in `seen`, after a pause in which the training goes on."""
    save = checkpoint_file.save_checkpoint

    def slow(content, path):
        time.sleep(pause)
        save(content, path)
        seen.append((path.name, checkpoint_file.load_checkpoint(path)))

    monkeypatch.setattr(checkpoint_file, "save_checkpoint", slow)


def test_a_thread_writes_what_a_training_that_waits_would_have_written(tmp_path, monkeypatch):
    found = []
    for limit, pause in ((writer.LIMIT, 0.02), (0, 0.0)):
        with monkeypatch.context() as patch:
            patch.setattr(checkpoint_file, "LIMIT", limit)
            keep_all(patch, seen := [], pause)
            learn(tmp_path / str(limit), small=TINY)
        found.append(seen)
    behind, waiting = found
    assert [name for name, _ in behind] == [name for name, _ in waiting]
    for (_, one), (_, other) in zip(behind, waiting, strict=True):
        for content in (one, other):  # of the file and its folder
            del content["hyper_parameters"]
        assert equal(one, other)


def test_a_full_disk_ends_a_training_with_its_error(tmp_path, monkeypatch):
    flush, count = os.fsync, 0

    def fill(number):
        nonlocal count
        count += 1
        if count > 6:
            raise OSError(28, "No space left on device")
        flush(number)

    monkeypatch.setattr(os, "fsync", fill)
    with pytest.raises(checkpoint_file.SaveError, match="could not be saved: No space left"):
        learn(tmp_path)
    monkeypatch.undo()
    folder = tmp_path / "checkpoints"
    assert checkpoint_file.find_damage(folder / "last.ckpt") is None
    assert not list(folder.glob(".*.part"))


def test_a_signal_waits_for_the_file_that_a_thread_writes(tmp_path, monkeypatch):
    keep_all(monkeypatch, seen := [], 0.1)
    save = checkpoint.Checkpoint._save

    def signalled(self, *given, **options):
        save(self, *given, **options)
        if not self.guard.stop:
            self.guard.stop = int(signal.SIGTERM)

    monkeypatch.setattr(checkpoint.Checkpoint, "_save", signalled)
    with pytest.raises(Interrupted) as stopped:
        learn(tmp_path, small=TINY)
    assert stopped.value.status == 143
    last = checkpoint_file.load_checkpoint(tmp_path / "checkpoints" / "last.ckpt")
    assert equal(last, seen[-1][1])
    assert last["global_step"] == 2


def test_an_error_is_raised_once_and_nothing_follows_it():
    done = []

    def fail():
        raise checkpoint_file.SaveError("full")

    queue = writer.Writer()
    queue.is_background = True
    for step in (lambda: done.append(1), fail, lambda: done.append(2)):
        queue.add(step)
    with pytest.raises(checkpoint_file.SaveError, match="full"):
        queue.wait()
    queue.check()
    queue.add(lambda: done.append(3))
    queue.close()
    assert done == [1, 3]


def test_a_copy_keeps_what_is_one_in_memory():
    weight = torch.arange(6.0).reshape(2, 3)
    content = {
        "state": OrderedDict(embed=weight, head=weight.view(2, 3), row=weight[1]),
        "steps": [(torch.tensor(3), "name")],
    }
    content["state"]._metadata = {"": {"version": 1}}
    copied = writer.copy_state(content)
    weight.zero_()
    state = copied["state"]
    assert state["embed"] is state["head"]
    assert state["embed"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert state["row"].tolist() == [3, 4, 5]
    assert state._metadata == {"": {"version": 1}}
    assert copied["steps"] == [(torch.tensor(3), "name")]
    assert writer.count_bytes(content) == 24 + 24 + 12 + 8
