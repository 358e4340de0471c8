"""Chunked log-probabilities equal log_softmax over all logits, gradients too, without holding all logits."""

from __future__ import annotations

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from r1kit.learn import logprobs
from r1kit.learn.logprobs import token_logprobs, token_logprobs_and_entropy

N, D, V = 53, 12, 97


class LargestTensor(TorchDispatchMode):
    """Records the largest number of elements in any operation's result, backward pass included."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(tensor, torch.Tensor):
                self.elements = max(self.elements, tensor.numel())
        return result


def inputs(seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(N, D, generator=generator).requires_grad_()
    head = torch.randn(V, D, generator=generator).requires_grad_()
    return hidden, head, torch.randint(V, (N,), generator=generator), torch.randn(N, generator=generator)


@pytest.mark.parametrize("temperature", [1.0, 0.6, 2.0])
@pytest.mark.parametrize("chunk", [1, V, 10 * V, 26 * V + 5, N * V, 2**24])  # rows per chunk: 1, 1, 10, 26, all, all
def test_logprobs_equal_log_softmax_of_all_logits(monkeypatch, chunk, temperature):
    monkeypatch.setitem(logprobs.CHUNK_ELEMENTS, "cpu", chunk)
    hidden, head, targets, weights = inputs()
    all_logp = torch.log_softmax(hidden @ head.T / temperature, dim=-1)
    expected = all_logp[torch.arange(N), targets]
    wanted = torch.autograd.grad((expected * weights).sum(), (hidden, head))
    logp, entropy = token_logprobs_and_entropy(hidden, head, targets, temperature)
    torch.testing.assert_close(logp, expected)
    assert torch.equal(token_logprobs(hidden, head, targets, temperature), logp)
    torch.testing.assert_close(entropy, torch.distributions.Categorical(logits=all_logp.detach()).entropy())
    assert not entropy.requires_grad
    for actual, gradient in zip(torch.autograd.grad((logp * weights).sum(), (hidden, head)), wanted, strict=True):
        torch.testing.assert_close(actual, gradient, rtol=1e-5, atol=1e-5)


def test_full_logits_are_never_held(monkeypatch):
    rows = 4
    monkeypatch.setitem(logprobs.CHUNK_ELEMENTS, "cpu", rows * V)
    hidden, head, targets, weights = inputs()
    saved: dict[int, int] = {}  # elements saved for the backward pass, by storage

    def remember(tensor):
        saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes() // 4
        return tensor

    with LargestTensor() as largest, torch.autograd.graph.saved_tensors_hooks(remember, lambda tensor: tensor):
        logp = token_logprobs(hidden, head, targets)
        kept = sum(saved.values())
        (logp * weights).sum().backward()
    assert kept < V * D + N * D + 8 * N < N * V, "saved more than the inputs and a few numbers per position"
    assert largest.elements <= max(rows * V, V * D, N * D) < N * V


def bfloat16_inputs(scale: float):
    hidden, head, targets, weights = inputs()
    hidden, head = ((x.detach() * scale).bfloat16().requires_grad_() for x in (hidden, head))
    return hidden, head, targets, weights


def test_bfloat16_logits_are_computed_in_fp32():
    """Rounded to bfloat16, logits near 30 are off by up to 0.06; `fp32` removes this error."""
    hidden, head, targets, _ = bfloat16_inputs(scale=2.0)
    exact = token_logprobs(hidden.float(), head.float(), targets)
    logp, entropy = token_logprobs_and_entropy(hidden, head, targets)
    assert logp.dtype == entropy.dtype == torch.float32
    torch.testing.assert_close(logp, exact, rtol=1e-6, atol=1e-5)
    rounded = token_logprobs(hidden, head, targets, fp32=False)
    assert rounded.dtype == torch.float32 and 0.02 < (rounded - exact).abs().max() < 0.2


@pytest.mark.parametrize("chunk", [V, 2**24])
def test_fp32_changes_nothing_for_fp32_weights(monkeypatch, chunk):
    monkeypatch.setitem(logprobs.CHUNK_ELEMENTS, "cpu", chunk)
    results = []
    for fp32 in (True, False):
        hidden, head, targets, weights = inputs()
        logp = token_logprobs(hidden, head, targets, 0.7, fp32=fp32)
        results.append([logp, *torch.autograd.grad((logp * weights).sum(), (hidden, head))])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


@pytest.mark.parametrize("fp32", [True, False])
def test_gradient_of_a_bfloat16_matrix_is_summed_in_fp32_over_chunks(monkeypatch, fp32):
    """Summed in bfloat16, over 300 chunks, it would be off by 2 %."""
    generator = torch.Generator().manual_seed(0)
    hidden = (torch.randn(600, 64, generator=generator) + 0.5).bfloat16()
    head = (torch.randn(50, 64, generator=generator) * 0.1).bfloat16().requires_grad_()
    targets = torch.randint(50, (600,), generator=generator)
    exact = head.detach().float().requires_grad_()
    token_logprobs(hidden.float(), exact, targets).sum().backward()
    monkeypatch.setitem(logprobs.CHUNK_ELEMENTS, "cpu", 2 * 50)
    token_logprobs(hidden, head, targets, fp32=fp32).sum().backward()
    assert float((head.grad.float() - exact.grad).norm() / exact.grad.norm()) < 0.004


def test_gradient_of_a_frozen_matrix_is_not_computed(monkeypatch):
    monkeypatch.setitem(logprobs.CHUNK_ELEMENTS, "cpu", 4 * V)
    hidden, head, targets, _ = inputs()
    head.requires_grad_(False)
    token_logprobs(hidden, head, targets).sum().backward()
    assert head.grad is None and hidden.grad is not None


def test_zero_positions():
    hidden, head, targets, _ = inputs()
    logp, entropy = token_logprobs_and_entropy(hidden[:0], head, targets[:0])
    assert logp.shape == entropy.shape == (0,)
    logp.sum().backward()
    assert (hidden.grad == 0).all()
