"""Low-rank adapters (LoRA, Hu et al. 2021) on a model's linear layers, by peft.

An adapter adds scale * B (A x) to a layer's output W x. W is frozen; A and B are fp32 in every run, so they need no
master copy. B starts at zero: a new adapter changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, TypeVar

import torch
from torch import nn

from r1kit.errors import require
from r1kit.model.policy import Policy

M = TypeVar("M", bound=nn.Module)


def add_adapters(model: Policy, rank: int, alpha: float, seed: int) -> None:
    """Freeze the model and give every linear layer of its blocks an adapter.

    Raises:
        UserError: peft is not installed.
    """
    peft = require("peft", "lora")
    config = peft.LoraConfig(
        r=rank, lora_alpha=alpha, target_modules=list(model.adapted_layers), init_lora_weights=False
    )
    with torch.random.fork_rng(devices=[]):  # peft draws weights, which are replaced below
        peft.inject_adapter_in_model(config, model)
    generator = torch.Generator().manual_seed(seed)
    for name, weight in model.named_parameters():
        weight.requires_grad_(".lora_" in name)
        if ".lora_A." in name:  # as nn.Linear: uniform within 1 / sqrt(inputs)
            bound = 1 / math.sqrt(weight.shape[1])
            drawn = torch.empty(weight.shape).uniform_(-bound, bound, generator=generator)
            weight.data = drawn.to(weight.device)
        elif ".lora_B." in name:
            weight.data = torch.zeros_like(weight, dtype=torch.float32)


def has_adapters(model: nn.Module) -> bool:
    """Return whether some weights are frozen, so that only adapters are trained."""
    return not all(weight.requires_grad for weight in model.parameters())


def trained_weights(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return the weights that are trained, by name."""
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}


@torch.no_grad()
def merge_adapters(model: M) -> M:
    """Add all adapters to the weights they belong to and remove them. Returns the model."""
    for parent, name, layer in list(_adapted_layers(model)):
        linear = layer.get_base_layer()
        linear.weight.copy_(linear.weight.float() + layer.get_delta_weight("default").float())
        setattr(parent, name, linear)
    model.requires_grad_(True)
    return model


def _adapted_layers(model: nn.Module) -> Iterator[tuple[nn.Module, str, Any]]:
    for parent in model.modules():
        for name, child in parent.named_children():
            if hasattr(child, "get_delta_weight"):
                yield parent, name, child
