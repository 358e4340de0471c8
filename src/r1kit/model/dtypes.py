"""Names of dtypes in recipes, and the torch dtypes they stand for."""

from __future__ import annotations

import torch

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def torch_dtype(name: str) -> torch.dtype:
    """Return the dtype that a run's `dtype` names."""
    if name not in DTYPES:
        raise ValueError(f"dtype = {name!r}: must be {' or '.join(DTYPES)}")
    return DTYPES[name]


def dtype_name(dtype: torch.dtype) -> str:
    """Return the name of a dtype as config.json spells it: "float32", "bfloat16", ..."""
    return str(dtype).removeprefix("torch.")
