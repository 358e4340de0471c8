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
    monkeypatch.setattr(logprobs, "CHUNK_ELEMENTS", chunk)
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
    monkeypatch.setattr(logprobs, "CHUNK_ELEMENTS", rows * V)
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


def test_logprobs_of_bfloat16_weights_are_fp32():
    hidden, head, targets, _ = inputs()
    logp, entropy = token_logprobs_and_entropy(hidden.bfloat16(), head.bfloat16(), targets)
    assert logp.dtype == entropy.dtype == torch.float32
    exact = token_logprobs(hidden.bfloat16().float(), head.bfloat16().float(), targets)
    torch.testing.assert_close(logp, exact, rtol=0.02, atol=0.1)


def test_zero_positions():
    hidden, head, targets, _ = inputs()
    logp, entropy = token_logprobs_and_entropy(hidden[:0], head, targets[:0])
    assert logp.shape == entropy.shape == (0,)
    logp.sum().backward()
    assert (hidden.grad == 0).all()
