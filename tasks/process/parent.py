"""Processes that end when their parent ends.

Does not import torch: the first process of a sweep uses it too.
"""

import os
import signal
import sys
import threading
import time

PR_SET_PDEATHSIG = 1  # of prctl, in linux/prctl.h
PAUSE = 0.5  # seconds between two checks of the parent where the kernel sends no signal


def die_with_parent(number: int = getattr(signal, "SIGKILL", signal.SIGTERM)) -> None:
    """Let this process receive a signal when its parent ends, for whatever reason.

    Linux ties it to the thread that started the process, which must live as long as its process.

    Args:
        number: the signal; SIGKILL also ends a process that waits in a collective or was stopped.
    """
    parent = os.getppid()
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)
        if os.getppid() != parent:  # it ended in between
            os.kill(os.getpid(), number)
    elif sys.platform != "win32":
        threading.Thread(target=poll_parent, args=(parent, number), daemon=True).start()


def poll_parent(parent: int, number: int) -> None:
    """Send this process a signal once its parent is another one."""
    while os.getppid() == parent:
        time.sleep(PAUSE)
    os.kill(os.getpid(), number)


def end_worker_with_parent(worker: int) -> None:
    """End a process that reads data with the training process; `worker_init_fn` of a loader."""
    die_with_parent()
