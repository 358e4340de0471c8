"""Where engines choose between the kernels and torch. Shapes: N distributions, R samples, V vocabulary."""

from __future__ import annotations

import torch
from torch import Tensor

from r1kit.engine import sampler
from r1kit.engine.base import SamplingParams
from r1kit.model.decoder import Decoder
from r1kit.model.fused.support import can_fuse


def with_fused_steps(model: Decoder) -> Decoder:
    """Return a copy that decodes with the kernels and shares all weights; the model itself where they do not run."""
    if not can_fuse(model.embed.weight):
        return model
    from r1kit.engine.fused.blocks import with_fused_blocks

    return with_fused_blocks(model)


def sample(
    logits_NV: Tensor, keys_R: Tensor, positions_R: Tensor, params: SamplingParams, row_R: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Do what `engine.sampler.sample` does, by the kernels where they can."""
    if not (params.is_plain and can_fuse(logits_NV)):
        return sampler.sample(logits_NV, keys_R, positions_R, params, row_R)
    from r1kit.engine.fused.sampling import sample_plain

    row_R = torch.arange(len(logits_NV)) if row_R is None else row_R
    return sample_plain(logits_NV.float(), params.temperature, row_R, keys_R, positions_R)
