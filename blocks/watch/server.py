"""Answers the questions of other processes of the same user, one at a time."""

import contextlib
import os
import select
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from blocks.watch.engine import Printed
from blocks.watch.messages import TAKEN, receive, send
from blocks.watch.place import digest_environment, locate_socket

TO_READ = 0.05  # seconds within which a client sends its question


class Server:
    """Listens on a socket that only this user may open.

    Args:
        path: of the socket.
        answer: what a command line prints; None for one that the client shall answer itself.
    """

    def __init__(self, path: Path, answer: Callable[[list[str]], Printed | None]):
        self.path, self.answer = path, answer
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(str(path))
        os.chmod(path, 0o600)
        self.listener.listen(8)

    def serve(self, seconds: float) -> bool:
        """Wait so long for a question, and answer it; whether there was one."""
        if not select.select([self.listener], [], [], seconds)[0]:
            return False
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            connection = self.listener.accept()[0]
            with connection:
                self._answer(connection)
        return True

    def _answer(self, connection: socket.socket) -> None:
        connection.settimeout(TO_READ)
        if not _is_mine(connection):
            return
        request = receive(connection)
        if request["cwd"] != os.getcwd() or request["environment"] != digest_environment():
            return
        connection.sendall(TAKEN)
        printed = self.answer(list(map(str, request["words"])))
        if printed is None:
            return
        connection.settimeout(None)
        answer = {"status": printed.status, "out": printed.out, "err": printed.err}
        send(connection, answer)

    def close(self) -> None:
        """Stop listening, and remove the socket."""
        self.listener.close()
        self.path.unlink(missing_ok=True)


@contextlib.contextmanager
def open_server(
    program: str, answer: Callable[[list[str]], Printed | None]
) -> Iterator[Server | None]:
    """Serve the clients of this folder, Python and source; None where that is not possible, or
    another process does.
    """
    path = locate_socket(program, create=True)
    if path is None or _is_served(path):
        yield None
        return
    path.unlink(missing_ok=True)
    try:
        server = Server(path, answer)
    except OSError:
        yield None
        return
    try:
        yield server
    finally:
        server.close()


def _is_served(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(0.1)
        try:
            connection.connect(str(path))
        except OSError:
            return False
        return True


def _is_mine(connection: socket.socket) -> bool:
    """Return whether the client is a process of this user, where the system tells."""
    if sys.platform != "linux":
        return True  # the folder of the socket is private
    size = struct.calcsize("3i")
    found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    user: int = struct.unpack("3i", found)[1]
    return user == os.getuid()
