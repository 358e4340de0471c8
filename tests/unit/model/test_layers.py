"""Hand-written gradients are correct, and attention by products equals the fused kernel."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch.autograd import gradcheck

from r1kit.model.attention import PrefixAttention, causal_attention, matmul_attention
from r1kit.model.config import ModelConfig
from r1kit.model.layers import GatedMLP, RMSNorm, Rotary, rotate

SHAPE = ModelConfig("qwen2", 11, 6, 10, 1, 3, 1, 8)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).requires_grad_()


def test_rotation_and_its_gradient():
    cos, sin = Rotary(SHAPE)(torch.arange(5)[None], torch.float64)
    x = random(2, 5, 3, 8)
    assert gradcheck(lambda x: rotate(x, cos, sin), x)
    assert gradcheck(lambda x: rotate(x.transpose(1, 2).contiguous().transpose(1, 2), cos, sin), x), "any strides"
    first, second = x.detach().chunk(2, dim=-1)
    turned = torch.view_as_real(torch.complex(first, second) * torch.complex(cos, sin))
    torch.testing.assert_close(rotate(x, cos, sin), torch.cat(turned.unbind(-1), dim=-1))


def test_gated_mlp_and_its_gradient():
    mlp = GatedMLP(SHAPE).double()
    assert gradcheck(mlp, random(2, 3, 6))
    x = random(4, 6)
    gate, up = mlp.gate_up(x).chunk(2, dim=-1)
    torch.testing.assert_close(mlp(x), mlp.down(F.silu(gate) * up))


@pytest.mark.parametrize("scale", [1.0, 1e-4])  # at 1e-4, eps matters
def test_rms_norm_gradient(scale):
    norm = RMSNorm(6, eps=1e-6).double()
    x, weight = random(2, 3, 6).detach().mul(scale).requires_grad_(), random(6, seed=1)
    wanted = torch.autograd.grad(F.rms_norm(x, (6,), weight, 1e-6).pow(3).sum(), (x, weight))
    norm.weight = torch.nn.Parameter(weight.detach())
    actual = torch.autograd.grad(norm(x).pow(3).sum(), (x, norm.weight))
    for gradient, expected in zip(actual, wanted, strict=True):
        torch.testing.assert_close(gradient, expected, rtol=1e-9, atol=0)


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
@pytest.mark.parametrize("tokens", [7, 300])  # one block of queries, and several
def test_matmul_attention_equals_fused_kernel(kv_heads, tokens):
    q, k, v = (random(2, heads, tokens, 8, seed=seed) for seed, heads in enumerate((4, kv_heads, kv_heads)))
    mask = torch.full((tokens, tokens), -torch.inf, dtype=torch.float64).triu(1)
    actual, expected = matmul_attention(q, k, v, mask, before=0), causal_attention(0, q, k, v)
    torch.testing.assert_close(actual, expected)
    weight = torch.linspace(-1, 1, actual.numel(), dtype=torch.float64).view_as(actual)
    for one, other in zip(
        *(torch.autograd.grad((x * weight).sum(), (q, k, v)) for x in (actual, expected)), strict=True
    ):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("tokens", [4, 300])
def test_bfloat16_prefix_attention_is_close_to_float32(tokens):
    prompt_mask = torch.tensor([[True, True, True], [True, False, False]])
    q, k, v = (random(2, heads, tokens, 8, seed=heads).detach().float() for heads in (4, 2, 2))
    keys, values = (random(2, 2, 3, 8, seed=seed).detach().float() for seed in (5, 6))
    exact = PrefixAttention([keys], [values], prompt_mask, tokens)(0, q, k, v)
    q, k, v, keys, values = (x.bfloat16() for x in (q, k, v, keys, values))
    torch.testing.assert_close(
        PrefixAttention([keys], [values], prompt_mask, tokens)(0, q, k, v).float(), exact, rtol=0.05, atol=0.03
    )
