"""Tests with vLLM itself. They run where it is installed, by `make test-vllm`, and are left out elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from vllm_process import VllmProcess

collect_ignore_glob = [] if find_spec("vllm") else ["test_*.py"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.vllm)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VllmProcess]:
    """A server that runs as long as the tests."""
    running = VllmProcess(18124, tmp_path_factory.mktemp("vllm") / "server.log")
    running.start()
    running.wait()
    yield running
    running.kill()
