import pytest

from tests.trust.parallel import CASES, LLAMA, VIT, compare, run, weights
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
