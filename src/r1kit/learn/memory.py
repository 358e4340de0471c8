"""Recognise that memory has run out, and release what is cached."""

from __future__ import annotations

import gc

import torch

# Messages of torch's CPU allocator and of C++. CUDA has its own exception.
CPU_MESSAGES = ("can't allocate memory", "not enough memory", "bad_alloc")


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an exception means that an allocation failed, on any device."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or (
        isinstance(error, RuntimeError) and any(message in str(error) for message in CPU_MESSAGES)
    )


def free_memory() -> None:
    """Release unreferenced memory. Call it outside the except clause, which keeps the failed frames alive."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
