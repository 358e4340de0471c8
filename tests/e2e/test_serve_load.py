"""`r1kit serve` under load, overload and attack, in short. benchmarks/serve_load.py has the full forms."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from serve_load import disconnects, hostile, overload, server_errors, streams
from serve_process import ServeProcess, serve_process


@pytest.fixture(scope="module")
def server() -> Iterator[ServeProcess]:
    with serve_process("sprout-base", "--max-concurrent", "16", "--max-queue", "8") as served:
        yield served


def test_streams_are_complete_and_as_alone(server: ServeProcess) -> None:
    seen = asyncio.run(streams(server, count=16, seconds=5, different=24))
    assert seen["answers"] >= 16 and set(seen["statuses"]) == {"200"}
    assert seen["cut"] == 0 and seen["different_from_alone"] == 0


def test_overload_is_only_refused(server: ServeProcess) -> None:
    seen = asyncio.run(overload(server, count=240))
    assert set(seen["statuses"]) == {"200", "429"} and seen["cut"] == seen["without_retry_after"] == 0
    assert seen["statuses"]["200"] >= 24


def test_hostile_requests_harm_nothing() -> None:
    limits = ("--max-concurrent", "16", "--max-queue", "8")
    with serve_process("sprout-base", "--chat-template", "hermes", *limits) as server:
        seen = asyncio.run(hostile(server, count=400, warm_up=200))
        assert server_errors(seen) == 0 and not seen["hangs"] and seen["alive"] and seen["in_flight"] == 0
        assert seen["memory_grown_mib"] < 50
        assert not [line for line in server.messages if "Traceback" in line], "".join(server.messages)[-3000:]


def test_disconnects_free_their_slots(server: ServeProcess) -> None:
    seen = asyncio.run(disconnects(server, count=40, at_once=8))
    assert seen["in_flight"] == 0 and seen["alive"]
