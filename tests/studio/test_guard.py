"""Requests that do not come from the page: none reaches the application."""

import asyncio
from typing import Any

import pytest

from blocks.studio.guard import LARGEST, Guard

TOKEN, PORT = "t" * 43, 8123
HOST = f"127.0.0.1:{PORT}"
COOKIE = f"dougong_studio_{PORT}={TOKEN}"
MINE = {"host": HOST, "cookie": COOKIE}


def send(headers: dict[str, str], path: str = "/", query: str = "", kind: str = "http") -> Any:
    """Return the status, the headers and whether the application was reached."""
    reached, messages = [], []

    async def app(scope, receive, answer):
        reached.append(scope["path"])
        await answer({"type": "http.response.start", "status": 200, "headers": []})

    async def answer(message):
        messages.append(message)

    scope = {
        "type": kind,
        "path": path,
        "query_string": query.encode(),
        "headers": [(name.encode(), text.encode("latin-1")) for name, text in headers.items()],
    }
    asyncio.run(Guard(app, TOKEN, PORT)(scope, None, answer))
    found = {key.decode(): text.decode() for key, text in messages[0].get("headers", [])}
    return messages[0].get("status", messages[0].get("code")), found, bool(reached)


REFUSED = {
    "no token": {"host": HOST},
    "another token": {"host": HOST, "cookie": COOKIE[:-1] + "u"},
    "a part of the token": {"host": HOST, "cookie": COOKIE[:-1]},
    "an empty token": {"host": HOST, "cookie": f"dougong_studio_{PORT}="},
    "the cookie of another port": {"host": HOST, "cookie": f"dougong_studio_1={TOKEN}"},
    "a broken cookie": {"host": HOST, "cookie": "\x00=;;;=\xff"},
    "a name that points here": {**MINE, "host": f"evil.example:{PORT}"},
    "a name that begins like ours": {**MINE, "host": f"127.0.0.1.evil.example:{PORT}"},
    "another port": {**MINE, "host": "127.0.0.1:80"},
    "no host": {"cookie": COOKIE},
    "all addresses": {**MINE, "host": f"0.0.0.0:{PORT}"},
    "another site": {**MINE, "origin": "https://evil.example"},
    "no site": {**MINE, "origin": "null"},
    "an origin that begins like ours": {**MINE, "origin": f"http://{HOST}.evil.example"},
    "another scheme": {**MINE, "origin": f"https://{HOST}"},
    "another local port": {**MINE, "origin": "http://127.0.0.1:80"},
    "too much": {**MINE, "content-length": str(LARGEST + 1)},
    "a length that is none": {**MINE, "content-length": "-1"},
    "a body without a length": {**MINE, "transfer-encoding": "Chunked"},
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_a_foreign_request_is_refused(name, kind):
    headers = REFUSED[name]
    if kind == "websocket":
        headers = {"origin": f"http://{HOST}", **headers}
    for path in ("/", "/report", "/_nicegui_ws/socket.io/"):
        status, _, reached = send(headers, path, "model=vit", kind)
        assert status == {"http": 403, "websocket": 1008}[kind]
        assert not reached


def test_a_web_socket_without_an_origin_is_refused():
    assert send(MINE, kind="websocket")[0] == 1008


def test_the_address_gives_a_cookie_that_other_sites_cannot_use():
    status, headers, reached = send({"host": HOST}, query=f"token={TOKEN}")
    assert (status, headers["location"], reached) == (303, "/", False)
    assert headers["set-cookie"] == f"{COOKIE}; Path=/; HttpOnly; SameSite=Strict"
    assert "token" not in headers["location"]


def test_the_address_keeps_what_else_it_asks_for():
    query = f"model=vit&token={TOKEN}&lang=zh%0d%0aset-cookie:a"
    _, headers, _ = send({"host": HOST}, query=query)
    assert headers["location"] == "/?model=vit&lang=zh%0D%0Aset-cookie%3Aa"


def test_the_page_itself_is_let_through_and_cannot_be_framed():
    status, headers, reached = send({**MINE, "origin": f"http://{HOST}"})
    assert (status, reached) == (200, True)
    assert headers["x-frame-options"] == "DENY"
    assert f"connect-src 'self' ws://{HOST}" in headers["content-security-policy"]
    assert send({**MINE, "host": f"localhost:{PORT}"})[2]
