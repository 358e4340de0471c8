"""How weights are trained: precision, memory and adapters. None of these keys but LoRA's changes what is learned."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from r1kit.config.base import Optimizer, Strict

Recompute = Literal["auto", "on", "off"]


class Training(Optimizer):
    """AdamW with its schedule, and means to train a larger model in the same memory."""

    fp32_head: bool = True
    """Whether logits of bfloat16 weights are computed in fp32, in training and generation alike. Rounded to bfloat16,
    they add noise to every probability ratio."""
    recompute: Recompute = "auto"
    """Whether the backward pass computes the activations inside blocks again instead of keeping them: a third more
    arithmetic. `auto` does where they would outweigh the model. The gradient is the same."""
    offload: bool = False
    """Whether a GPU keeps master weights, gradients and optimizer state in main memory, where the optimizer then runs,
    and reference and reward models while they are not used. Saves 16 bytes a parameter, and 2 more with a reference;
    best with large micro-batches."""


class Adapters(Strict):
    """Low-rank adapters (LoRA, Hu et al. 2021) instead of the weights themselves."""

    lora_rank: int = Field(0, ge=0)
    """Rank of the adapters of every linear layer; 0 trains all weights. Needs `pip install 'r1kit[lora]'`. The model
    that the stage publishes has the adapters merged into its weights. Paper: none."""
    lora_alpha: float = Field(32.0, gt=0)
    """Scale of the adapters' output, divided by `lora_rank`."""
