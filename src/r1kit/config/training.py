"""How weights are trained, and which are published.

Of the keys of `Training` and `Adapters`, only those of the optimizer and of LoRA change what is learned.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

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
    shard_weights: bool = False
    """Whether several processes share out compute weights and gradients too, not only master weights and optimizer
    state: 16 bytes a parameter over all of them instead of 6 on each and 16 over all. Every pass gathers the weights
    block by block and computes prompts again with each completion, so it is slower (docs/several-processes.md)."""

    @model_validator(mode="after")
    def _shards_alone(self) -> Self:
        for key in ("offload", "lora_rank", "adam_8bit", "rollouts_ahead"):
            if self.shard_weights and getattr(self, key, None):
                value = str(getattr(self, key)).lower()
                raise ValueError(f"shard_weights = true and {key} = {value}: use one of them")
        return self


class Published(Strict):
    """Which model a stage publishes."""

    best_metric: str | None = None
    """Metric of the evaluations in this stage by which the best of the evaluated models is published: the highest
    value, of a loss the lowest, the earliest of equal ones. By default the model after the last step is published.
    Paper: undisclosed."""

    def evaluated_metrics(self) -> list[str]:
        """Return the metrics that the evaluations in the stage measure, and that `best_metric` can be."""
        return []


class Adapters(Strict):
    """Low-rank adapters (LoRA, Hu et al. 2021) instead of the weights themselves."""

    lora_rank: int = Field(0, ge=0)
    """Rank of the adapters of every linear layer; 0 trains all weights. Needs `pip install 'r1kit[lora]'`. The model
    that the stage publishes has the adapters merged into its weights. Paper: none."""
    lora_alpha: float = Field(32.0, gt=0)
    """Scale of the adapters' output, divided by `lora_rank`."""
