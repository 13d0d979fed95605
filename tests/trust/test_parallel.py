import shutil

import pytest
import torch

from tasks.errors import ArgumentError
from tasks.resume import checkpoint_file
from tests.trust.parallel import CASES, LLAMA, SHORT, VIT, compare, run, weights
from tests.trust.test_kills import harness


def test_two_and_three_processes_measure_what_one_measures_and_end_together():
    found = harness("ranks", "--quick")
    assert found.returncode == 0, found.stdout + found.stderr


@pytest.mark.slow
def test_processes_that_share_a_network_learn_what_one_learns(tmp_path):
    assert compare(tmp_path, VIT, CASES[:2], "vit")
    assert compare(tmp_path, LLAMA, CASES[2:], "llama")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["fsdp", "tensor_parallel"])
def test_short_numbers_and_clipping_by_value_work_on_what_is_cut(tmp_path, kind):
    words = [
        f"trainer={kind}",
        "trainer.devices=2",
        "trainer.accelerator=cpu",
        "trainer.precision=bf16-mixed",
    ]
    few = [
        "trainer.max_epochs=1",
        "trainer.limit_train_batches=3",
        "+trainer.gradient_clip_algorithm=value",
    ]
    run(tmp_path / "one", *VIT, *words, *few)
    assert all(
        value.isfinite().all() and value.dtype.is_floating_point
        for value in weights(tmp_path / "one").values()
    )


@pytest.mark.slow
def test_what_is_drawn_in_parts_equals_what_one_process_draws_to_the_bit():
    """Two groups of two processes that divide layers; `python -m tests.trust.initial` has more."""
    found = harness("initial", "--quick")
    assert found.returncode == 0, found.stdout + found.stderr


@pytest.mark.slow
def test_processes_send_what_explain_says():
    """ddp, fsdp, tensor_parallel and both, on two to four processes: equal to the byte."""
    found = harness("traffic")
    assert found.returncode == 0, found.stdout + found.stderr


FEW = [*SHORT, *VIT, "trainer.limit_train_batches=1"]
MESH = ("trainer=fsdp", "trainer.devices=4", "trainer.tensor_parallel_size=2", "data.batch_size=8")
TWO = ("trainer=fsdp", "trainer.devices=2", "data.batch_size=8")
DIVIDED = ("trainer=tensor_parallel", "trainer.devices=2", "data.batch_size=16")
ONE = ("trainer=cpu", "data.batch_size=16")


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """Three steps by four processes that divide layers in pairs, and the words that add one."""
    place = tmp_path_factory.mktemp("begun")
    run(place / "four", *FEW, *MESH)
    file = f"ckpt_path={place / 'four' / 'checkpoints' / 'last.ckpt'}"
    run(place / "again", *FEW, file, "trainer.max_epochs=4", *MESH)
    return place


def assert_equal(one, other):
    assert one.keys() == other.keys()
    for name, value in one.items():
        torch.testing.assert_close(other[name], value, rtol=0, atol=1e-6, msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("words", [TWO, DIVIDED, ONE], ids=["fsdp", "tensor_parallel", "one"])
def test_two_processes_and_one_resume_what_four_shared_in_both_ways(begun, tmp_path, words):
    """One more step from a checkpoint of a mesh of 2 x 2, on it and on fewer processes: 1e-6."""
    file = f"ckpt_path={begun / 'four' / 'checkpoints' / 'last.ckpt'}"
    run(tmp_path / "more", *FEW, file, "trainer.max_epochs=4", *words)
    before, again = weights(begun / "four"), weights(begun / "again")
    assert any(not before[name].equal(again[name]) for name in before)
    assert_equal(again, weights(tmp_path / "more"))


@pytest.mark.slow
def test_four_processes_resume_what_one_saved(tmp_path):
    run(tmp_path / "one", *FEW, *ONE)
    file = f"ckpt_path={tmp_path / 'one' / 'checkpoints' / 'last.ckpt'}"
    for name, words in (("more", ONE), ("four", MESH)):
        run(tmp_path / name, *FEW, file, "trainer.max_epochs=4", *words)
    assert_equal(weights(tmp_path / "more"), weights(tmp_path / "four"))


@pytest.mark.slow
def test_each_process_writes_its_part_and_damage_to_one_is_named(begun, tmp_path):
    saved = tmp_path / "checkpoints"
    shutil.copytree(begun / "four" / "checkpoints", saved)
    (folder,) = saved.glob("shards-*")
    files = sorted(folder.iterdir())
    whole = sum(value.nbytes for value in weights(tmp_path).values())
    assert len(files) == 4
    # weights and two averages of AdamW, a quarter each, and what is whole in every process
    assert max(path.stat().st_size for path in files) < 3 * whole / 4 * 1.2
    assert checkpoint_file.find_damage(saved / "last.ckpt") is None
    data = bytearray(files[1].read_bytes())
    data[-1] ^= 1
    files[1].write_bytes(data)
    found = checkpoint_file.find_damage(saved / "last.ckpt")
    name = f"{folder.name}/{files[1].name}"
    assert found == f"the checksum of its shard {name} does not fit"
    assert checkpoint_file.list_intact(saved) == []
    files[1].unlink()
    with pytest.raises(ArgumentError, match=f"its shard {name} is missing"):
        checkpoint_file.load_checkpoint(saved / "last.ckpt")
    (saved / "last.ckpt").unlink()
    checkpoint_file.remove_unused(saved)
    assert folder.is_dir()  # of best.ckpt
    (saved / "best.ckpt").unlink()
    checkpoint_file.remove_unused(saved)
    assert list(saved.iterdir()) == []
