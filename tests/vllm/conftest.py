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
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[VllmProcess]]:
    """Two servers, started at the same time; they run as long as the tests."""
    folder = tmp_path_factory.mktemp("vllm")
    running = [VllmProcess(port, folder / f"{port}.log") for port in (18124, 18125)]
    for each in running:
        each.start()
    yield running
    for each in running:
        each.kill()


@pytest.fixture
def server(servers: list[VllmProcess]) -> VllmProcess:
    """A server that no test kills."""
    servers[0].wait()
    return servers[0]


@pytest.fixture
def second(servers: list[VllmProcess]) -> VllmProcess:
    """A server that a test may kill, if it starts it again."""
    servers[1].wait()
    return servers[1]
