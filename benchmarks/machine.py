"""What a figure was measured on: a line for people, made the same way by every script here; and what it could do.

python benchmarks/machine.py     prints its limits: memory traffic, matrix products
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from statistics import median

from r1kit.machine import cpu_name


def describe() -> str:
    """CPU, cores, Python and torch."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{cpu_name()}, {cores} cores, Python {platform.python_version()}, torch {version('torch')}"


def today() -> str:
    return datetime.now(UTC).date().isoformat()


def limits() -> dict[str, float]:
    """copy: bytes a second that a large copy reads and writes. By dtype: flop/s of a large matrix product."""
    import torch

    source = torch.ones(2**26)
    target = torch.empty_like(source)
    found = {"copy": 2 * 4 * source.numel() / _seconds(lambda: target.copy_(source))}
    for dtype in (torch.float32, torch.bfloat16):
        a = torch.randn(2048, 2048).to(dtype)
        found[str(dtype).removeprefix("torch.")] = 2 * 2048**3 / _seconds(lambda a=a: a @ a)
    return found


def _seconds(work: Callable[[], object]) -> float:
    """Median of seven, after one that warms up."""
    spent = []
    for _ in range(8):
        start = time.perf_counter()
        work()
        spent.append(time.perf_counter() - start)
    return median(spent[1:])


if __name__ == "__main__":
    print(json.dumps(limits()))
