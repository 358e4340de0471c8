"""Training state in shares, one on each rank.

`shard` shares out the fp32 master weights, and AdamW keeps its state in the same shares. The compute weights stay
complete on every rank. So sampling, shared prompts and micro-batches of any number need no other rank, and ranks may
have unequal work. At the end of a step, `flush` sums the gradients over ranks, each rank receiving its share; after the
update, `precision.copy_weights` gathers the new weights. A rank holds 2 (weights) + 4 (gradients) + 16 / ranks bytes a
parameter in bfloat16. Adapters are few: every rank updates all of them.

`split` shares out the compute weights and gradients too (`shard_weights`): 16 / ranks bytes a parameter, and a block
that is being computed. Every pass gathers one block after the other, on all ranks at the same time. So ranks must have
equally many passes (`idle_pass`), and a row holds its prompt. `filled` gathers all weights for sampling and saving.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeGuard, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, Partial

from r1kit.learn.world import World
from r1kit.model.policy import Policy, RewardModel

M = TypeVar("M", bound=nn.Module)


def shard(master: nn.Module, world: World) -> None:
    """Shard the master weights over ranks. All ranks must hold the same weights before."""
    device = next(master.parameters()).device.type
    fully_shard(master, mesh=_mesh(device, world.size))


@cache
def _mesh(device: str, ranks: int) -> DeviceMesh:
    return init_device_mesh(device, (ranks,))


@torch.no_grad()
def flush(model: nn.Module, master: nn.Module, world: World) -> None:
    """Give the master weights the gradients of the compute weights, summed over ranks, and clear the latter.

    A weight without a gradient on any rank gets none. Nothing happens on a single rank, or if passes have done it.
    """
    if world.size == 1 or is_split(model):
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


# -- weights in shares ----------------------------------------------------------------------------------------------


def split(model: M, world: World, dtype: torch.dtype) -> M:
    """Return the model with its weights in fp32 shares, which passes gather in `dtype`.

    `model` is left without weights; see `fill`.
    """
    computing = _taken(model)
    gather_by_block(computing, world, MixedPrecisionPolicy(dtype, torch.float32, cast_forward_inputs=False))
    return computing


def gather_by_block(model: nn.Module, world: World, precision: MixedPrecisionPolicy | None = None) -> None:
    """Shard all weights; each pass gathers them block by block. With `precision`, shards are fp32."""
    assert isinstance(model, Policy)
    mesh = _mesh(model.device.type, world.size)
    # The weights outside blocks stay gathered to the end of a backward pass: losses read the output matrix.
    for module, again in (*((layer, True) for layer in model.layers), (model, False)):
        unit = module if precision is None else module.float()
        fully_shard(unit, mesh=mesh, reshard_after_forward=again, mp_policy=precision or MixedPrecisionPolicy())
        assert isinstance(unit, FSDPModule)
        unit.set_gradient_divide_factor(1.0)  # gradients are summed; losses have the normaliser of all ranks
        unit.set_force_sum_reduction_for_comms(True)
    model.one_pass = True


def _taken(model: M) -> M:
    """Return a copy that has the model's weights. The model's own become empty."""
    empty = {id(p): nn.Parameter(p.detach().new_empty(0), requires_grad=False) for p in model.parameters()}
    taken = copy.deepcopy(model, {id(p): p for p in model.parameters()})
    for module in model.modules():
        for name, weight in [*module.named_parameters(recurse=False, remove_duplicate=False)]:
            module.register_parameter(name, empty[id(weight)])
    return taken


def is_split(model: nn.Module) -> bool:
    """Return whether `split` made the model."""
    return isinstance(model, FSDPModule) and isinstance(model, Policy)


@torch.no_grad()
def fill(model: nn.Module, computing: nn.Module, dtype: torch.dtype | None = None) -> None:
    """Give a model that `split` has emptied all weights, in `dtype` or its own. All ranks call it."""
    for weight, part in zip(model.parameters(), computing.parameters(), strict=True):
        weight.data = full_tensor(part.detach(), dtype or weight.dtype).to(dtype or weight.dtype)


@contextmanager
def filled(model: M, computing: M) -> Iterator[M]:
    """Fill the model within the block. All ranks enter it."""
    fill(model, computing)
    try:
        yield model
    finally:
        for weight in model.parameters():
            weight.data = weight.data.new_empty(0)


def idle_pass(model: nn.Module) -> None:
    """Gather the weights as a pass of another rank does, and add nothing to the gradient."""
    assert isinstance(model, Policy)
    hidden: Tensor = model(torch.zeros(1, 1, dtype=torch.long, device=model.device))
    if torch.is_grad_enabled():
        head = model.score.weight if isinstance(model, RewardModel) else model.head_weight
        assert isinstance(head, Tensor)
        torch.autograd.backward(0 * hidden.sum() + 0 * head.sum())


def release(model: nn.Module) -> None:
    """Free the weights that a forward pass without a backward pass has gathered."""
    if isinstance(model, FSDPModule):
        model.reshard()


# -- tensors --------------------------------------------------------------------------------------------------------


def is_shared(value: object) -> TypeGuard[DTensor]:
    """Return whether a value is a tensor of which this rank holds only a share."""
    return isinstance(value, DTensor)


def full_tensor(tensor: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Gather a sharded tensor from all ranks, sent in `dtype`; return other tensors as they are."""
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
