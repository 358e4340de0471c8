"""Whether kernels can be used here. Imports no numba before it is needed."""

from __future__ import annotations

import ctypes
import os
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from r1kit.errors import not_installed

EXTRA = "fast"
DTYPES = (torch.float32, torch.bfloat16)
OPENMP = ("GOMP_parallel", "omp_get_thread_num", "omp_get_num_threads")


def can_fuse(tensor: Tensor) -> bool:
    """Return whether the kernels can compute with a tensor."""
    return tensor.device.type == "cpu" and tensor.dtype in DTYPES and why_not() is None


@cache
def why_not() -> str | None:
    """Return why kernels are not used here; None if they are."""
    if find_spec("numba") is None:
        return not_installed("numba", EXTRA)
    if os.environ.get("NUMBA_DISABLE_JIT", "0") != "0":
        return "NUMBA_DISABLE_JIT is set"
    if openmp() is None:
        return "torch does not use libgomp for its threads here"
    try:
        import_module("numba")
    except ImportError as error:  # such as a version of NumPy that it does not support
        return f"numba cannot be imported: {error}"
    return None


@cache
def openmp() -> ctypes.CDLL | None:
    """Return a library that leads to torch's OpenMP functions; None if they are not libgomp's.

    A thread pool of our own, such as numba's, would compete with torch's, whose threads spin while they wait.
    """
    try:
        library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"))
    except OSError:
        return None
    return library if all(hasattr(library, name) for name in OPENMP) else None  # also searches what it depends on
