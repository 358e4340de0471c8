"""Means to train in less memory."""

from __future__ import annotations

import torch

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
