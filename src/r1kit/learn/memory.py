"""Means to train in less memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from r1kit.config import Training
from r1kit.model.policy import Policy


def configure(model: Policy, config: Training, tokens: int, dtype: torch.dtype) -> None:
    """Set how a model computes with micro-batches of `tokens` in `dtype`: its head's precision, recomputation."""
    outweighs = model.config.should_recompute(tokens, dtype.itemsize)
    model.fp32_head = config.fp32_head
    model.recompute = outweighs if config.recompute == "auto" else config.recompute == "on"


def offloads(config: Training, device: torch.device | str) -> bool:
    """Return whether `offload` moves anything: on a CPU all is in main memory already."""
    return config.offload and torch.device(device).type != "cpu"


@contextmanager
def moved(module: nn.Module, device: torch.device | str) -> Iterator[None]:
    """Hold copies of all tensors on `device` within the block; nothing if they are there."""
    device = torch.device(device)
    tensors = [x for x in (*module.parameters(), *module.buffers()) if x.device != device]
    originals = [x.data for x in tensors]
    try:
        for x in tensors:
            x.data = x.data.to(device)
        yield
    finally:
        for x, original in zip(tensors, originals, strict=True):
            x.data = original
