"""Processes that end with the one that started them.

Needs no torch: the first process of a sweep asks for it, too.
"""

import ctypes
import os
import signal
import sys
import threading
import time

PR_SET_PDEATHSIG = 1  # of prctl, in linux/prctl.h
PAUSE = 0.5  # seconds between two looks at the parent where the kernel does not tell


def die_with_parent(how: int = getattr(signal, "SIGKILL", signal.SIGTERM)) -> None:
    """Let this process get a signal when its parent ends, however that ends.

    Linux ties it to the thread that started the process, which must be one that lives as long as
    its process.

    Args:
        how: the signal; SIGKILL ends a process that stands in a collective or was stopped, too.
    """
    parent = os.getppid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, how)
        if os.getppid() != parent:  # it ended in between
            os.kill(os.getpid(), how)
    elif sys.platform != "win32":
        threading.Thread(target=watch, args=(parent, how), daemon=True).start()


def watch(parent: int, how: int) -> None:
    """Send this process a signal once it has another parent."""
    while os.getppid() == parent:
        time.sleep(PAUSE)
    os.kill(os.getpid(), how)


def end_worker_with_parent(number: int) -> None:
    """`worker_init_fn` of a loader: a process that reads data ends with the one that trains."""
    die_with_parent()
