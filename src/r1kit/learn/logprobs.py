"""Log-probabilities of given tokens under the output matrix, without ever holding all logits.

    hidden states, output matrix -> logits of one chunk -> log-softmax -> log-probability, entropy

With several chunks, the backward pass computes each chunk's logits again: memory is O(chunk * V), not O(N * V). The
gradient of the matrix is summed over chunks in fp32.

Shapes: N positions, C positions of a chunk, D model width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, cast

import torch
from torch import Tensor

from r1kit.model.autograd import Context
from r1kit.model.fused.support import can_fuse
from r1kit.model.layers import project

# Logits per chunk in fp32. The backward pass holds them twice. On a GPU, products of fewer rows leave it idle.
CHUNK_ELEMENTS = {"cpu": 2**24, "cuda": 2**27}


def token_logprobs(
    hidden_ND: Tensor, head_VD: Tensor, targets_N: Tensor, temperature: float = 1.0, *, fp32: bool = True
) -> Tensor:
    """Return log-probabilities [N] under softmax(logits / temperature), in nats and fp32.

    `fp32` computes the logits of bfloat16 weights in fp32; without it they are rounded to bfloat16.
    """
    return _run(hidden_ND, head_VD, targets_N, temperature, fp32, with_entropy=False)[0]


def token_logprobs_and_entropy(
    hidden_ND: Tensor, head_VD: Tensor, targets_N: Tensor, temperature: float = 1.0, *, fp32: bool = True
) -> tuple[Tensor, Tensor]:
    """Return (logp_N, entropy_N) of the same distribution. The entropy has no gradient."""
    return _run(hidden_ND, head_VD, targets_N, temperature, fp32, with_entropy=True)


def _run(
    hidden_ND: Tensor, head_VD: Tensor, targets_N: Tensor, temperature: float, fp32: bool, with_entropy: bool
) -> tuple[Tensor, Tensor]:
    outputs = _LinearLogProbs.apply(  # type: ignore[no-untyped-call]  # torch leaves it untyped
        hidden_ND, head_VD, targets_N, temperature, fp32, with_entropy
    )
    return cast(tuple[Tensor, Tensor], outputs)


class _Saved(Context, Protocol):
    temperature: float
    fp32: bool
    needs_input_grad: tuple[bool, ...]

    def mark_non_differentiable(self, *outputs: Tensor) -> None: ...


class _LinearLogProbs(torch.autograd.Function):
    """Log-probability and entropy [N] (arbitrary without `with_entropy`) of a linear layer's softmax."""

    @staticmethod
    def forward(
        ctx: _Saved,
        hidden_ND: Tensor,
        head_VD: Tensor,
        targets_N: Tensor,
        temperature: float,
        fp32: bool,
        with_entropy: bool,
    ) -> tuple[Tensor, Tensor]:
        logp_N = hidden_ND.new_empty(len(targets_N), dtype=torch.float32)
        entropy_N = torch.empty_like(logp_N)
        chunks, kept = _chunks(len(targets_N), head_VD), []
        weight_VD = _weight(head_VD, fp32)
        for chunk in chunks:
            logits_CV = project(hidden_ND[chunk], weight_VD, fp32).float()
            logp_C, entropy_C, softmax = _logprobs(logits_CV, targets_N[chunk], temperature, with_entropy)
            logp_N[chunk], entropy_N[chunk] = logp_C, entropy_C
            if len(chunks) == 1:  # saves the backward pass a product
                kept += softmax
        ctx.save_for_backward(hidden_ND, head_VD, targets_N, *kept)
        ctx.temperature, ctx.fp32 = temperature, fp32
        ctx.mark_non_differentiable(entropy_N)
        return logp_N, entropy_N

    @staticmethod
    def backward(ctx: _Saved, grad_N: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        hidden_ND, head_VD, targets_N, *kept = ctx.saved_tensors
        grad_hidden_ND = torch.empty_like(hidden_ND)
        grad_head_VD: Tensor | None = None
        weight_VD = head_VD if kept else _weight(head_VD, ctx.fp32)
        for chunk in _chunks(len(targets_N), head_VD):
            hidden_CD, targets_C = hidden_ND[chunk], targets_N[chunk]
            if kept:
                softmax = kept
            else:
                logits_CV = project(hidden_CD, weight_VD, ctx.fp32).float()
                softmax = _logprobs(logits_CV, targets_C, ctx.temperature, with_entropy=False)[2]
            grad_CV = _logits_gradient(softmax, targets_C, ctx.temperature, grad_N[chunk], hidden_ND.dtype)
            grad_hidden_ND[chunk] = grad_CV @ head_VD
            if ctx.needs_input_grad[1]:
                part_VD = (grad_CV.t() @ hidden_CD).float()
                grad_head_VD = part_VD if grad_head_VD is None else grad_head_VD.add_(part_VD)
        if grad_head_VD is None and ctx.needs_input_grad[1]:
            grad_head_VD = torch.zeros_like(head_VD)
        grad_head = None if grad_head_VD is None else grad_head_VD.to(head_VD.dtype)
        return grad_hidden_ND, grad_head, None, None, None, None


def _chunks(positions: int, head_VD: Tensor) -> list[slice]:
    elements = CHUNK_ELEMENTS.get(head_VD.device.type, CHUNK_ELEMENTS["cpu"])
    rows = max(1, elements // head_VD.shape[0])
    return [slice(start, start + rows) for start in range(0, positions, rows)]


def _weight(head_VD: Tensor, fp32: bool) -> Tensor:
    """Return the matrix as `project` uses it, so that it is not converted again for every chunk."""
    return head_VD.float() if fp32 and head_VD.dtype.itemsize < 4 and head_VD.device.type == "cpu" else head_VD


def _logprobs(
    logits_CV: Tensor, targets_C: Tensor, temperature: float, with_entropy: bool
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Return log-probabilities and entropies, and what `_logits_gradient` needs. May overwrite the logits.

    Entropies are arbitrary without `with_entropy`.
    """
    if can_fuse(logits_CV):
        from r1kit.model.fused import softmax

        logp_C, entropy_C, shift_C = softmax.logprobs(logits_CV, targets_C, temperature)
        return logp_C, entropy_C, [logits_CV, shift_C]
    all_logp_CV = torch.log_softmax(logits_CV if temperature == 1 else logits_CV.div_(temperature), dim=-1)
    logp_C = all_logp_CV.gather(1, targets_C[:, None]).squeeze(1)
    entropy_C = -(all_logp_CV.exp().mul_(all_logp_CV)).sum(-1) if with_entropy else torch.zeros_like(logp_C)
    return logp_C, entropy_C, [all_logp_CV]


def _logits_gradient(
    kept: Sequence[Tensor], targets_C: Tensor, temperature: float, grad_C: Tensor, dtype: torch.dtype
) -> Tensor:
    """Return the gradient for logits [C, V] in a dtype."""
    if can_fuse(kept[0]):
        from r1kit.model.fused import softmax

        logits_CV, shift_C = kept
        return softmax.logits_gradient(logits_CV, shift_C, targets_C, temperature, grad_C, dtype)
    (all_logp_CV,) = kept
    grad_CV = torch.zeros_like(all_logp_CV).scatter_(1, targets_C[:, None], grad_C[:, None])
    grad_CV = torch._log_softmax_backward_data(grad_CV, all_logp_CV, -1, torch.float32)
    return (grad_CV if temperature == 1 else grad_CV.div_(temperature)).to(dtype)
