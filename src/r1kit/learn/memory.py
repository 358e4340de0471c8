"""What to do when memory runs out: recognise it, and let go of what is held."""

from __future__ import annotations

import gc

import torch

# What torch's CPU allocator and C++ say. CUDA has an exception of its own.
CPU_MESSAGES = ("can't allocate memory", "not enough memory", "bad_alloc")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception means that an allocation failed, on whatever device."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or (
        isinstance(error, RuntimeError) and any(message in str(error) for message in CPU_MESSAGES)
    )


def free_memory() -> None:
    """Give back what nothing refers to any more; call it outside the except clause, which holds the failed frames."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
