"""Asks the resident process of `python -m blocks watch`, without importing torch."""

import os
import socket
import sys
from collections.abc import Sequence
from typing import Any

from blocks.watch.messages import TAKEN, receive, receive_bytes, send
from blocks.watch.place import digest_environment, locate_socket

ANSWERED = ("explain", "check", "diff")
# Help is as wide as the terminal; a file is written, or code of the user imported, by the process
# that was asked to.
NOT_ASKED = (
    "-h",
    "--help",
    "--html",
    "--sarif",
    "--no-server",
    "library",
    "+library",
    "trust",
    "+trust",
)
TO_BEGIN = 0.1  # seconds within which the resident process begins to answer, unless it is busy
TO_ANSWER = 60.0


def ask(arguments: Sequence[str], program: str = "python -m blocks") -> int | None:
    """Print the answer of the resident process; return its exit status, or None where there is
    none, it is busy, or the question is not for it.

    Args:
        arguments: the words of a command line.
        program: how the user calls it.
    """
    if not may_ask(arguments):
        return None
    path = locate_socket(program)
    if path is None or not path.exists():
        return None
    try:
        answer = _exchange(str(path), arguments)
        out, err, status = answer["out"], answer["err"], answer["status"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    _write(err, out)
    return int(status)


def may_ask(arguments: Sequence[str]) -> bool:
    """Return whether a command line is one that the resident process answers."""
    if not arguments or arguments[0] not in ANSWERED:
        return False
    if os.environ.get("DOUGONG_NO_SERVER", "0") not in ("", "0"):
        return False
    words = (word.partition("=")[0].partition(".")[0] for word in arguments)
    return not any(word in NOT_ASKED for word in words)


def _exchange(path: str, arguments: Sequence[str]) -> dict[str, Any]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(TO_BEGIN)
        connection.connect(path)
        request = {"cwd": os.getcwd(), "environment": digest_environment()}
        send(connection, {**request, "words": list(arguments)})
        if receive_bytes(connection, 1) != TAKEN:
            raise ValueError("not taken")
        connection.settimeout(TO_ANSWER)
        answer: dict[str, Any] = receive(connection)
        return answer


def _write(err: str, out: str) -> None:
    from blocks.support.program import spare_streams

    spare_streams()
    sys.stderr.write(err)
    sys.stderr.flush()
    sys.stdout.write(out)
    sys.stdout.flush()
