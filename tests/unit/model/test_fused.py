"""Kernels compute what torch's layers and their gradients do, up to rounding, whatever the number of threads.

`make test-fused` installs numba for these tests.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from r1kit.learn.logprobs import token_logprobs_and_entropy
from r1kit.model.attention import PrefixAttention, causal_attention
from r1kit.model.decoder import Decoder
from r1kit.model.layers import GatedMLP, RMSNorm, Rotary, split_rotated

pytest.importorskip("numba")
from r1kit.model.config import ModelConfig
from r1kit.model.fused import support

pytestmark = pytest.mark.skipif(support.why_not() is not None, reason=str(support.why_not()))
SHAPE = ModelConfig("qwen2", 301, 48, 96, 1, 6, 2, 16)
TOLERANCE = {torch.float32: 2e-6, torch.bfloat16: 0.012}  # relative to the norm of a tensor
DTYPES = pytest.mark.parametrize("dtype", TOLERANCE)


@pytest.fixture(params=[1, 3])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def assert_same(
    compute: Callable[..., tuple[torch.Tensor, ...]], inputs: list[torch.Tensor], dtype: torch.dtype, factor=1
):
    """Compare results and gradients with those in float64, where torch computes."""
    results = []
    for kind in (dtype, torch.float64):
        given = [x.to(dtype).to(kind).requires_grad_() for x in inputs]
        outputs = compute(*given)
        weighted = sum((y.double() * random(*y.shape, seed=7)).sum() for y in outputs)
        results.append([*outputs, *torch.autograd.grad(weighted, given)])
        with torch.no_grad():
            for y, without in zip(outputs, compute(*given), strict=True):
                assert torch.equal(y, without), "the same without gradients"
    for ours, exact in zip(*results, strict=True):
        assert (ours.double() - exact).norm() <= factor * TOLERANCE[dtype] * exact.norm()


@DTYPES
@pytest.mark.parametrize("rows", [(1,), (5, 7)])
def test_norm(dtype, rows, threads):
    def normed(x, gain):
        norm = RMSNorm(48, 1e-6)
        del norm.weight
        norm.weight = gain
        return (norm(x),)

    assert_same(normed, [random(*rows, 48), random(48, seed=1)], dtype)


@DTYPES
def test_gated_mlp(dtype, threads):
    def gated(x, gate_up, down):
        mlp = GatedMLP(SHAPE)
        for linear, weight in ((mlp.gate_up, gate_up), (mlp.down, down)):
            del linear.weight
            linear.weight = weight
        return (mlp(x),)

    assert_same(gated, [random(5, 7, 48), random(192, 48, seed=1), random(48, 96, seed=2)], dtype)


@DTYPES
@pytest.mark.parametrize("transposed", [False, True])
def test_split_rotated(dtype, transposed, threads):
    """Attention may return gradients in another order of dimensions."""

    def split(qkv):
        cos, sin = Rotary(SHAPE)(torch.arange(7).expand(3, 7) + 5, qkv.dtype)
        parts = split_rotated(qkv.unflatten(-1, (10, 16)), cos, sin, 6)
        return tuple(x.transpose(1, 2).contiguous() for x in parts) if transposed else parts

    assert_same(split, [random(3, 7, 160)], dtype)


ATTENTION = pytest.mark.parametrize(("heads", "kv_heads", "tokens"), [(4, 2, 7), (4, 4, 127), (3, 1, 300)])


@ATTENTION
@pytest.mark.parametrize("seed", [0, 10, 20])
def test_attention_behind_prefixes(heads, kv_heads, tokens, seed, threads):
    """Prefixes of several lengths, some of one token; one block of queries, and several."""
    mask_BL = torch.arange(5) < torch.tensor([3, 5, 1])[:, None]

    def mixed(q, k, v, keys, values):
        return (PrefixAttention([keys], [values], mask_BL, tokens)(0, q, k, v),)

    of_tokens = [random(3, count, tokens, 16, seed=seed + i) for i, count in enumerate((heads, kv_heads, kv_heads))]
    of_prefixes = [random(3, kv_heads, 5, 16, seed=seed + i) for i in (3, 4)]
    assert_same(mixed, [*of_tokens, *of_prefixes], torch.bfloat16)


@ATTENTION
@pytest.mark.parametrize("spread", [1.0, 30.0])
def test_causal_attention(heads, kv_heads, tokens, spread, threads):
    inputs = [random(3, count, tokens, 16, seed=i) for i, count in enumerate((heads, kv_heads, kv_heads))]
    assert_same(lambda q, k, v: (causal_attention(0, q * spread, k, v),), inputs, torch.bfloat16, factor=spread)


@DTYPES
@pytest.mark.parametrize("prefix", [0, 40])
def test_weights_of_scores(dtype, prefix, threads):
    """The kernels by themselves, also in float32, where torch's own attention is used."""
    from r1kit.model.fused.attention import scores_gradient, weights_from_scores

    tokens, before, scale = 13, 32, 0.25
    lengths = torch.tensor([prefix // 2, prefix])
    key_S, query_T = torch.arange(prefix + before + tokens + 3), torch.arange(tokens)[:, None]
    is_own = (key_S >= prefix) & (key_S <= prefix + before + query_T)
    seen = ((key_S < lengths[:, None, None]) & (key_S < prefix) | is_own)[:, None, None]  # [2, 1, 1, T, S]
    scores = (random(2, 3, 2, tokens, len(key_S)) * 9).to(dtype).double().requires_grad_()
    exact = torch.softmax((scores * scale).masked_fill(~seen, -torch.inf), -1)
    weights = scores.detach().to(dtype)
    weights_from_scores(weights, lengths, prefix, before, tokens, scale)
    assert ((weights != 0) <= seen).all()
    assert (weights - exact).norm() <= TOLERANCE[dtype] * exact.norm()
    grad = random(*exact.shape, seed=1).to(dtype)
    (wanted,) = torch.autograd.grad((exact * grad.double()).sum(), scores)
    scores_gradient(weights, grad, prefix + before, tokens, scale)
    assert (grad - wanted).norm() <= 2 * TOLERANCE[dtype] * wanted.norm()


def test_attention_of_a_row_depends_on_no_other_row():
    from r1kit.model.fused.attention import weights_from_scores

    scores, lengths = random(4, 6, 40).bfloat16(), torch.tensor([3, 9, 1, 9])
    alone = [scores[b : b + 1].clone() for b in range(4)]
    weights_from_scores(scores, lengths, 9, 0, 3, 1.0)
    for b, row in enumerate(alone):
        weights_from_scores(row, lengths[b : b + 1], 9, 0, 3, 1.0)
        assert torch.equal(row[0], scores[b])


def test_recomputed_layers_have_the_same_gradients():
    model, gradients = Decoder(SHAPE), []
    model.init_weights(0)
    model = model.bfloat16()
    for model.recompute in (False, True):
        model.zero_grad()
        model(torch.arange(150)[None].expand(2, -1)).float().pow(3).sum().backward()
        gradients.append([weight.grad for weight in model.parameters()])
    for kept, recomputed in zip(*gradients, strict=True):
        assert kept is recomputed is None or torch.equal(kept, recomputed)


def test_scores_that_are_no_numbers_give_such_weights():
    from r1kit.model.fused.attention import weights_from_scores

    scores = random(1, 8, 8)
    scores[0, 5, 2] = torch.nan
    scores[0, 3, 7] = torch.nan  # not seen
    weights_from_scores(scores, torch.zeros(1, dtype=torch.long), 0, 0, 8, 1.0)
    assert scores[0, 5, :6].isnan().all()
    assert scores[0, [0, 1, 2, 3, 4, 6, 7]].isfinite().all()


@DTYPES
@pytest.mark.parametrize("temperature", [1.0, 0.6])
@pytest.mark.parametrize("spread", [1.0, 30.0])
def test_logprobs(dtype, temperature, spread, threads):
    targets = torch.randint(301, (29,), generator=torch.Generator().manual_seed(3))

    def logprobs(hidden, head):
        if hidden.dtype == torch.float64:
            return (torch.log_softmax(hidden @ head.T / temperature, -1)[torch.arange(29), targets],)
        return token_logprobs_and_entropy(hidden, head, targets, temperature)[:1]

    assert_same(logprobs, [random(29, 48), random(301, 48, seed=1) * spread], dtype, factor=spread)


def test_entropy_is_that_of_the_distribution():
    hidden, head = random(29, 48), random(301, 48, seed=1)
    _, entropy = token_logprobs_and_entropy(hidden, head, torch.zeros(29, dtype=torch.long), 0.7)
    torch.testing.assert_close(entropy, torch.distributions.Categorical(logits=hidden @ head.T / 0.7).entropy())


@pytest.mark.parametrize("number", [torch.nan, torch.inf])
def test_logprobs_that_are_no_numbers_stay_so(number):
    hidden = random(4, 48)
    hidden[1, 3] = number
    hidden.requires_grad_()
    logp, _ = token_logprobs_and_entropy(hidden, random(301, 48, seed=1), torch.arange(4))
    assert logp.isnan().tolist() == [False, True, False, False]
    (grad,) = torch.autograd.grad(logp.sum(), hidden)
    assert grad[1].isnan().all() and grad[[0, 2, 3]].isfinite().all()


def test_kernels_are_used(monkeypatch):
    from r1kit.model.fused import layers

    monkeypatch.setattr(layers, "gated_silu", lambda gate_up: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        GatedMLP(SHAPE)(random(2, 48))
