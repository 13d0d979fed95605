"""A client of the protocol, for tests: calls the tools of `dougong mcp` over standard input and
output, as an agent does.
"""

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from anyio.from_thread import start_blocking_portal
from mcp import Client, StdioServerParameters

DOOR = Path(__file__).resolve().parents[2] / "dougong" / "__main__.py"


class Agent:
    """Calls tools, one at a time.

    Args:
        client: connected.
        portal: runs what is asynchronous.
    """

    def __init__(self, client, portal):
        self.client, self.portal = client, portal

    def list_tools(self):
        return self.portal.call(self.client.list_tools).tools

    def call(self, tool, **arguments):
        """The JSON of an answer; it is also the text, and is marked where it has errors."""
        result = self.portal.call(self.client.call_tool, tool, arguments)
        answer = result.structured_content
        assert json.loads(result.content[0].text) == answer
        assert result.is_error == bool(answer.get("errors"))
        return answer


@contextlib.contextmanager
def connected(folder: Path, *options: str) -> Iterator[Agent]:
    """An agent whose server runs in a folder."""
    server = StdioServerParameters(
        command=sys.executable,
        args=[str(DOOR), "mcp", *options],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(Client(server)) as client,
    ):
        yield Agent(client, portal)
