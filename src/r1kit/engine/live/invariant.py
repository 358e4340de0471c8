"""A copy of the decoder whose rows do not depend on each other, bit by bit, on a CPU.

Libraries choose the order of a sum by the shape of the product, so a row's result may change with the number of rows.
oneDNN's packed products do so for a single row only; MKL's, for numbers of rows that are no multiple of four. So the
caller gives at least MIN_ROWS rows, and plain products are padded.
Attention is computed row by row (`engine.cache`). Padding behind a row's own keys does not change it, except that torch
computes small products with another kernel. torch's SiLU rounds differently where threads divide a row; the exponential
does not.

On a GPU the model is returned as it is: there, answers in different batches may differ by rounding.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from r1kit.engine.prepacked import can_prepack, packed_copy, with_linear
from r1kit.model.config import ModelConfig
from r1kit.model.decoder import Decoder
from r1kit.model.layers import GatedMLP, project

MIN_ROWS = 2
PLAIN_ROWS = 4  # MKL's products are the same for multiples of this many rows
# Multiplications in a batch of products up to which torch uses a kernel of its own in bfloat16, and in each of them.
SMALL_BATCH, SMALL_PRODUCT = 4096, 400


def fewest_keys(config: ModelConfig) -> int:
    """Return the number of keys from which on the products of attention are large, even for a single row."""
    heads, group = config.num_attention_heads, config.num_attention_heads // config.num_key_value_heads
    return 1 + max(SMALL_BATCH // (heads * config.head_dim), SMALL_PRODUCT // (group * config.head_dim))


def batch_invariant(model: Decoder) -> Decoder:
    """Return a copy that computes a row equally in every batch. Weights are shared unless they are packed."""
    if model.device.type != "cpu":
        return model
    if can_prepack(model):
        copy = packed_copy(model, few_rows=0)
    else:
        copy = with_linear(model, _PaddedRows, _PaddedRows(_Head(model)))
    for module in [*copy.modules()]:
        if isinstance(mlp := getattr(module, "mlp", None), GatedMLP) and model.head_weight.dtype != torch.bfloat16:
            module.mlp = _SteadyMLP(mlp)
    return copy


class _PaddedRows(nn.Module):
    """A linear layer that is computed for a multiple of PLAIN_ROWS rows."""

    def __init__(self, linear: nn.Module) -> None:
        super().__init__()
        self.linear = linear

    def forward(self, x: Tensor) -> Tensor:
        # In a decode step, rows are the first dimension; prompts are padded to such a multiple.
        extra = -(x.numel() // x.shape[-1]) % PLAIN_ROWS
        padded = F.pad(x, (0, 0) * (x.ndim - 1) + (0, extra)) if extra else x
        y: Tensor = self.linear(padded)[: len(x)]
        return y


class _Head(nn.Module):
    """The output matrix as a layer."""

    def __init__(self, model: Decoder) -> None:
        super().__init__()
        self.weight, self.fp32 = model.head_weight, model.fp32_head

    def forward(self, hidden: Tensor) -> Tensor:
        return project(hidden, self.weight, self.fp32)


class _SteadyMLP(nn.Module):
    """`GatedMLP` with SiLU as x / (1 + exp(-x))."""

    def __init__(self, mlp: GatedMLP) -> None:
        super().__init__()
        self.gate_up, self.down = mlp.gate_up, mlp.down

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        down: Tensor = self.down(gate.neg().exp_().add_(1).reciprocal_().mul_(gate).mul_(up))
        return down
