"""Which requests reach an application, called as a server would."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import pytest

from r1kit.web import guard as guards
from r1kit.web.guard import HEADER_BYTES, Guard
from r1kit.web.hosting import Hosting
from r1kit.web.keys import ApiKeys

KEY = "a-key-of-24-characters--"
LOCAL = {"Host": "127.0.0.1:8000"}


async def app(scope, receive, send) -> None:
    """Answer with the number of bytes of the body."""
    body = (await receive())["body"]
    await send({"type": "http.response.start", "status": 200, "headers": [(b"X-Frame-Options", b"SAMEORIGIN")]})
    await send({"type": "http.response.body", "body": str(len(body)).encode()})


def ask(
    hosting: Hosting, headers: dict[str, str] | list[tuple[str, str]], *, path="/v1/models", method="GET", parts=(b"",)
) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers and body of the answer to a request whose body arrives in parts."""
    raw = [(k.lower().encode(), v.encode()) for k, v in (headers.items() if isinstance(headers, dict) else headers)]
    scope = {"type": "http", "method": method, "path": path, "headers": raw}
    messages = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    if messages:
        messages[-1]["more_body"] = False
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if not messages:
            await asyncio.sleep(3600)
        return messages.pop(0)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asyncio.run(Guard(app, hosting, max_body=100, open_paths={"/health"})(scope, receive, send))
    got = {key.decode().lower(): value.decode() for key, value in sent[0]["headers"]}
    return sent[0]["status"], got, b"".join(message["body"] for message in sent[1:])


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("127.0.0.1:9999", 200),
        ("127.8.8.8", 200),
        ("[::1]:80", 200),
        ("LOCALHOST:1", 200),
        ("evil.example:8000", 421),
        ("localhost.evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost@evil.example", 421),
        ("evil.example#localhost", 421),
        ("localhost:bad", 421),
        ("", 421),
        ("[::1", 421),
    ],
)
def test_loopback_answers_only_its_own_names(host: str, status: int) -> None:
    assert ask(Hosting(), {"Host": host})[0] == status


def test_headers_are_limited() -> None:
    assert ask(Hosting(), {**LOCAL, "X-Large": "x" * HEADER_BYTES})[0] == 400


def test_missing_and_repeated_host_are_refused() -> None:
    assert ask(Hosting(), {})[0] == 421
    assert ask(Hosting(), [("Host", "localhost"), ("Host", "evil.example")])[0] == 400


@pytest.mark.parametrize(
    ("headers", "method", "status"),
    [
        ({"Origin": "http://127.0.0.1:8000"}, "POST", 200),
        ({"Origin": "http://127.0.0.1:8000", "Sec-Fetch-Site": "same-origin"}, "POST", 200),
        ({"Origin": "https://evil.example"}, "POST", 403),
        ({"Origin": "http://127.0.0.1:3000"}, "POST", 403),
        ({"Origin": "null"}, "POST", 403),
        ({"Origin": "http://["}, "POST", 403),
        ({"Sec-Fetch-Site": "cross-site"}, "GET", 403),
        ({"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors"}, "GET", 403),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, "GET", 200),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, "POST", 403),
        ({"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"}, "GET", 200),
        ({"Origin": "https://chat.example.org", "Sec-Fetch-Site": "cross-site"}, "POST", 200),
    ],
)
def test_pages_of_other_origins_are_refused(headers: dict[str, str], method: str, status: int) -> None:
    hosting = Hosting(allowed_origins=("https://chat.example.org",))
    assert ask(hosting, {**LOCAL, **headers}, method=method)[0] == status


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        (f"Bearer {KEY}", 200),
        (f"bearer   {KEY} ", 200),
        ("Basic " + base64.b64encode(f"anyone:{KEY}".encode()).decode(), 200),
        (f"Bearer {KEY}x", 401),
        (f"Bearer {KEY[:-1]}", 401),
        ("Bearer ", 401),
        (KEY, 401),
        ("Basic !!!", 401),
        (f"Basic {KEY}", 401),
        ("Bearer \xff", 401),
        ("", 401),
    ],
)
def test_a_key_is_needed_where_there_are_keys(authorization: str, status: int) -> None:
    hosting = Hosting(keys=ApiKeys(["another-key-of-some-length", KEY]))
    assert ask(hosting, {**LOCAL, "Authorization": authorization})[0] == status
    assert ask(hosting, LOCAL, path="/health")[0] == 200


def test_refusals_are_json_that_names_no_key() -> None:
    status, headers, body = ask(Hosting(keys=ApiKeys([KEY])), {**LOCAL, "Authorization": "Bearer wrong-key-wrong-key"})
    error = json.loads(body)["error"]
    assert (status, error["type"], error["code"]) == (401, "authentication_error", "invalid_api_key")
    assert headers["www-authenticate"] == "Bearer" and b"wrong-key" not in body and KEY.encode() not in body
    page = ask(Hosting(keys=ApiKeys([KEY])), {**LOCAL, "Accept": "text/html"})[1]
    assert page["www-authenticate"].startswith("Basic")


def test_bodies_are_limited_however_they_are_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ask(Hosting(), LOCAL, method="POST", parts=[b"x" * 60, b"y" * 40])[::2] == (200, b"100")
    assert ask(Hosting(), LOCAL, method="POST", parts=[b"x" * 60, b"y" * 41])[0] == 413
    waits = {**LOCAL, "Expect": "100-continue"}
    assert ask(Hosting(), {**waits, "Content-Length": "101"}, method="POST", parts=[])[0] == 413
    assert ask(Hosting(), {**waits, "Content-Length": "9" * 5000}, method="POST", parts=[])[0] == 413
    monkeypatch.setattr(guards, "BODY_SECONDS", 0.05)
    assert ask(Hosting(), LOCAL, method="POST", parts=[])[0] == 408
    assert ask(Hosting(), {**LOCAL, "Content-Length": "101"}, method="POST", parts=[])[0] == 413
    monkeypatch.setattr(guards, "REST_BYTES", 1000)
    endless = [b"x" * 600] * 9
    assert ask(Hosting(), LOCAL, method="POST", parts=endless)[0] == 413 and len(endless) == 9


def test_answers_and_refusals_carry_security_headers() -> None:
    for headers in (LOCAL, {"Host": "evil.example"}):
        got = ask(Hosting(), headers)[1]
        assert got["x-content-type-options"] == "nosniff" and "frame-ancestors 'none'" in got["content-security-policy"]
        assert "access-control-allow-origin" not in got
    assert ask(Hosting(), LOCAL)[1]["x-frame-options"] == "SAMEORIGIN", "the application's own value is kept"


def test_a_stopping_server_refuses_new_requests() -> None:
    front, sent = Guard(app, Hosting(), 100, ()), []
    front.stopping = True
    scope = {"type": "http", "method": "GET", "path": "/", "headers": [(b"host", b"localhost")]}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asyncio.run(front(scope, None, send))
    assert sent[0]["status"] == 503 and (b"retry-after", b"5") in sent[0]["headers"] and front.active == 0
