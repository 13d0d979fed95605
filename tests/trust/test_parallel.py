import pytest
import torch

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
def test_processes_send_what_explain_says():
    """ddp, fsdp, tensor_parallel and both, on two to four processes: equal to the byte."""
    found = harness("traffic")
    assert found.returncode == 0, found.stdout + found.stderr


@pytest.mark.slow
@pytest.mark.parametrize("words", [("trainer=fsdp",), ("trainer=tensor_parallel",)])
def test_two_processes_resume_what_four_shared_in_both_ways(tmp_path, words):
    """One more step from a checkpoint of a mesh of 2 x 2, on it and on two processes: 1e-6."""
    few = [*SHORT, *VIT, "trainer.limit_train_batches=1"]
    mesh = ("trainer=fsdp", "trainer.devices=4", "trainer.tensor_parallel_size=2")
    run(tmp_path / "four", *few, *mesh, "data.batch_size=8")
    file = f"ckpt_path={tmp_path / 'four' / 'checkpoints' / 'last.ckpt'}"
    more = [*few, file, "trainer.max_epochs=4"]
    run(tmp_path / "again", *more, *mesh, "data.batch_size=8")
    batch = 8 if words == ("trainer=fsdp",) else 16
    run(tmp_path / "two", *more, *words, "trainer.devices=2", f"data.batch_size={batch}")
    before, again, two = (weights(tmp_path / name) for name in ("four", "again", "two"))
    assert any(not before[name].equal(again[name]) for name in before)
    for name, value in again.items():
        torch.testing.assert_close(two[name], value, rtol=0, atol=1e-6, msg=name)
