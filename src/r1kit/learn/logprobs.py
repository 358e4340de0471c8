"""Log-probabilities of given tokens, without ever holding all logits.

Shapes: N positions, D model width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

# Logits held at once: 2**24 floats are 64 MiB, forward and again backward.
CHUNK_ELEMENTS = 2**24


def token_logprobs(hidden_ND: Tensor, head_VD: Tensor, targets_N: Tensor, temperature: float = 1.0) -> Tensor:
    """[N] of the tempered distribution softmax(logits / temperature), in nats, fp32.

    Where there are several chunks, each one's logits are computed again in the backward pass, so memory is O(chunk * V)
    instead of O(N * V). A single one is what that needs anyway, and is kept.
    """
    return _in_chunks(_logprobs, hidden_ND, head_VD, targets_N, temperature)[0]


def token_logprobs_and_entropy(
    hidden_ND: Tensor, head_VD: Tensor, targets_N: Tensor, temperature: float = 1.0
) -> tuple[Tensor, Tensor]:
    """(logp_N, entropy_N) of the same distribution. The entropy carries no gradient."""
    logp_N, entropy_N = _in_chunks(_logprobs_and_entropy, hidden_ND, head_VD, targets_N, temperature)
    return logp_N, entropy_N


def _in_chunks(
    function: Callable[..., tuple[Tensor, ...]], hidden_ND: Tensor, head_VD: Tensor, targets_N: Tensor, *rest: float
) -> list[Tensor]:
    rows = max(1, CHUNK_ELEMENTS // head_VD.shape[0])
    again = partial(checkpoint, function, use_reentrant=False, preserve_rng_state=False)
    run = function if len(targets_N) <= rows else again
    pieces = [
        run(hidden, head_VD, targets, *rest)
        for hidden, targets in zip(hidden_ND.split(rows), targets_N.split(rows), strict=True)
    ]
    return [torch.cat(parts) for parts in zip(*pieces, strict=True)]


def _logprobs(hidden: Tensor, head_VD: Tensor, targets: Tensor, temperature: float) -> tuple[Tensor]:
    return (_picked(_all_logprobs(hidden, head_VD, temperature), targets),)


def _logprobs_and_entropy(
    hidden: Tensor, head_VD: Tensor, targets: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    logp_NV = _all_logprobs(hidden, head_VD, temperature)
    with torch.no_grad():
        entropy_N = -(logp_NV.exp().mul_(logp_NV)).sum(-1)
    return _picked(logp_NV, targets), entropy_N


def _all_logprobs(hidden: Tensor, head_VD: Tensor, temperature: float) -> Tensor:
    logits_NV = F.linear(hidden, head_VD).float()
    return F.log_softmax(logits_NV if temperature == 1 else logits_NV / temperature, dim=-1)


def _picked(logp_NV: Tensor, targets: Tensor) -> Tensor:
    return -F.nll_loss(logp_NV, targets, reduction="none")  # its backward is faster than gather's
