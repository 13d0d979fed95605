"""Hostile attempts on a server that runs: floods, giants, bombs, names with scripts. None acts.

`test_guard.py`, `test_engine.py` and `test_share.py` have those that need no server.
"""

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from urllib.parse import quote, urlsplit

import pytest

from blocks.graph import compose, plan
from blocks.graph.describe.draw import WRITERS, picture, write_part
from blocks.studio.run.runs import Runs
from blocks.support.program import DOOR

SECONDS = 60
HOSTILE = '"><img src=x onerror=boom()><script>boom()</script>'


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    pytest.importorskip("nicegui")
    project = tmp_path_factory.mktemp("project")
    (project / "secret.txt").write_text("secret", encoding="utf-8")
    command = [sys.executable, str(DOOR), "studio", "model=vit", "data=digits", "--no-browser"]
    process = subprocess.Popen(command, cwd=project, stdout=subprocess.PIPE, encoding="utf-8")
    address = urlsplit(process.stdout.readline().strip())
    yield address, project
    assert process.poll() is None, "an attempt ended the server"
    process.terminate()
    process.wait(SECONDS)
    process.stdout.close()


def ask(server, path, headers=(), method="GET", body=None):
    """Send a request as the page does, with the cookie; return status and content."""
    address, _ = server
    token = address.query.partition("=")[2]
    sent = {"Cookie": f"dougong_studio_{address.port}={token}", **dict(headers)}
    connection = http.client.HTTPConnection("127.0.0.1", address.port, timeout=SECONDS)
    with closing(connection):
        connection.request(method, path, body=body, headers=sent)
        answer = connection.getresponse()
        return answer.status, answer.read()


def is_alive(server):
    status, content = ask(server, "/?model=vit&data=digits")
    return status == 200 and b"Dougong Studio" in content


PATHS = (
    "/report?run=../secret.txt",
    "/report?run=/etc/passwd",
    "/report?run=runs/../../..",
    "/report?run=%00",
    "/report?run=" + "a/" * 3000,
    "/report?run=" + quote(HOSTILE),
    "/..%2f..%2f..%2fetc/passwd",
    "/_nicegui/3.18.0/static/..%2f..%2f..%2f..%2fetc/passwd",
    "/_nicegui/3.18.0/components/..%2f..%2f..%2fetc%2fpasswd",
    "/_nicegui/auto/static/../../../../../../etc/passwd",
    "/secret.txt",
    "/static/../secret.txt",
)


@pytest.mark.slow
@pytest.mark.parametrize("path", PATHS)
def test_no_path_leads_to_a_file(path, server):
    status, content = ask(server, path)
    assert status >= 400
    assert b"root:" not in content
    assert content != b"secret"
    assert b"<img src=x" not in content


@pytest.mark.slow
@pytest.mark.parametrize(
    "query",
    ["model=../../secret", "model=" + quote(HOSTILE), "data=" + quote(HOSTILE), "tab=<script>",
     "lang=" + quote(HOSTILE), "theme=" + quote(HOSTILE), "levels=99999", "levels=x"],
)  # fmt: skip
def test_a_hostile_address_is_text_or_nothing(query, server):
    _, content = ask(server, f"/?{query}")
    assert b"onerror=boom" not in content.replace(b"\\u003c", b"").replace(b"&lt;", b"") or (
        b"<img src=x" not in content
    )
    assert b"<script>boom" not in content
    assert is_alive(server)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_no_other_method_acts(method, server):
    _, project = server
    before = sorted(project.rglob("*"))
    status, _ = ask(server, "/", method=method, body=b"x")
    assert status >= 400
    assert sorted(project.rglob("*")) == before


def shake(server, origin=None, cookie=True):
    """Begin a web socket by hand; return the socket and the first line of the answer."""
    address, _ = server
    token = address.query.partition("=")[2]
    host = f"127.0.0.1:{address.port}"
    lines = [
        "GET /_nicegui_ws/socket.io/?EIO=4&transport=websocket HTTP/1.1",
        f"Host: {host}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
    ]
    if cookie:
        lines.append(f"Cookie: dougong_studio_{address.port}={token}")
    lines.append(f"Origin: {origin or 'http://' + host}")
    link = socket.create_connection(("127.0.0.1", address.port), timeout=SECONDS)
    link.sendall("\r\n".join([*lines, "", ""]).encode())
    return link, link.recv(4096).partition(b"\r\n")[0]


def frame(content, kind=1, length=None):
    """A frame of a web socket with a mask of zeros; `length` may lie."""
    size = (length if length is not None else len(content)).to_bytes(8, "big")
    return bytes([0x80 | kind, 0x80 | 127]) + size + b"\0\0\0\0" + content


@pytest.mark.slow
def test_a_web_socket_of_another_site_is_refused(server):
    for origin, cookie in (("https://evil.example", True), ("null", True), (None, False)):
        link, first = shake(server, origin, cookie)
        assert b"101" not in first
        link.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    "content",
    [
        frame(b"4" + b"x" * 2_000_000),  # more than a message may have
        frame(b"", length=2**62),  # announces what it never sends
        frame(b"42" + b"[" * 100_000),
        frame(b"40" + json.dumps({"a": "b" * 900_000}).encode()),
        frame(b"42" + json.dumps(["event", {"client_id": "x", "args": [HOSTILE]}]).encode()),
        frame(b"42" + json.dumps(["javascript_response", {"request_id": "x"}]).encode()),
        frame(b"\xff\xfe\xfd"),
        frame(os.urandom(5000), kind=2),
        b"\0" * 100_000,
    ],
    ids=range(9),
)
def test_a_message_that_is_giant_or_broken_ends_its_socket_alone(content, server):
    link, first = shake(server)
    assert b"101" in first
    try:
        link.sendall(content)
        link.settimeout(2)
        while link.recv(65536):
            pass
    except OSError:
        pass
    link.close()
    assert is_alive(server)


@pytest.mark.slow
def test_a_flood_of_sockets_and_messages_leaves_the_page_alive(server):
    links = [shake(server)[0] for _ in range(150)]
    for link in links:
        link.sendall(frame(b"40") + frame(b'42["event",{}]') * 200)
    start = time.monotonic()
    assert is_alive(server)
    assert time.monotonic() - start < 30
    for link in links:
        link.close()
    with ThreadPoolExecutor(16) as pool:
        found = list(
            pool.map(lambda _: ask(server, "/", [("Host", "evil.example")])[0], range(400))
        )
    assert set(found) == {403}
    assert is_alive(server)


@pytest.mark.slow
def test_a_slow_header_and_many_idle_connections_leave_it_alive(server):
    address, _ = server
    links = []
    for _ in range(200):
        link = socket.create_connection(("127.0.0.1", address.port), timeout=SECONDS)
        link.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0")  # and never ends
        links.append(link)
    assert is_alive(server)
    for link in links:
        link.close()
    link = socket.create_connection(("127.0.0.1", address.port), timeout=SECONDS)
    link.sendall(b"GET / HTTP/1.1\r\nX: " + b"y" * 2_000_000)
    link.close()
    assert is_alive(server)


def test_a_name_with_a_script_is_text_in_every_drawing():
    drawn = picture(plan(compose(["model=mlp"])), HOSTILE)
    for node in drawn.body.nodes:
        node.name = node.block = node.summary = HOSTILE
        node.arguments = {HOSTILE: HOSTILE}
    for write in (*WRITERS.values(), write_part):
        if write is WRITERS[".dot"] or write is WRITERS[".tex"]:
            continue  # no browser shows them
        text = write(drawn)
        assert "<img src=x" not in text
        assert "<script>boom" not in text


@pytest.mark.parametrize(
    "name", ["../../outside", "a'b", HOSTILE[:40].replace("/", "_"), "$(touch x)", "; rm -rf ."]
)
def test_a_run_whose_name_is_hostile_is_listed_as_text_or_not_at_all(name, tmp_path):
    folder = tmp_path / "runs" / "day" / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text(json.dumps({"status": HOSTILE, "command": HOSTILE}), "utf-8")
    (folder / "report.html").write_text("x", encoding="utf-8")
    runs = Runs(tmp_path)
    for run in runs.list_runs():
        assert (tmp_path / run["run"]).resolve().is_relative_to(tmp_path)
    assert runs.read_report("runs/day/../../outside") is None
    assert not (tmp_path / "x").exists()
