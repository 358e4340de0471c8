"""Mixed precision: compute weights in the run's dtype, and the fp32 master weights that the optimizer updates.

In an fp32 run both are the same module. In bfloat16, an update of 3e-6 would be lost in rounding, and so would a small
gradient added to a large one; so gradients are accumulated in the master weights. Offloaded, these and the optimizer
are in main memory, and every gradient goes there as soon as a layer's backward pass has computed it.
"""

from __future__ import annotations

import copy
from functools import partial
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from r1kit.learn.lora import has_adapters
from r1kit.learn.sharded import is_shared, shard, whole
from r1kit.learn.world import ALONE, World

M = TypeVar("M", bound=nn.Module)


def master_copy(model: M, offload: bool = False, world: World = ALONE) -> M:
    """Return fp32 master weights for `model`: itself if all it trains is fp32, else a copy that receives its gradients.

    `offload` makes the copy in main memory, where gradients are summed too, unless only adapters are trained. Several
    ranks share the copy (`learn.sharded`), and the model keeps its gradients to the end of the step.
    """
    is_fp32 = all(weight.dtype == torch.float32 for weight in model.parameters())
    if has_adapters(model) or (not offload and is_fp32 and world.size == 1):
        return model
    master = copy.deepcopy(model).float()
    if offload:
        master = master.cpu()
    if world.size == 1:
        _redirect_gradients(model, master)
    else:
        shard(master, world)
        for weight in model.parameters():
            weight.grad_dtype = torch.float32  # the sum over micro-batches, whatever dtype the weights get
    return master


def compute_copy(master: M, dtype: torch.dtype, offload: bool = False) -> M:
    """Return weights for forward and backward passes: `master` itself where it serves, else a linked copy.

    `offload` moves the master to main memory, unless only adapters are trained.
    """
    if has_adapters(master) or (not offload and dtype == torch.float32):
        return master
    device = next(master.parameters()).device
    if offload:
        master.cpu()
    model = copy.deepcopy(master).to(device, dtype)
    _redirect_gradients(model, master)
    return model


@torch.no_grad()
def copy_weights(source: nn.Module, target: nn.Module) -> None:
    """Copy all parameters, rounded to the target's dtype."""
    if source is not target:
        for old, new in zip(target.parameters(), source.parameters(), strict=True):
            if is_shared(old) and is_shared(new):
                old.to_local().copy_(new.to_local())
            else:
                old.copy_(whole(new, old.dtype))


def _redirect_gradients(model: nn.Module, master: nn.Module) -> None:
    """Add every gradient of `model` to the master's as soon as it is accumulated."""
    for low, high in zip(model.parameters(), master.parameters(), strict=True):
        cast(Any, low).register_post_accumulate_grad_hook(partial(_move_gradient, high))


def _move_gradient(high: Tensor, low: Tensor) -> None:
    if low.grad is not None:
        gradient = low.grad.to(high.device)
        high.grad = gradient.float() if high.grad is None else high.grad.add_(gradient)
    low.grad = None
