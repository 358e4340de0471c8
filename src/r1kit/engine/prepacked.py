"""A copy of the decoder for generation on a CPU, with its matrices in oneDNN's memory layout.

For a plain matrix, oneDNN converts the layout in every product. With the few rows of a decode step that takes up to as
long as the arithmetic. The products are the same; in bfloat16 the results are bit-identical.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from r1kit.machine import memory_bytes
from r1kit.model.decoder import Decoder

MEMORY_SHARE = 0.2  # of the machine's memory: larger copies are not made
FEW_ROWS = 16  # up to this many rows MKL is faster in float32, with the plain layout


def prepacked(model: Decoder) -> Decoder:
    """Return a copy of the model with packed matrices; everything else is shared. Later updates do not reach it.

    Returns the model itself where memory is short, or where torch lacks these products (they are called by its
    compiler and not part of the public API).
    """
    return packed_copy(model, FEW_ROWS) if can_prepack(model) else model


def packed_copy(model: Decoder, few_rows: int) -> Decoder:
    """Return a copy with packed matrices, which MKL multiplies up to `few_rows` rows with in float32."""
    head = model.head_weight.float() if model.fp32_head else model.head_weight

    def packed(linear: nn.Linear) -> nn.Module:
        return _PrepackedLinear(linear.weight, linear.bias, few_rows)

    return with_linear(model, packed, _PrepackedLinear(head, None, few_rows))


def with_linear(model: Decoder, replace: Callable[[nn.Linear], nn.Module], head: nn.Module) -> Decoder:
    """Return a copy of the model with other linear layers and another head; everything else is shared."""
    shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    changed = copy.deepcopy(model, shared)
    for module in [*changed.modules()]:
        for name, child in [*module.named_children()]:
            if isinstance(child, nn.Linear) and module is not changed:
                setattr(module, name, replace(child))
    changed.head = head
    return changed


def can_prepack(model: Decoder) -> bool:
    """Return whether there are packed products for the model, and memory for a copy."""
    weight = model.head_weight
    exists = hasattr(torch.ops.mkldnn, "_linear_pointwise") and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")
    fast = weight.dtype == torch.float32 or (
        weight.dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    )
    copies = 2 if weight.dtype == torch.float32 else 1
    size = copies * sum(parameter.nbytes for parameter in model.parameters())
    return weight.device.type == "cpu" and exists and fast and size < MEMORY_SHARE * memory_bytes()


class _PrepackedLinear(nn.Module):
    """`nn.Linear` without gradients, computed in the dtype of its weight."""

    def __init__(self, weight: Tensor, bias: Tensor | None, few_rows: int) -> None:
        super().__init__()
        self.few_rows = few_rows
        self.plain = weight.detach().clone() if few_rows and weight.dtype == torch.float32 else None
        self.dtype = weight.dtype
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight.detach())
        self.bias = None if bias is None else bias.detach()

    def forward(self, x: Tensor) -> Tensor:
        x = x.to(self.dtype)
        if self.plain is not None and len(x) <= self.few_rows:
            return F.linear(x, self.plain, self.bias)
        packed: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [], "")
        return packed
