"""What this machine offers, and the device and dtype that r1kit chooses on it. Imports torch only when needed."""

from __future__ import annotations

import ctypes
import gc
import os
import platform
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal, TypedDict

import r1kit
from r1kit import errors
from r1kit.console import heartbeat

Device = Literal["cpu", "cuda"]
Dtype = Literal["float32", "bfloat16"]
DeviceSetting = Literal["auto", "cpu", "cuda"]
DtypeSetting = Literal["auto", "float32", "bfloat16"]
NO_SANDBOX = "no sandbox works here: code, and maths that needs algebra, cannot be graded"
BFLOAT16_INSTRUCTIONS = frozenset({"amx_bf16", "avx512_bf16"})  # matrix products at least twice as fast as in float32
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -2, -3, -8  # glibc's <malloc.h>


@dataclass(frozen=True, slots=True)
class Compute:
    """Where a model runs and in which dtype it computes."""

    device: Device
    dtype: Dtype


class GPU(TypedDict):
    """A GPU with its memory in bytes."""

    name: str
    memory: int


class SandboxTierReport(TypedDict):
    """Whether a sandbox tier works here, and the reason."""

    tier: str
    works: bool | None  # None: not built yet
    why: str


class MachineReport(TypedDict):
    """The result of `examine`; sizes in bytes."""

    python: str
    platform: str
    cores: int
    threads: int
    memory: int
    disk_free: int
    versions: dict[str, str]
    gpus: list[GPU]
    device: str
    dtype: str
    allocator_tuned: bool
    kernels: str
    models: list[str]
    sandboxes: list[SandboxTierReport]
    warnings: list[str]


def choose_compute(device: DeviceSetting = "auto", dtype: DtypeSetting = "auto") -> Compute:
    """Return the device and dtype for a recipe's settings.

    `auto` is the GPU if torch finds one, and bfloat16 where it is fast: on a GPU (as R1 was trained) and on CPUs with
    instructions for it. Imports torch unless the device is "cpu".

    Raises:
        UserError: The device is "cuda" and torch finds no GPU.
    """
    chosen = _choose_device(device)
    return Compute(chosen, choose_dtype(chosen, dtype))


def _choose_device(device: DeviceSetting) -> Device:
    if device == "cpu":
        return "cpu"
    with heartbeat("loading torch"):
        import torch

    if torch.cuda.is_available():
        return "cuda"
    if device == "cuda":
        raise errors.UserError(
            f"device = cuda: torch {torch.__version__} finds no GPU; set device = auto or cpu, or install a CUDA build"
        )
    return "cpu"


def planned_device(device: DeviceSetting) -> Device:
    """Return the device that `choose_compute` would choose, without torch and without an error."""
    return device if device != "auto" else "cuda" if gpu_memory() else "cpu"


def choose_dtype(device: Device, dtype: DtypeSetting = "auto") -> Dtype:
    """Return the dtype for a known device. Imports no torch."""
    if dtype != "auto":
        return dtype
    return "bfloat16" if device == "cuda" or BFLOAT16_INSTRUCTIONS & _cpu_flags() else "float32"


def tune_allocator() -> bool:
    """Make glibc keep freed memory instead of returning it to the system; return whether that was done.

    By default the kernel zeroes the pages of every large tensor (above 32 MiB at most) on first touch, and freed
    memory is returned at once. Training on a CPU then spends more time in page faults than in arithmetic. NumPy is kept
    from asking for pages of 2 MiB, with which unused room in the KV cache would be resident. Call this before torch and
    NumPy are imported. Other C libraries have no such settings.
    """
    os.environ.setdefault("NUMPY_MADVISE_HUGEPAGE", "0")
    if sys.platform != "linux" or not hasattr(libc := ctypes.CDLL(None), "mallopt"):
        return False
    mapped = libc.mallopt(M_MMAP_THRESHOLD, 1 << 30) or libc.mallopt(M_MMAP_THRESHOLD, 32 << 20)  # older glibc's limit
    return bool(mapped and libc.mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1) and libc.mallopt(M_TOP_PAD, 64 << 20))


def share_heaps() -> None:
    """Make all threads share two of glibc's heaps. With one for each thread, a server's memory grows for hours."""
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(M_ARENA_MAX, 2)


def memory_bytes() -> int:
    """Return the physical memory, or the container's limit if it is lower; 0 if the system does not report it."""
    if not hasattr(os, "sysconf"):
        return 0
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for limit in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        if Path(limit).is_file() and (text := Path(limit).read_text().strip()).isdigit():
            total = min(total, int(text))
    return total


def gpu_memory() -> int:
    """Return the memory of the first GPU; 0 without one, or if torch is built without CUDA.

    Asks CUDA's driver. Imports no torch, so that a recipe can be checked in a second.
    """
    if versions("torch")["torch"].endswith("+cpu"):
        return 0
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    handle, size = ctypes.c_int(), ctypes.c_size_t()
    failed = (  # a call returns 0 for success
        driver.cuInit(0)
        or driver.cuDeviceGet(ctypes.byref(handle), 0)
        or driver.cuDeviceTotalMem_v2(ctypes.byref(size), handle)
    )
    return 0 if failed else size.value


def free_memory() -> None:
    """Return unreferenced memory to the system. Call it outside the except clause, which keeps failed frames alive."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)  # `tune_allocator` makes glibc keep what was freed


@contextmanager
def limited_memory(processes: int = 1) -> Iterator[None]:
    """Make allocations beyond the free memory fail, instead of letting Linux kill the process. For work on a CPU.

    A failed allocation is an exception: batches are halved, or the run ends with a sentence. Several `processes` that
    do the same work share the free memory.
    """
    free = _available_memory()
    if sys.platform != "linux" or not free:
        yield
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    own = 1024 * int(_proc_field("/proc/self/status", "VmData") or 0)
    limit = min(value for value in (own + free // processes, soft, hard) if value != resource.RLIM_INFINITY)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def allocatable_memory() -> int:
    """Return the bytes that this process can allocate, also by `limited_memory`; 0 if the system does not say."""
    free = _available_memory()
    if sys.platform != "linux" or not free:
        return free
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_DATA)
    if limit == resource.RLIM_INFINITY:
        return free
    return max(0, min(free, limit - 1024 * int(_proc_field("/proc/self/status", "VmData") or 0)))


def _available_memory() -> int:
    """Return the bytes that can be allocated without swapping; 0 if the system does not report them."""
    free = 1024 * int(_proc_field("/proc/meminfo", "MemAvailable") or 0)
    group = Path("/sys/fs/cgroup")
    if not (group / "memory.current").is_file():
        return free
    used = int((group / "memory.current").read_text())
    counts = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    cached = int(counts["active_file"]) + int(counts["inactive_file"])  # Linux gives these up when memory is needed
    return min(free, memory_bytes() - used + cached)


def _proc_field(path: str, key: str) -> str:
    """Return the number of a field "key:  number kB" in a file of /proc, or ""."""
    lines = Path(path).read_text().splitlines() if Path(path).exists() else []
    return next((line.split()[1] for line in lines if line.startswith(f"{key}:")), "")


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads() -> int:
    """Return the number of threads that torch uses by default. It affects how sums are rounded."""
    value = os.environ.get("OMP_NUM_THREADS", "")
    return int(value) if value.isdigit() else _cores()


def cpu_name() -> str:
    """Return the model of the CPU. Its instructions affect how sums are rounded."""
    return _cpu_info("model name") or platform.processor() or platform.machine()


def _cpu_flags() -> set[str]:
    return set(_cpu_info("flags").split())


def _cpu_info(key: str) -> str:
    """Return a field of the first processor in Linux's /proc/cpuinfo, or ""."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), "")


def versions(*packages: str) -> dict[str, str]:
    """Map package names to installed versions without importing them; "" if a package is not installed."""
    installed = {}
    for name in packages:
        try:
            installed[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            installed[name] = ""
    return installed


def examine(
    sandboxes: Sequence[tuple[str, bool | None, str]], models: Sequence[str], not_fused: str | None = None
) -> MachineReport:
    """Collect what `r1kit doctor` shows.

    Args:
        sandboxes: (tier, whether it works here or None if it is not built yet, the reason), strongest first.
        models: Names of the bundled models.
        not_fused: Why kernels on a CPU are not fused; None if they are.
    """
    import torch

    compute = choose_compute()
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
        "device": compute.device,
        "dtype": compute.dtype,
        "allocator_tuned": tune_allocator(),
        "kernels": f"torch ({not_fused})" if not_fused else f"fused, numba {versions('numba')['numba']}",
        "models": list(models),
        "sandboxes": [{"tier": tier, "works": works, "why": why} for tier, works, why in sandboxes],
        "warnings": _warnings(models) + ([NO_SANDBOX] if all(works is False for _, works, _ in sandboxes) else []),
    }


def _warnings(models: Sequence[str]) -> list[str]:
    warnings = []
    if 0 < memory_bytes() < 4e9:
        warnings.append("less than 4 GB of memory: the CPU recipes need about 2 GB free")
    if shutil.disk_usage(".").free < 2e9:
        warnings.append("less than 2 GB of free disk space here: checkpoints may not fit")
    if "sprout-base" not in models:
        warnings.append("the bundled model sprout-base is missing: train it with `make sprout-base`")
    return warnings


def render(report: MachineReport) -> str:
    """Format the result of `examine` for `r1kit doctor`."""
    why = {"bfloat16": "fast on this device", "float32": "this CPU has no bfloat16 instructions"}[report["dtype"]]
    gpus = ", ".join(f"{gpu['name']} ({gpu['memory'] / 1e9:.0f} GB)" for gpu in report["gpus"]) or "none"
    rows = {
        "python": f"{report['python']} on {report['platform']}",
        "versions": ", ".join(f"{name} {version or 'not installed'}" for name, version in report["versions"].items()),
        "cpu": f"{report['cores']} cores, {report['threads']} torch threads",
        "memory": f"{report['memory'] / 1e9:.1f} GB",
        "disk": f"{report['disk_free'] / 1e9:.0f} GB free here",
        "gpu": gpus,
        "device": report["device"],
        "dtype": f"{report['dtype']} ({why})",
        "allocator": "glibc malloc keeps freed memory" if report["allocator_tuned"] else "unchanged (not glibc)",
        "kernels": f"on a CPU: {report['kernels']}",
        "models": ", ".join(report["models"]) or "none",
    }
    lines = [f"{name:<10} {value}" for name, value in rows.items()]
    states = {True: "yes", False: "no", None: "not yet"}
    lines += [f"{'sandbox':<10} {tier['tier']}: {states[tier['works']]}, {tier['why']}" for tier in report["sandboxes"]]
    return "\n".join(lines + [f"warning    {text}" for text in report["warnings"]])
