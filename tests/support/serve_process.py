"""`r1kit serve` as a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx


@dataclass
class ServeProcess:
    """A running server: its URL, its process and what it has written on stderr."""

    url: str
    process: subprocess.Popen[str]
    messages: list[str] = field(default_factory=list)

    @property
    def memory(self) -> int:
        """Resident bytes."""
        with open(f"/proc/{self.process.pid}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")

    def metric(self, name: str) -> float:
        """The value of a metric that has no labels."""
        rows = httpx.get(f"{self.url}/metrics", timeout=60).text.splitlines()
        return float(next(row for row in rows if row.startswith(f"{name} ")).split()[1])


@contextmanager
def serve_process(*args: str, **environment: str) -> Iterator[ServeProcess]:
    """Serve until the block ends."""
    command = [sys.executable, "-m", "r1kit", "serve", *args, "--port", "0", "--json"]
    env = {"OMP_NUM_THREADS": "2", **os.environ, **environment}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)
    messages: list[str] = []
    reader = threading.Thread(target=lambda: messages.extend(process.stderr), daemon=True)
    reader.start()
    try:
        line = process.stdout.readline()
        assert line, f"the server has not started: {process.wait()} {messages}"
        yield ServeProcess(json.loads(line)["url"], process, messages)
    finally:
        process.kill()
        process.wait()
        reader.join(10)
