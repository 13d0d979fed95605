"""Accelerators for processes that run at once: which there are, and who has which."""

import contextlib
import re
import threading
from collections.abc import Iterator, Sequence

VISIBLE = "CUDA_VISIBLE_DEVICES"
NAME = re.compile(r"\d+|(GPU|MIG)-[\w/-]+")  # an index, or the name of a GPU or of a part of one


def visible_devices(variable: str | None, count: int) -> list[str]:
    """Return the names of the accelerators that jobs may use.

    Args:
        variable: the value of `CUDA_VISIBLE_DEVICES`; None where it is not set.
        count: how many this process sees.
    """
    if variable is None:
        return [str(index) for index in range(count)]
    names: list[str] = []
    for text in variable.split(","):
        name = text.strip()
        if not NAME.fullmatch(name):  # CUDA ignores what follows
            break
        names.append(name)
    return names[:count]


class DevicePool:
    """Hands out accelerators to jobs.

    Args:
        names: of all accelerators.
    """

    def __init__(self, names: Sequence[str]):
        self.free = list(names)
        self.lock = threading.Lock()

    @contextlib.contextmanager
    def take(self, count: int) -> Iterator[dict[str, str]]:
        """Yield the environment of a job that has `count` accelerators of its own."""
        if not count:
            yield {}
            return
        with self.lock:
            taken = self.free[:count]
            del self.free[:count]
        try:
            yield {VISIBLE: ",".join(taken)}
        finally:
            with self.lock:
                self.free = [*taken, *self.free]
