"""Lets through only the requests of the page that was opened by its address with the token.

Another site that a browser shows may send requests here: its `Origin` is another, and it has
neither the token nor the cookie. A name that an attacker points to 127.0.0.1 (DNS rebinding)
arrives as another `Host`.
"""

import hmac
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlencode

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
LARGEST = 1_000_000  # bytes of a request, and of a message of a web socket
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; "
    "connect-src 'self' ws://{host}; frame-ancestors 'none'; base-uri 'self'; form-action 'none'"
)
HEADERS = {
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


class Guard:
    """An application around another that refuses what does not come from its page.

    Args:
        app: the application.
        token: that the first address has.
        port: on which it listens.
    """

    def __init__(self, app: App, token: str, port: int):
        self.app, self.token = app, token
        self.hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}
        self.cookie = f"dougong_studio_{port}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        headers = {key.decode("latin-1"): text.decode("latin-1") for key, text in scope["headers"]}
        refused = self.refuse(scope, headers)
        if refused:
            await _answer(scope, send, 403, refused)
            return
        query = _query_of(scope)
        if scope["type"] == "http" and query.pop("token", None) and scope["path"] == "/":
            place = f"/?{urlencode(query, doseq=True)}" if query else "/"
            cookie = f"{self.cookie}={self.token}; Path=/; HttpOnly; SameSite=Strict"
            more = [(b"location", place.encode()), (b"set-cookie", cookie.encode())]
            await _answer(scope, send, 303, "", more)
            return
        await self.app(scope, receive, self._adding(send, headers["host"]))

    def refuse(self, scope: Scope, headers: dict[str, str]) -> str:
        """Return why a request is refused; "" for one that is not."""
        host = headers.get("host", "")
        if host not in self.hosts:
            return "another host"
        origin = headers.get("origin")
        if origin is not None and origin != f"http://{host}":
            return "another origin"
        if scope["type"] == "websocket" and origin is None:
            return "a web socket without an origin"
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > LARGEST:
            return "too large"
        if "chunked" in headers.get("transfer-encoding", "").lower():
            return "a request without its length"
        known = (self._token_of(scope), self._cookie_of(headers))
        if not any(hmac.compare_digest(each.encode(), self.token.encode()) for each in known):
            return "open the address that the command printed: it has the token"
        return ""

    def _token_of(self, scope: Scope) -> str:
        return _query_of(scope).get("token", [""])[0]

    def _cookie_of(self, headers: dict[str, str]) -> str:
        try:
            found = SimpleCookie(headers.get("cookie", "")).get(self.cookie)
        except CookieError:
            return ""
        return "" if found is None else found.value

    def _adding(self, send: Send, host: str) -> Send:
        """Add the headers that keep the page to itself, where an answer has none of its own."""

        async def send_more(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                present = {key.lower() for key, _ in message["headers"]}
                wanted = {**HEADERS, "content-security-policy": POLICY.format(host=host)}
                more = [
                    (key.encode(), text.encode())
                    for key, text in wanted.items()
                    if key.encode() not in present
                ]
                message = {**message, "headers": [*message["headers"], *more]}
            await send(message)

        return send_more


async def _answer(
    scope: Scope, send: Send, status: int, text: str, more: list[tuple[bytes, bytes]] | None = None
) -> None:
    """Answer without the application."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    body = text.encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        *(more or []),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _query_of(scope: Scope) -> dict[str, list[str]]:
    return parse_qs(scope.get("query_string", b"").decode("latin-1"))
