"""Explain errors of memory that does not suffice."""

import contextlib
from collections.abc import Iterator

import torch

# messages of torch's allocators: for the CPU, and for libraries of CUDA
MESSAGES = (
    "can't allocate memory",
    "not enough memory",
    "out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
)


@contextlib.contextmanager
def explain_out_of_memory() -> Iterator[None]:
    """Raise errors of memory again, with what to change."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        is_certain = isinstance(error, (torch.OutOfMemoryError, MemoryError))
        if not is_certain and not any(message in str(error) for message in MESSAGES):
            raise
        text = str(error).splitlines()[0] if str(error) else "the memory does not suffice"
        raise RuntimeError(
            f"out of memory: {text}\n"
            "  fix       half of data.batch_size with twice of trainer.accumulate_grad_batches "
            "trains the same; trainer.precision=bf16-mixed, a smaller model or shorter sequences "
            "need less"
        ) from error
