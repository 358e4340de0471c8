"""What a figure was measured on: a line for people, made the same way by every script here."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version

from r1kit.doctor import cpu_name


def describe() -> str:
    """CPU, cores, Python and torch."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{cpu_name()}, {cores} cores, Python {platform.python_version()}, torch {version('torch')}"


def today() -> str:
    return datetime.now(UTC).date().isoformat()
