"""Release cached memory after an allocation failed."""

from __future__ import annotations

import gc

import torch


def free_memory() -> None:
    """Release unreferenced memory. Call it outside the except clause, which keeps the failed frames alive."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
