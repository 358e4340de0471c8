"""Log-probabilities of given tokens, computed in chunks so that the full logits never exist.

Shapes: N positions, D model width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

# Logits per chunk: 2**24 floats are 64 MiB, forward and again backward.
CHUNK_ELEMENTS = 2**24


def token_logprobs(hidden_ND: Tensor, head_VD: Tensor, targets_N: Tensor, temperature: float = 1.0) -> Tensor:
    """Return log-probabilities [N] under softmax(logits / temperature), in nats and fp32.

    With several chunks, the backward pass recomputes each chunk's logits: memory is O(chunk * V), not O(N * V).
    """
    return _in_chunks(_logprobs, hidden_ND, head_VD, targets_N, temperature)[0]


def token_logprobs_and_entropy(
    hidden_ND: Tensor, head_VD: Tensor, targets_N: Tensor, temperature: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Return (logp_N, entropy_N) of the same distribution. The entropy has no gradient."""
    logp_N, entropy_N = _in_chunks(_logprobs_and_entropy, hidden_ND, head_VD, targets_N, temperature)
    return logp_N, entropy_N


def _in_chunks(
    function: Callable[..., tuple[Tensor, ...]], hidden_ND: Tensor, head_VD: Tensor, targets_N: Tensor, *rest: float
) -> list[Tensor]:
    rows = max(1, CHUNK_ELEMENTS // head_VD.shape[0])
    recomputed = partial(checkpoint, function, use_reentrant=False, preserve_rng_state=False)
    run = function if len(targets_N) <= rows else recomputed
    pieces = [
        run(hidden, head_VD, targets, *rest)
        for hidden, targets in zip(torch.split(hidden_ND, rows), torch.split(targets_N, rows), strict=True)
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
