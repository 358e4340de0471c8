"""A decoder over weights in the order in which oneDNN multiplies them, for generation on a CPU.

A plain matrix is put into that order again in every product. With the few rows of a decode step that takes up to as
long as the arithmetic, which is the same afterwards: in bfloat16 to the last bit.
"""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from r1kit.machine import memory_bytes
from r1kit.model.decoder import Decoder

MEMORY_SHARE = 0.2  # of the machine's: a model whose copies take more is not held twice
FEW_ROWS = 16  # up to so many MKL is faster in float32, which takes the plain order


def prepacked(model: Decoder) -> Decoder:
    """A copy whose matrices are packed now and follow no later change; all else is shared.

    The model itself where torch has no such products (its compiler calls them; they are no public API), or too little
    memory.
    """
    if not _is_possible(model):
        return model
    shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    twin = copy.deepcopy(model, shared)
    for module in [*twin.modules()]:
        for name, child in [*module.named_children()]:
            if isinstance(child, nn.Linear):
                setattr(module, name, _PrepackedLinear(child.weight, child.bias))
    if model.config.tie_word_embeddings:
        twin.head = _PrepackedLinear(model.head_weight, None)
    return twin


def _is_possible(model: Decoder) -> bool:
    weight = model.head_weight
    there = hasattr(torch.ops.mkldnn, "_linear_pointwise") and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")
    fast = weight.dtype == torch.float32 or (
        weight.dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    )
    copies = 2 if weight.dtype == torch.float32 else 1
    size = copies * sum(parameter.nbytes for parameter in model.parameters())
    return weight.device.type == "cpu" and there and fast and size < MEMORY_SHARE * memory_bytes()


class _PrepackedLinear(nn.Module):
    """`nn.Linear` without a gradient."""

    def __init__(self, weight: Tensor, bias: Tensor | None):
        super().__init__()
        self.plain = weight.detach().clone() if weight.dtype == torch.float32 else None
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight.detach())
        self.bias = None if bias is None else bias.detach()

    def forward(self, x: Tensor) -> Tensor:
        if self.plain is not None and len(x) <= FEW_ROWS:
            return F.linear(x, self.plain, self.bias)
        return torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [], "")
