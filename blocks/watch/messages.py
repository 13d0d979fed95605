"""What a client and the resident process send each other: a length, then JSON."""

import json
import socket
from typing import Any

MOST = 64_000_000  # bytes of one message
TAKEN = b"+"  # the resident process begins to answer


def send(connection: socket.socket, message: Any) -> None:
    """Send a message; raises OSError."""
    content = json.dumps(message).encode()
    connection.sendall(len(content).to_bytes(4, "big") + content)


def receive(connection: socket.socket) -> Any:
    """Receive a message; raises OSError or ValueError where it is no whole one."""
    size = int.from_bytes(receive_bytes(connection, 4), "big")
    if size > MOST:
        raise ValueError("the message is too long")
    return json.loads(receive_bytes(connection, size))


def receive_bytes(connection: socket.socket, size: int) -> bytes:
    """Receive exactly so many bytes; raises OSError where fewer come."""
    pieces = []
    while size:
        piece = connection.recv(min(size, 65536))
        if not piece:
            raise ConnectionError("the other end is gone")
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)
