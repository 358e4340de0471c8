"""Training state in shares, one on each rank: master weights and optimizer state.

FSDP2 (`fully_shard`) splits every master weight along its first dimension; AdamW keeps its state in the same shares.
The compute weights stay complete on every rank. So sampling, shared prompts and micro-batches of any number need no
other rank, and ranks may have unequal work. At the end of a step, `flush` sums the gradients over ranks, each rank
receiving its share; after the update, `precision.copy_weights` gathers the new weights. A rank holds 2 (weights) + 4
(gradients) + 16 / ranks bytes a parameter in bfloat16.

Adapters are few: every rank updates all of them.
"""

from __future__ import annotations

from functools import cache
from typing import Any, TypeGuard

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Partial

from r1kit.learn.world import World


def shard(master: nn.Module, world: World) -> None:
    """Keep this rank's share of every weight. All ranks have the same weights before."""
    device = next(master.parameters()).device.type
    fully_shard(master, mesh=_mesh(device, world.size))


@cache
def _mesh(device: str, ranks: int) -> DeviceMesh:
    return init_device_mesh(device, (ranks,))


@torch.no_grad()
def flush(model: nn.Module, master: nn.Module, world: World) -> None:
    """Give the master weights the gradients of the compute weights, summed over ranks, and clear the latter.

    A weight without a gradient on any rank gets none. Nothing happens on a single rank.
    """
    if world.size == 1:
        return
    pairs = zip(model.parameters(), master.parameters(), strict=True)
    trained = [(low, high) for low, high in pairs if high.requires_grad]
    used = torch.tensor([low.grad is not None for low, _ in trained]).int()
    dist.all_reduce(used)
    for (low, high), count in zip(trained, used.tolist(), strict=True):
        if not count:
            continue
        gradient = torch.zeros_like(low, dtype=high.dtype) if low.grad is None else low.grad
        low.grad = None
        high.grad = _summed(gradient.to(high.device), high)


def _summed(gradient: Tensor, weight: Tensor) -> Tensor:
    """Return the sum of all ranks' gradients: the share that belongs to the weight's."""
    if isinstance(weight, DTensor):
        parts = DTensor.from_local(gradient, weight.device_mesh, [Partial()], run_check=False)
        return parts.redistribute(placements=weight.placements)
    dist.all_reduce(gradient)
    return gradient


def is_shared(value: object) -> TypeGuard[DTensor]:
    """Return whether a value is a tensor of which this rank holds only a share."""
    return isinstance(value, DTensor)


def whole(tensor: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Return a tensor with the shares of all ranks, sent in `dtype`; the tensor itself if it is not shared."""
    if not is_shared(tensor):
        return tensor
    sent: Any = tensor.to(dtype or tensor.dtype)
    complete: Tensor = sent.full_tensor()
    return complete


def writers() -> dist.ProcessGroup:
    """Return a group of all ranks for threads that write checkpoints while others train."""
    group: dist.ProcessGroup = dist.new_group(backend="gloo")
    return group


def on_cpu(shared: DTensor, local: Tensor) -> DTensor:
    """Return a share in main memory as the one of a tensor that is shared in the same way."""
    mesh, size, stride = _mesh("cpu", shared.device_mesh.size()), shared.shape, shared.stride()
    return DTensor.from_local(local, mesh, shared.placements, run_check=False, shape=size, stride=stride)
