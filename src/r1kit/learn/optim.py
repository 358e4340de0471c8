"""AdamW, its learning-rate schedule and gradient clipping."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from torch.distributed.checkpoint.state_dict import set_optimizer_state_dict

from r1kit.config import Optimizer
from r1kit.errors import UserError, require
from r1kit.learn.lora import trained_weights
from r1kit.learn.sharded import full_tensor, is_shared


def make_optimizer(model: nn.Module, config: Optimizer) -> torch.optim.Optimizer:
    """Create AdamW (Loshchilov and Hutter 2019) with weight decay on matrices, not on gains and biases.

    Raises:
        UserError: `adam_8bit` is set, and bitsandbytes is not installed or several ranks share the weights.
    """
    trained = list(trained_weights(model).values())
    groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    betas = (config.adam_beta1, config.adam_beta2)
    if config.adam_8bit and any(map(is_shared, trained)):
        raise UserError("adam_8bit = true: works with one process only; leave it out, or set processes = 1")
    if config.adam_8bit:  # block-wise quantisation (Dettmers et al. 2022); tensors below 4,096 elements stay fp32
        adam: type[torch.optim.Optimizer] = require("bitsandbytes", "8bit").optim.AdamW8bit
        return adam(groups, lr=config.learning_rate, betas=betas)  # type: ignore[call-arg]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=betas, fused=True)


def load_state(model: nn.Module, optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Give an optimizer a state from a checkpoint, but not its settings: these may have been amended."""
    settings = [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups]
    set_optimizer_state_dict(model, optimizer, optim_state_dict=state)
    for group, kept in zip(optimizer.param_groups, settings, strict=True):
        group.update(kept)


def learning_rate(config: Optimizer, step: int, steps: int) -> float:
    """Return the rate of update `step` (from 0) of `steps`: linear warm-up, then constant, linear or cosine decay."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    progress = (step - config.warmup_steps) / max(1, steps - config.warmup_steps)
    remaining = {
        "constant": 1.0,
        "linear": 1.0 - progress,
        "cosine": (1 + math.cos(math.pi * progress)) / 2,
    }[config.lr_scheduler_type]
    return config.learning_rate * (config.min_lr_ratio + (1 - config.min_lr_ratio) * remaining)


def update(model: nn.Module, optimizer: torch.optim.Optimizer, rate: float, max_grad_norm: float) -> float:
    """Clip the accumulated gradient to a global norm, update, and clear it. Return the norm before clipping.

    A gradient that is not finite is dropped: weights and optimizer state stay bit-identical.
    """
    norm = full_tensor(nn.utils.clip_grad_norm_(model.parameters(), max_grad_norm))
    if norm.isfinite():
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return float(norm)
