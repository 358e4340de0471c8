"""A real server in a process: starting, stopping, slow and silent clients."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

pytestmark = pytest.mark.slow
pytest.importorskip("uvicorn", reason="needs the extra `serve`")

PROGRAM = """
import asyncio, sys
from pathlib import Path
from r1kit.web import server
from r1kit.web.hosting import Hosting

server.HEADER_SECONDS = server.STALLED_SECONDS = 0.5
cut = asyncio.Event()

async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    if scope["path"] == "/slow":
        print("slow", flush=True)
        while not cut.is_set() and not Path(sys.argv[2]).exists():
            await asyncio.sleep(0.02)
        await send({"type": "http.response.body", "body": b"cut" if cut.is_set() else b"complete"})
    elif scope["path"] == "/large":
        for _ in range(4000):
            await send({"type": "http.response.body", "body": b"x" * 10000, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
    else:
        await send({"type": "http.response.body", "body": b"ok"})

ready = lambda url: print(url, flush=True)
server.run(app, Hosting(), ready, grace=float(sys.argv[1]), cut_off=cut.set)
print("ended", flush=True)
"""
GRACE = "60"


@pytest.fixture(params=[GRACE])
def served(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server process and its URL; `/slow` is answered when tmp_path / "finish" exists."""
    command = [sys.executable, "-c", PROGRAM, request.param, str(tmp_path / "finish")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()


def ask_slow(process: subprocess.Popen[str], url: str, answers: list[str]) -> threading.Thread:
    """Ask for `/slow` in the background, and return when the server works on it."""
    thread = threading.Thread(target=lambda: answers.append(httpx.get(f"{url}/slow", timeout=90).text))
    thread.start()
    assert process.stdout.readline() == "slow\n"
    return thread


def test_a_signal_lets_requests_finish_and_refuses_new_ones(served, tmp_path: Path) -> None:
    process, url = served
    thread = ask_slow(process, url, answers := [])
    process.send_signal(signal.SIGTERM)
    assert f"finishing 1 request within {GRACE} seconds" in process.stderr.readline()
    refused = httpx.get(url)
    assert refused.status_code == 503 and refused.headers["retry-after"] == "5"
    (tmp_path / "finish").touch()
    thread.join()
    out, err = process.communicate(timeout=60)
    assert answers == ["complete"] and process.returncode == 0 and out == "ended\n"
    assert "Traceback" not in err


@pytest.mark.parametrize(("served", "signals"), [("0.2", 1), (GRACE, 2)], indirect=["served"])
def test_requests_are_cut_off_after_the_grace_or_a_second_signal(served, signals: int) -> None:
    process, url = served
    thread = ask_slow(process, url, answers := [])
    for _ in range(signals):
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)
    thread.join(timeout=50)
    assert answers == ["cut"] and process.wait(timeout=50) == 0


def connect(url: str) -> socket.socket:
    parts = urlsplit(url)
    return socket.create_connection((parts.hostname, parts.port), timeout=60)


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: localhost\r\n"])
def test_clients_that_send_no_complete_headers_are_dropped(served, sent: bytes) -> None:
    with connect(served[1]) as client:
        client.sendall(sent)
        start = time.monotonic()
        with suppress(ConnectionResetError):
            assert client.recv(100) == b""
        assert time.monotonic() - start > 0.3


def test_a_client_that_reads_nothing_is_dropped_while_others_are_answered(served) -> None:
    process, url = served
    with connect(url) as client:
        client.sendall(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert httpx.get(url).text == "ok"
        time.sleep(3.0)
        received = 0
        with suppress(ConnectionResetError):
            while part := client.recv(1 << 20):
                received += len(part)
        assert received < 40_000_000
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=50) == 0


def test_idle_connections_do_not_delay_the_end(served) -> None:
    process, url = served
    with httpx.Client() as client:
        assert client.get(url).text == "ok"
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=50) == 0
