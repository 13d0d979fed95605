"""Memory that does not suffice, told with what to change."""

import contextlib
from collections.abc import Iterator

import torch

# how the allocators of torch say it: for the processor, and for CUDA's libraries
SIGNS = (
    "can't allocate memory",
    "not enough memory",
    "out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
)


@contextlib.contextmanager
def told() -> Iterator[None]:
    """Say what to change where memory does not suffice."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        named = isinstance(error, (torch.OutOfMemoryError, MemoryError))
        if not named and not any(sign in str(error) for sign in SIGNS):
            raise
        text = str(error).splitlines()[0] if str(error) else "the memory does not suffice"
        raise RuntimeError(
            f"out of memory: {text}\n"
            "  fix       half of data.batch_size with twice of trainer.accumulate_grad_batches "
            "learns the same; "
            "trainer.precision=bf16-mixed, a smaller model or shorter sequences need less"
        ) from error
