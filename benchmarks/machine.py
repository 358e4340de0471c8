"""Describe the machine that a benchmark ran on, and measure its limits.

python benchmarks/machine.py     prints memory bandwidth and matrix product rates
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
    """Return CPU, cores, Python and torch in one line."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{cpu_name()}, {cores} cores, Python {platform.python_version()}, torch {version('torch')}"


def today() -> str:
    return datetime.now(UTC).date().isoformat()


def limits() -> dict[str, float]:
    """Return bytes per second of a large copy (reads and writes), and flop/s of a large matrix product by dtype."""
    import torch

    source = torch.ones(2**26)
    target = torch.empty_like(source)
    rates = {"copy": 2 * 4 * source.numel() / _seconds(lambda: target.copy_(source))}
    for dtype in (torch.float32, torch.bfloat16):
        a = torch.randn(2048, 2048).to(dtype)
        rates[str(dtype).removeprefix("torch.")] = 2 * 2048**3 / _seconds(lambda a=a: a @ a)
    return rates


def _seconds(work: Callable[[], object]) -> float:
    """Return the median of seven runs after a warm-up."""
    spent = []
    for _ in range(8):
        start = time.perf_counter()
        work()
        spent.append(time.perf_counter() - start)
    return median(spent[1:])


if __name__ == "__main__":
    print(json.dumps(limits()))
