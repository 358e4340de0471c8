"""One server with the bundled model, for all clients."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from paths import ROOT
from sampled_answers import QUESTION, Answer, sampled
from serve_process import ServeProcess, serve_process

INSTALLED = ROOT / "build" / "clients"  # of `make test-clients`
KEY = "a-key-for-the-tests-of-clients"
SEEDS = range(40)


@pytest.fixture(scope="session")
def server() -> Iterator[ServeProcess]:
    """Serves sprout-base with R1-Zero's prompt, and with no prompt as `plain`; needs a key."""
    with serve_process("sprout-base", R1KIT_API_KEYS=KEY) as served:
        yield served


@pytest.fixture
def key() -> str:
    return KEY


@pytest.fixture(scope="session")
def expected(server: ServeProcess) -> Answer:
    """An answer to QUESTION with a reasoning and a content, and its seed. Clients must get the same."""
    for seed in SEEDS:
        messages = [{"role": "user", "content": QUESTION}]
        body = {"model": "sprout-base", "messages": messages, "seed": seed, "max_tokens": 100}
        headers = {"Authorization": f"Bearer {KEY}"}
        reply = httpx.post(f"{server.url}/v1/chat/completions", json=body, headers=headers, timeout=60).json()
        message = reply["choices"][0]["message"]
        if message["content"].strip() and len(message.get("reasoning_content") or "") > 3:
            [answer] = sampled(seed, "-n", "1")
            return answer
    raise AssertionError(f"no answer to {QUESTION!r} has a reasoning and a content: seeds {SEEDS}")


@pytest.fixture(scope="session")
def installed() -> Path:
    """Where `make test-clients` installs clients that are no Python package of the tests."""
    if not INSTALLED.is_dir() or shutil.which("node") is None:
        pytest.skip("clients are not installed: make test-clients")
    return INSTALLED
