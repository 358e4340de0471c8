"""Kernels compute what torch's layers and their gradients do, up to rounding, whatever the number of threads.

`make test-fused` installs numba for these tests.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from r1kit.learn.logprobs import token_logprobs_and_entropy
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
