"""ASGI middleware in front of every application: refuses what must not reach it, and adds security headers.

A request is refused when its Host header does not name the server, when a page of another origin sent it, when it has
no key where keys are needed, when its body is too large or too slow, and while the server is stopping.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any

from r1kit.web.hosting import Hosting
from r1kit.web.refusal import Refused

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

HEADER_BYTES = 32 * 1024  # of the headers of a request
BODY_SECONDS = 30.0  # for the complete body of a request
REST_BYTES = 64 * 1024 * 1024  # of a body that is too large: read and dropped, as closing earlier loses the refusal
# An application may send its own value of any of them, such as a policy for a page with inline styles.
SECURITY_HEADERS = {
    b"content-security-policy": b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    b"font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    b"cross-origin-opener-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
    b"referrer-policy": b"no-referrer",
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    b"cache-control": b"no-store",
}


class Guard:
    """Passes requests that may be answered to an application.

    Args:
        app: The application.
        hosting: Whose requests are answered.
        max_body: Bytes of a request's body, at most.
        open_paths: Paths that need no key.
    """

    def __init__(self, app: App, hosting: Hosting, max_body: int, open_paths: Collection[str]) -> None:
        self._app, self._hosting, self._max_body, self._open_paths = app, hosting, max_body, open_paths
        self._needs_key = bool(hosting.keys)
        self.active = 0
        """Requests that are being answered."""
        self.stopping = False
        """Whether new requests are refused."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or pass on an event of the server."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        self.active += 1
        try:
            self._check(scope)
            body = await self._read(scope, receive)
            await self._app(scope, _replay(body, receive), _with_security_headers(send))
        except _Gone:
            return None
        except Refused as refused:
            await respond(refused, _with_security_headers(send))
        finally:
            self.active -= 1

    def _check(self, scope: Scope) -> None:
        """Raise Refused if the request may not be answered, judged by its headers."""
        if self.stopping:
            headers = {"Retry-After": "5", "Connection": "close"}
            raise Refused(503, "the server is stopping", code="stopping", headers=headers)
        if sum(len(name) + len(value) for name, value in scope["headers"]) > HEADER_BYTES:
            raise Refused(400, f"the headers are larger than {HEADER_BYTES:,} bytes")
        host = _header(scope, b"host")
        if not self._hosting.trusts_host(host):
            advice = "use localhost or 127.0.0.1, or start the server with --allow-host NAME"
            raise Refused(421, f"Host {host[:100]!r} does not name this server; {advice}", code="unknown_host")
        self._check_page(scope, host)
        if self._needs_key and scope["path"] not in self._open_paths:
            self._check_key(scope)

    def _check_page(self, scope: Scope, host: str) -> None:
        """Refuse what pages of other origins send. Following a link to a page of the server is allowed."""
        origin = _header(scope, b"origin")
        if origin in self._hosting.allowed_origins:
            return
        site, is_link = _header(scope, b"sec-fetch-site"), _header(scope, b"sec-fetch-mode") == "navigate"
        is_foreign = site not in ("", "none", "same-origin") and not (is_link and scope["method"] == "GET")
        if is_foreign or (origin and origin.partition("://")[2].lower() != host.lower()):
            advice = "start the server with --allow-origin ORIGIN to allow it"
            sender = origin or f"Sec-Fetch-Site: {site}"
            raise Refused(403, f"a page of another origin ({sender[:100]}) sent this; {advice}", code="foreign_origin")

    def _check_key(self, scope: Scope) -> None:
        given = _header(scope, b"authorization")
        if self._hosting.keys.accept(given.encode("latin-1")):
            return
        # A browser asks for a password when it opens a page; programs get an answer that they can read.
        scheme = 'Basic realm="r1kit"' if "text/html" in ",".join(_values(scope, b"accept")) else "Bearer"
        reason = "this API key is not valid" if given else "an API key is needed: send Authorization: Bearer KEY"
        raise Refused(401, reason, code="invalid_api_key", headers={"WWW-Authenticate": scheme})

    async def _read(self, scope: Scope, receive: Receive) -> bytes:
        """Return the complete body of a request."""
        too_large = Refused(413, f"the body is larger than {self._max_body:,} bytes", headers={"Connection": "close"})
        length = _header(scope, b"content-length")
        is_too_large = length.isdigit() and int(length[:20]) > self._max_body
        if is_too_large and _header(scope, b"expect"):  # the client waits for an answer before it sends the body
            raise too_large
        body, size, more = bytearray(), 0, True
        try:
            async with asyncio.timeout(BODY_SECONDS):
                while more and size <= self._max_body + REST_BYTES:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise _Gone
                    part, more = message.get("body", b""), message.get("more_body", False)
                    size += len(part)
                    is_too_large |= size > self._max_body
                    if not is_too_large:
                        body += part
        except TimeoutError:
            late = Refused(408, f"no complete body within {BODY_SECONDS:.0f} seconds", headers={"Connection": "close"})
            raise (too_large if is_too_large else late) from None
        if is_too_large:
            raise too_large
        return bytes(body)


class _Gone(Exception):
    """The client disconnected before its request was complete."""


def _header(scope: Scope, name: bytes) -> str:
    """Return the value of a header, "" without one. Refused if it is repeated: readers may take different ones."""
    values = _values(scope, name)
    if len(values) > 1:
        raise Refused(400, f"the header {name.decode()} is repeated")
    return values[0] if values else ""


def _values(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives the body once, and then waits for the client to disconnect."""
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return messages.pop() if messages else await receive()

    return replayed


def _with_security_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            own = {key.lower() for key, _ in message.get("headers", ())}
            added = [(key, value) for key, value in SECURITY_HEADERS.items() if key not in own]
            message = {**message, "headers": [*message.get("headers", ()), *added]}
        await send(message)

    return sending


async def respond(refused: Refused, send: Send) -> None:
    """Send a refusal."""
    body = refused.body()
    given = {"Content-Type": "application/json", "Content-Length": str(len(body)), **refused.headers}
    headers = [(key.lower().encode(), value.encode()) for key, value in given.items()]
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
