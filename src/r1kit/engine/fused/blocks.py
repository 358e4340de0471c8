"""A copy of the decoder with fused decode steps.

Shapes as in `engine.fused.kernels`; X is a row of several of its vectors.
"""

from __future__ import annotations

import copy
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from r1kit.engine.cache import KVCache
from r1kit.engine.fused import kernels
from r1kit.engine.shared_prefix import SharedPrefix
from r1kit.model.attention import AttentionFn
from r1kit.model.decoder import Attention, Block, Decoder
from r1kit.model.fused.compiler import array
from r1kit.model.fused.layers import gated_silu
from r1kit.model.fused.rows import Array
from r1kit.model.layers import RMSNorm


def with_fused_blocks(model: Decoder) -> Decoder:
    """Return a copy that decodes with the kernels. It shares all weights."""
    blocks = (_FusedBlock(cast(Block, block)) for block in model.blocks)
    fused = copy.copy(model)
    fused._modules = {**model._modules, "blocks": nn.ModuleList(blocks)}
    return fused


class _FusedBlock(nn.Module):
    """A block of the decoder. Decode steps take four products and five kernels, and two of each for a shared prefix."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.block = block

    def forward(self, x_N1D: Tensor, cos: Tensor, sin: Tensor, attend: AttentionFn) -> Tensor:
        """[N, 1, D] -> [N, 1, D] in a decode step; see `Block` for prompts."""
        block = self.block
        if not isinstance(attend, KVCache):
            computed: Tensor = block(x_N1D, cos, sin, attend)
            return computed
        x_ND = x_N1D[:, 0].clone()
        qkv_NX = block.attention.qkv(_add_norm(x_ND, x_ND[:0], block.attention_norm))
        mixed_NX = _attend(attend, block.layer, block.attention, qkv_NX, cos, sin)
        gate_up_NX = block.mlp.gate_up(_add_norm(x_ND, block.attention.out(mixed_NX), block.mlp_norm))
        down_ND: Tensor = block.mlp.down(gated_silu(gate_up_NX))
        return (x_ND + down_ND)[:, None]


def _threads(x_N: Tensor) -> int:
    return min(torch.get_num_threads(), len(x_N))


def _add_norm(x_ND: Tensor, update_ND: Tensor, norm: RMSNorm) -> Tensor:
    """Add an update to x in place, unless it is empty. Return the RMSNorm of x."""
    normed_ND = torch.empty_like(x_ND)
    x, update, gain = (array(tensor) for tensor in (x_ND, update_ND, norm.weight))
    kernels.add_norm(x, update, gain, np.float32(norm.eps), array(normed_ND), _threads(x_ND))
    return normed_ND


def _attend(cache: KVCache, layer: int, attention: Attention, qkv_NX: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate and store the new keys, attend to the cache, and return the mixed values [N, H * E]."""
    own_k, own_v = (array(_dense(own, layer)) for own in (cache.own_k, cache.own_v))
    q_NHE = _rotated(cache, attention, qkv_NX, cos, sin, own_k, own_v)
    mixed_NHE, threads = torch.empty_like(q_NHE), _threads(qkv_NX)
    q, mixed = array(q_NHE), array(mixed_NHE)
    grids = [_grid_scores(prefix, layer, q_NHE) for prefix in cache.prefixes]
    prefixes = [_prefix_arrays(*pair) for pair in zip(cache.prefixes, grids, strict=True)]
    prefixes += [_no_prefix(q_NHE, attention.kv_heads)] * (2 - len(prefixes))
    kernels.attend(
        q, own_k, own_v, array(cache.own_prompt_N), cache.sampled_from, array(cache.lengths_N + 1),
        *prefixes[0], *prefixes[1], mixed, threads,
    )  # fmt: skip
    for prefix, weights in zip(cache.prefixes, grids, strict=True):
        kernels.collect(array(weights @ prefix.values[layer]), array(prefix.slot_N), mixed, threads)
    return mixed_NHE.flatten(1)


def _grid_scores(prefix: SharedPrefix, layer: int, q_NHE: Tensor) -> Tensor:
    """Return the scores of a shared prefix [P, K, S * G, L], in one product for all rows."""
    keys_PKLE = prefix.keys[layer]
    group = q_NHE.shape[1] // keys_PKLE.shape[1]
    q_PKXE = q_NHE.new_zeros(*keys_PKLE.shape[:2], prefix.slots * group, keys_PKLE.shape[3])  # some slots have no row
    kernels.spread(array(q_NHE), array(prefix.slot_N), array(q_PKXE), _threads(q_NHE))
    return q_PKXE @ keys_PKLE.transpose(-1, -2)


def _rotated(
    cache: KVCache, attention: Attention, qkv_NX: Tensor, cos: Tensor, sin: Tensor, own_k: Array, own_v: Array
) -> Tensor:
    """Return rotated queries [N, H, E], divided by sqrt(E), and store keys and values."""
    q_NHE = qkv_NX.new_empty(len(qkv_NX), attention.heads, attention.head_dim)
    norms = (attention.q_norm, attention.k_norm)
    q_gain, k_gain = (array(qkv_NX.new_empty(0) if norm is None else norm.weight) for norm in norms)
    eps = np.float32(norms[0].eps if norms[0] else 0)
    kernels.rotate(
        array(qkv_NX), array(cos[:, 0, 0]), array(sin[:, 0, 0]), q_gain, k_gain, eps, array(cache.places_N),
        array(q_NHE), own_k, own_v, _threads(qkv_NX),
    )  # fmt: skip
    return q_NHE


def _dense(tensors: list[Tensor], layer: int) -> Tensor:
    """Return the tensor of a layer, made contiguous in place."""
    tensors[layer] = tensors[layer].contiguous()
    return tensors[layer]


def _prefix_arrays(prefix: SharedPrefix, grid_PKXL: Tensor) -> tuple[Array, Array, Array]:
    """Return what `kernels.attend` takes of a prefix."""
    return array(grid_PKXL), array(prefix.slot_N), array(prefix.length_N)


def _no_prefix(q_NHE: Tensor, kv_heads: int) -> tuple[Array, Array, Array]:
    """Return what `kernels.attend` takes instead of a prefix: one without tokens."""
    rows, heads, _ = q_NHE.shape
    zeros_N = np.zeros(rows, np.int64)
    return array(q_NHE.new_empty(1, kv_heads, heads // kv_heads, 0)), zeros_N, zeros_N
