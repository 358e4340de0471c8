"""Packed rows on a GPU: torch's kernel is called as it expects, and its result replaces that of padded batches.

The kernel itself needs a GPU; here a plain implementation takes its place.
"""

from __future__ import annotations

import inspect
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F

from r1kit.model import packed
from r1kit.model.packed import PackedAttention

varlen = pytest.importorskip("torch.nn.attention.varlen")
LENGTHS = [5, 1, 9, 3]
SIGNATURE = inspect.signature(varlen.varlen_attn)


def plain(*args, **kwargs):
    """What varlen_attn computes for one causal window, document by document; heads second, as it takes them."""
    given = SIGNATURE.bind(*args, **kwargs).arguments
    assert given["window_size"] == (-1, 0) and given["max_q"] == given["max_k"] == max(LENGTHS)
    assert given["cu_seq_q"].dtype == torch.int32 and given["cu_seq_q"].tolist() == [0, 5, 6, 15, 18]
    starts = given["cu_seq_q"].tolist()
    mixed = [
        F.scaled_dot_product_attention(
            *(given[name][a:b].transpose(0, 1) for name in ("query", "key", "value")),
            is_causal=True,
            enable_gqa=given["enable_gqa"],
        ).transpose(0, 1)
        for a, b in pairwise(starts)
    ]
    return torch.cat(mixed)


@pytest.mark.parametrize("kv_heads", [4, 2])
def test_result_equals_the_padded_batches(monkeypatch, kv_heads):
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(1, heads, sum(LENGTHS), 8, generator=generator) for heads in (4, kv_heads, kv_heads))
    attend = PackedAttention(LENGTHS, "cpu")
    expected = attend(0, q, k, v)
    monkeypatch.setattr(packed, "has_varlen_attention", lambda q: True)
    monkeypatch.setattr(varlen, "varlen_attn", plain)
    torch.testing.assert_close(attend(0, q, k, v), expected, rtol=1e-5, atol=1e-6)
