"""One server with the bundled model, for all clients."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from paths import ROOT
from serve_process import ServeProcess, serve_process

INSTALLED = ROOT / "build" / "clients"  # of `make test-clients`
KEY = "a-key-for-the-tests-of-clients"


@pytest.fixture(scope="session")
def server() -> Iterator[ServeProcess]:
    """Serves sprout-base with R1-Zero's prompt, and with no prompt as `plain`; needs a key."""
    with serve_process("sprout-base", R1KIT_API_KEYS=KEY) as served:
        yield served


@pytest.fixture
def key() -> str:
    return KEY


@pytest.fixture(scope="session")
def installed() -> Path:
    """Where `make test-clients` installs clients that are no Python package of the tests."""
    if not INSTALLED.is_dir() or shutil.which("node") is None:
        pytest.skip("clients are not installed: make test-clients")
    return INSTALLED
