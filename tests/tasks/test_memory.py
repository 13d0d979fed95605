import pytest
import torch

from tasks.process.out_of_memory import explain_out_of_memory

FIX = (
    "  fix       half of data.batch_size with twice of trainer.accumulate_grad_batches trains "
    "the same; "
    "trainer.precision=bf16-mixed, a smaller model or shorter sequences need less"
)


def raising(error):
    def fail():
        raise error

    return fail


@pytest.mark.parametrize(
    ("fail", "what"),
    [
        (lambda: torch.empty(1 << 50), "can't allocate memory"),
        (lambda: bytearray(1 << 60), "the memory does not suffice"),
        (raising(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")), "2 GiB"),
        (raising(RuntimeError("CUDA error: out of memory")), "CUDA error"),
    ],
    ids=["processor", "Python", "GPU", "a library of CUDA"],
)
def test_what_to_change_is_told(fail, what):
    with pytest.raises(RuntimeError) as error, explain_out_of_memory():
        fail()
    first, fix = str(error.value).splitlines()
    assert first.startswith("out of memory: ")
    assert what in first
    assert fix == FIX


def test_other_errors_pass():
    with pytest.raises(RuntimeError, match=r"^shapes differ$"), explain_out_of_memory():
        raise RuntimeError("shapes differ")
    with pytest.raises(KeyError), explain_out_of_memory():
        raise KeyError("x")
