"""Checkpoints are written by a thread, while the training continues."""

import copy
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from torch import Tensor

LIMIT = 2**30  # bytes of tensors; a copy of more could be missing elsewhere


class Writer:
    """Takes the steps of saving in their order, in a thread if `is_background`.

    After an error no further step is taken, until `check` or `wait` has raised it.

    Attributes:
        is_background: whether `add` returns before a step has been taken.
    """

    def __init__(self) -> None:
        self.is_background = False
        self.pool: ThreadPoolExecutor | None = None
        self.begun: list[Future[None]] = []
        self.error: BaseException | None = None

    def add(self, step: Callable[..., None], *arguments: Any) -> None:
        """Take a step after those before it; without a thread, raise its error now."""
        if not self.is_background:
            self.wait()
            step(*arguments)
            return
        if self.pool is None:
            self.pool = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self.begun.append(self.pool.submit(self._take, step, arguments))

    def check(self) -> None:
        """Raise the error of a step that has been taken, without waiting for others."""
        if self.error is not None:
            self.wait()

    def wait(self) -> None:
        """Wait until all steps have been taken; raise the error of one."""
        while self.begun:
            self.begun[0].result()
            del self.begun[0]
        error, self.error = self.error, None
        if error is not None:
            raise error

    def close(self) -> None:
        """End the thread after its last step; raise the error of one."""
        pool, self.pool = self.pool, None
        self.is_background = False
        if pool is not None:
            pool.shutdown()
        self.wait()

    def _take(self, step: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        if self.error is not None:
            return
        try:
            step(*arguments)
        except BaseException as error:
            self.error = error


def count_bytes(content: Any) -> int:
    """Return the bytes of all tensors in nested containers; one that occurs twice counts twice."""
    if isinstance(content, Tensor):
        return content.nbytes
    if isinstance(content, dict):
        content = content.values()
    elif not isinstance(content, list | tuple):
        return 0
    return sum(map(count_bytes, content))


def copy_state(content: Any, copied: dict[Any, Tensor] | None = None) -> Any:
    """Return nested containers of a state with copies of their tensors in main memory, which the
    training does not change.

    Args:
        content: dictionaries, lists, tuples, tensors, plain values.
        copied: the copies so far; tensors that are one in memory, such as tied weights, stay one.
    """
    if copied is None:
        copied = {}
    if isinstance(content, Tensor):
        place = content.untyped_storage().data_ptr(), content.device, content.storage_offset()
        key = (*place, content.dtype, content.shape, content.stride())
        if key not in copied or not content.numel():
            copied[key] = content.detach().to("cpu", copy=True)
        return copied[key]
    if isinstance(content, dict):
        result = copy.copy(content)
        for name, value in content.items():
            result[name] = copy_state(value, copied)
        return result
    if type(content) in (list, tuple):
        return type(content)(copy_state(value, copied) for value in content)
    return content
