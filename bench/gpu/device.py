"""The device, how fast it multiplies, and how to wait for it."""

import time

import torch

HAS_GPU = torch.cuda.is_available()
DEVICE, SIDE = ("cuda", 8192) if HAS_GPU else ("cpu", 512)
PRECISION = torch.bfloat16 if HAS_GPU else torch.float32  # a CPU may have no kernels for bfloat16


def wait() -> None:
    """Wait until the GPU has done all that it was asked for."""
    if HAS_GPU:
        torch.cuda.synchronize()


def name_device() -> str:
    """The name of the GPU, or "CPU"."""
    return torch.cuda.get_device_name() if HAS_GPU else "CPU"


def measure_ceiling(seconds: float = 1.0) -> float:
    """Operations per second of a product of two large matrices, at best."""
    a, b = torch.randn(2, SIDE, SIDE, dtype=PRECISION, device=DEVICE)
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        wait()
        begun = time.perf_counter()
        for _ in range(10):
            a @ b
        wait()
        best = min(best, (time.perf_counter() - begun) / 10)
    return 2 * SIDE**3 / best
