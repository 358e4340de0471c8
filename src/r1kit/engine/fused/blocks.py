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
    fused.fused_steps = True
    return fused


class _FusedBlock(nn.Module):
    """A block of the decoder. Decode steps take four products and five kernels, and two of each for a shared prefix."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.block = block
        norms = (block.attention_norm, block.mlp_norm, block.attention.q_norm, block.attention.k_norm)
        self.attention_norm, self.mlp_norm, *self.head_norms = (_gain(norm, block) for norm in norms)

    def forward(self, x_N1D: Tensor, cos: Tensor, sin: Tensor, attend: AttentionFn) -> Tensor:
        """[N, 1, D] -> [N, 1, D], in place, in a decode step; see `Block` for prompts."""
        block = self.block
        if not isinstance(attend, KVCache):
            computed: Tensor = block(x_N1D, cos, sin, attend)
            return computed
        x_ND = x_N1D[:, 0]
        if block.layer == 0:
            attend.step = _Step(attend, block.attention, x_ND, cos, sin)
        step = cast(_Step, attend.step)
        step.add_norm(x_ND, x_ND[:0], *self.attention_norm)
        step.attend(attend, block.layer, block.attention.qkv(step.normed_ND), self.head_norms)
        step.add_norm(x_ND, block.attention.out(step.mixed_ND), *self.mlp_norm)
        x_ND += block.mlp.down(gated_silu(block.mlp.gate_up(step.normed_ND)))
        return x_N1D


def _gain(norm: RMSNorm | None, block: Block) -> tuple[Array, Array]:
    """Return the gain of a norm, empty if there is none, and its epsilon."""
    if norm is None:
        return array(block.mlp_norm.weight[:0]), np.float32(0)
    return array(norm.weight), np.float32(norm.eps)


class _Step:
    """What all layers of a decode step share: the rows' places in the cache, and memory that they use in turn."""

    def __init__(self, cache: KVCache, attention: Attention, x_ND: Tensor, cos: Tensor, sin: Tensor) -> None:
        rows, heads, width = len(x_ND), attention.heads, attention.head_dim
        self.threads = min(torch.get_num_threads(), rows)
        self.normed_ND, self.mixed_ND = torch.empty_like(x_ND), x_ND.new_empty(rows, heads * width)
        self.normed, self.mixed = array(self.normed_ND), array(self.mixed_ND.view(rows, heads, width))
        self.q, self.places_N = np.empty_like(self.mixed), array(cache.places_N)
        self.angles = array(cos[:, 0, 0]), array(sin[:, 0, 0])
        self.own = array(cache.own_prompt_N), cache.sampled_from, array(cache.lengths_N + 1)
        self.grids = [_Grid(prefix, heads, x_ND) for prefix in cache.prefixes]
        group, nothing_N = heads // attention.kv_heads, np.zeros(rows, np.int64)
        self.no_prefix = np.empty((1, attention.kv_heads, group, 0), self.q.dtype), nothing_N, nothing_N

    def add_norm(self, x_ND: Tensor, update_ND: Tensor, gain_D: Array, eps: Array) -> None:
        """Add an update to x in place, unless it is empty, and compute the RMSNorm of x."""
        kernels.add_norm(array(x_ND), array(update_ND), gain_D, eps, self.normed, self.threads)

    def attend(self, cache: KVCache, layer: int, qkv_NX: Tensor, head_norms: list[tuple[Array, Array]]) -> None:
        """Rotate and store the new keys, attend to the cache, and compute the mixed values."""
        own_k, own_v = (array(_contiguous(own, layer)) for own in (cache.own_k, cache.own_v))
        (q_gain, eps), (k_gain, _) = head_norms
        kernels.rotate(
            array(qkv_NX), *self.angles, q_gain, k_gain, eps, self.places_N, self.q, own_k, own_v, self.threads
        )
        scores = [grid.scores(layer, self.q, self.threads) for grid in self.grids]
        prefixes = [(array(each), grid.slot_N, grid.length_N) for each, grid in zip(scores, self.grids, strict=True)]
        prefixes += [self.no_prefix] * (2 - len(prefixes))
        kernels.attend(self.q, own_k, own_v, *self.own, *prefixes[0], *prefixes[1], self.mixed, self.threads)
        # Now `scores` are weights.
        for grid, weights in zip(self.grids, scores, strict=True):
            kernels.collect(array(weights @ grid.prefix.values[layer]), grid.slot_N, self.mixed, self.threads)


class _Grid:
    """A shared prefix, and the grid in which the queries of its rows meet it."""

    def __init__(self, prefix: SharedPrefix, heads: int, like: Tensor) -> None:
        prefixes, kv_heads, _, width = prefix.keys[0].shape
        self.prefix, self.slot_N, self.length_N = prefix, array(prefix.slot_N), array(prefix.length_N)
        queries = prefix.slots * heads // kv_heads
        self.q_PKXE = like.new_zeros(prefixes, kv_heads, queries, width)  # some slots have no row
        self.q = array(self.q_PKXE)

    def scores(self, layer: int, q_NHE: Array, threads: int) -> Tensor:
        """Return the scores of the prefix [P, K, S * G, L], in one product for all rows."""
        kernels.spread(q_NHE, self.slot_N, self.q, threads)
        return self.q_PKXE @ self.prefix.keys[layer].transpose(-1, -2)


def _contiguous(tensors: list[Tensor], layer: int) -> Tensor:
    """Return the tensor of a layer, made contiguous in place."""
    tensors[layer] = tensors[layer].contiguous()
    return tensors[layer]
