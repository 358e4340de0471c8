"""What this machine is, and the choices r1kit makes on it. Imports no torch until a question needs it."""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import r1kit
from r1kit import errors

Dtype = Literal["float32", "bfloat16"]
NO_SANDBOX = "no sandbox works here: rewards for code, and those for maths that need algebra, cannot be given"
BFLOAT16_INSTRUCTIONS = frozenset({"amx_bf16", "avx512_bf16"})  # products twice as fast as float32's, or more
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3  # glibc's <malloc.h>


def tune_allocator() -> bool:
    """Make glibc keep freed memory instead of returning it; True if it was done.

    By default every tensor above 32 MiB at most is a fresh mapping whose pages the kernel zeroes on first touch, and
    freed memory goes back at once: on a CPU, training spends more time in page faults than in arithmetic. Call before
    torch is imported; other C libraries are left alone.
    """
    if sys.platform != "linux" or not hasattr(libc := ctypes.CDLL(None), "mallopt"):
        return False
    mapped = libc.mallopt(M_MMAP_THRESHOLD, 1 << 30) or libc.mallopt(M_MMAP_THRESHOLD, 32 << 20)  # older glibc's limit
    return bool(mapped and libc.mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1) and libc.mallopt(M_TOP_PAD, 64 << 20))


def choose_device(wanted: str = "auto") -> Literal["cpu", "cuda"]:
    """The device to work on; UserError when a GPU was asked for and there is none."""
    if wanted == "cpu":
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if wanted == "cuda":
        raise errors.UserError(
            f"device cuda: torch {torch.__version__} sees no GPU; use device = auto or cpu, or install a CUDA build"
        )
    return "cpu"


def choose_dtype(device: str) -> Dtype:
    """bfloat16 on a GPU, as R1 was trained, and on a CPU with instructions for it; float32 on others."""
    return "bfloat16" if device == "cuda" or BFLOAT16_INSTRUCTIONS & _cpu_flags() else "float32"


def memory_bytes() -> int:
    """Physical memory, or the container's limit where that is smaller. 0 when the system does not say."""
    if not hasattr(os, "sysconf"):
        return 0
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for limit in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        if Path(limit).is_file() and (text := Path(limit).read_text().strip()).isdigit():
            total = min(total, int(text))
    return total


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads() -> int:
    """Threads a computation is split over, unless the program says otherwise: it decides how sums are rounded."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isdigit() else _cores()


def cpu_name() -> str:
    """The processor's model: its instructions decide how sums are rounded."""
    return _cpu_info("model name") or platform.processor() or platform.machine()


def _cpu_flags() -> set[str]:
    return set(_cpu_info("flags").split())


def _cpu_info(key: str) -> str:
    """What Linux says of the first processor; "" where it says nothing."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), "")


def versions(*packages: str) -> dict[str, str]:
    """Installed versions by package name, without importing anything; "" for what is not there."""
    installed = {}
    for name in packages:
        try:
            installed[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            installed[name] = ""
    return installed


def examine(sandboxes: Sequence[tuple[str, bool, str]], models: Sequence[str]) -> dict[str, Any]:
    """Everything `r1kit doctor` shows, as plain values; sizes in bytes.

    sandboxes: (tier, whether it works here, why or why not), strongest first. models: the bundled ones.
    """
    import torch

    device = choose_device()
    properties = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cores": _cores(),
        "threads": torch.get_num_threads(),
        "memory": memory_bytes(),
        "disk_free": shutil.disk_usage(".").free,
        "versions": {"r1kit": r1kit.__version__, **versions("torch", "transformers", "datasets")},
        "gpus": [{"name": gpu.name, "memory": gpu.total_memory} for gpu in properties],
        "device": device,
        "dtype": choose_dtype(device),
        "allocator_tuned": tune_allocator(),
        "models": list(models),
        "sandboxes": [{"tier": tier, "works": works, "why": why} for tier, works, why in sandboxes],
        "warnings": _warnings(models) + ([] if any(works for _, works, _ in sandboxes) else [NO_SANDBOX]),
    }


def _warnings(models: Sequence[str]) -> list[str]:
    found = []
    if 0 < memory_bytes() < 4e9:
        found.append("less than 4 GB of memory: the CPU recipes want about 2 GB free")
    if shutil.disk_usage(".").free < 2e9:
        found.append("less than 2 GB of free disk here: checkpoints may not fit")
    if "sprout-base" not in models:
        found.append("the bundled model sprout-base is missing; `make sprout-base` trains it again")
    return found


def render(found: dict[str, Any]) -> str:
    """The examination as text."""
    why = {"bfloat16": "multiplied fast here", "float32": "this CPU has no instructions for bfloat16"}[found["dtype"]]
    gpus = ", ".join(f"{gpu['name']} ({gpu['memory'] / 1e9:.0f} GB)" for gpu in found["gpus"]) or "none"
    rows = {
        "python": f"{found['python']} on {found['platform']}",
        "versions": ", ".join(f"{name} {version or 'missing'}" for name, version in found["versions"].items()),
        "cpu": f"{found['cores']} cores, {found['threads']} torch threads",
        "memory": f"{found['memory'] / 1e9:.1f} GB",
        "disk": f"{found['disk_free'] / 1e9:.0f} GB free here",
        "gpu": gpus,
        "device": found["device"],
        "dtype": f"{found['dtype']} ({why})",
        "allocator": "glibc malloc keeps freed memory" if found["allocator_tuned"] else "left as it is (not glibc)",
        "models": ", ".join(found["models"]) or "none",
    }
    lines = [f"{name:<10} {value}" for name, value in rows.items()]
    for tier in found["sandboxes"]:
        lines.append(f"{'sandbox':<10} {tier['tier']}: {'yes' if tier['works'] else 'no'}, {tier['why']}")
    return "\n".join(lines + [f"warning    {text}" for text in found["warnings"]])
