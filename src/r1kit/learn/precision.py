"""Weights that compute, in the run's dtype, and fp32 masters that learn: the same module in an fp32 run.

In bfloat16 a step of 3e-6 would be lost, and so would a small gradient in a large sum.
"""

from __future__ import annotations

import copy
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)


def master_of(model: M) -> M:
    """What learns for `model`: itself, or an fp32 copy that is given its gradients from now on."""
    if all(weight.dtype == torch.float32 for weight in model.parameters()):
        return model
    return _linked(model, copy.deepcopy(model).float())[1]


def computing(master: M, dtype: torch.dtype) -> M:
    """What computes for `master`, which is fp32: itself, or a copy that gives it its gradients from now on."""
    return master if dtype == torch.float32 else _linked(copy.deepcopy(master).to(dtype), master)[0]


@torch.no_grad()
def copy_weights(source: nn.Module, target: nn.Module) -> None:
    """Rounded where the target's dtype asks for that."""
    if source is not target:
        for old, new in zip(target.parameters(), source.parameters(), strict=True):
            old.copy_(new)


def _linked(model: M, master: M) -> tuple[M, M]:
    for low, high in zip(model.parameters(), master.parameters(), strict=True):
        low.register_post_accumulate_grad_hook(partial(_move_gradient, high))
    return model, master


def _move_gradient(high: Tensor, low: Tensor) -> None:
    high.grad = low.grad.float() if high.grad is None else high.grad.add_(low.grad)
    low.grad = None
