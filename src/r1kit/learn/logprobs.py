"""Log-probabilities of given tokens, without ever holding all logits.

Shapes: N positions, D model width, V vocabulary.
"""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

# Logits held at once: 2**24 floats are 64 MiB, forward and again backward.
CHUNK_ELEMENTS = 2**24


def token_logprobs(
    hidden_ND: Tensor, head_VD: Tensor, targets_N: Tensor, temperature: float = 1.0
) -> tuple[Tensor, Tensor]:
    """(logp_N, entropy_N) of the tempered distribution softmax(logits / temperature), in nats, fp32.

    Where there are several chunks, each one's logits are computed again in the backward pass, so memory is O(chunk * V)
    instead of O(N * V). A single one is what that needs anyway, and is kept.
    The entropy carries no gradient.
    """
    rows = max(1, CHUNK_ELEMENTS // head_VD.shape[0])
    again = partial(checkpoint, _chunk, use_reentrant=False, preserve_rng_state=False)
    run = _chunk if len(targets_N) <= rows else again
    pieces = [
        run(hidden, head_VD, targets, temperature)
        for hidden, targets in zip(hidden_ND.split(rows), targets_N.split(rows), strict=True)
    ]
    logp_N, entropy_N = (torch.cat(parts) for parts in zip(*pieces, strict=True))
    return logp_N, entropy_N


def _chunk(hidden: Tensor, head_VD: Tensor, targets: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    logp_NV = F.log_softmax(F.linear(hidden, head_VD).float() / temperature, dim=-1)
    with torch.no_grad():
        entropy_N = -(logp_NV.exp() * logp_NV).sum(-1)
    return -F.nll_loss(logp_NV, targets, reduction="none"), entropy_N  # its backward is faster than gather's
