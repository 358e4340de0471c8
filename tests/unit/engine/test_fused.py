"""Fused decode steps compute what torch's do, up to rounding, and each row alone.

`make test-fused` installs numba for these tests.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
import torch

from r1kit.engine import blocks, native, sampler
from r1kit.engine.base import Request, SamplingParams
from r1kit.engine.live.base import LiveRequest
from r1kit.engine.live.native import NativeLiveEngine
from r1kit.engine.native import NativeEngine

pytest.importorskip("numba")
from r1kit.engine.fused import choice, kernels, sampling
from r1kit.engine.fused.blocks import _FusedBlock
from r1kit.model.fused import support
from r1kit.model.fused.compiler import array, from_float32, kernel, to_float32
from r1kit.model.fused.layers import gated_silu

pytestmark = pytest.mark.skipif(support.why_not() is not None, reason=str(support.why_not()))
PARAMS = SamplingParams(seed=11, max_tokens=40)
SHAPES = {
    "grouped heads": {},
    "an odd group": {"num_attention_heads": 6, "num_key_value_heads": 2},
    "one key-value head for each": {"num_attention_heads": 4, "num_key_value_heads": 4},
    "norms of heads": {"model_type": "qwen3"},
}


@pytest.fixture
def in_torch(monkeypatch):
    """Switch to torch's decode steps."""

    def switch() -> None:
        monkeypatch.setattr(native, "with_fused_steps", lambda model: model)
        monkeypatch.setattr(blocks, "sample", sampler.sample)

    return switch


def requests_of(lengths, samples, vocabulary, common=0) -> list[Request]:
    rng = Random(0)
    prefix = [rng.randrange(1, vocabulary) for _ in range(common)]
    return [
        Request(f"prompt-{i}", (*prefix, *(rng.randrange(1, vocabulary) for _ in range(length))), samples)
        for i, length in enumerate(lengths)
    ]


def largest_difference(ours, theirs) -> float:
    """The largest difference of log-probabilities up to the first token that differs."""
    differences = []
    for a, b in zip(ours, theirs, strict=True):
        for x, y, p, q in zip(a.token_ids, b.token_ids, a.logprobs, b.logprobs, strict=False):
            if x != y:
                break
            differences.append(abs(p - q))
    assert len(differences) > 300
    return max(differences)


@pytest.mark.slow
@pytest.mark.parametrize("changes", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize(
    ("lengths", "common"),
    [((5, 20, 9), 0), ((5, 20, 9, 30), 160), ((70, 100, 90), 0), ((70, 100, 90), 160)],
    ids=["copied prompts", "a common prefix", "shared prompts", "both"],
)
def test_completions_are_those_of_torch(changes, lengths, common, make_decoder, tokenizer, in_torch):
    model = make_decoder(2, **changes)
    requests = requests_of(lengths, 5, len(tokenizer), common)
    fused = NativeEngine(model, tokenizer).generate(requests, PARAMS)
    in_torch()
    expected = NativeEngine(model, tokenizer).generate(requests, PARAMS)
    same = [a.token_ids == b.token_ids for a, b in zip(fused, expected, strict=True)]
    assert sum(same) >= len(same) - 1, "rounding decides rarely"
    assert 0 < largest_difference(fused, expected) < 1e-4, "equal up to rounding, and not the same path"


@pytest.mark.slow
@pytest.mark.parametrize("common", [0, 160])
def test_bfloat16_differs_by_its_rounding(common, make_decoder, tokenizer, in_torch):
    model = make_decoder(2).bfloat16()
    requests = requests_of((5, 70, 9), 6, len(tokenizer), common)
    fused = NativeEngine(model, tokenizer).generate(requests, PARAMS)
    in_torch()
    assert largest_difference(fused, NativeEngine(model, tokenizer).generate(requests, PARAMS)) < 0.05


@pytest.mark.slow
def test_interrupted_completions_go_on_with_the_same_tokens(make_decoder, tokenizer):
    model, requests = make_decoder(2), requests_of((5, 70, 9, 80), 6, len(tokenizer), 160)
    expected = NativeEngine(model, tokenizer).generate(requests, PARAMS)
    interrupted = NativeEngine(model, tokenizer, max_concurrent=7, kv_cache_tokens=600).generate(requests, PARAMS)
    assert [one.token_ids for one in interrupted] == [one.token_ids for one in expected]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_row_does_not_depend_on_threads_and_other_rows(dtype):
    torch.manual_seed(0)
    rows, capacity, prefix = 21, 48, 32
    q_NHE = torch.randn(rows, 6, 16).to(dtype)
    own_k, own_v = (torch.randn(rows, 2, capacity, 16).to(dtype) for _ in range(2))
    prompt_N, sampled_N = torch.randint(0, 16, (rows,)), torch.randint(1, 32, (rows,))
    slot_N, seen_N = torch.arange(rows), torch.randint(1, prefix, (rows,))
    scores, none = torch.randn(1, 2, rows * 3, prefix).to(dtype), torch.empty(1, 2, 3, 0, dtype=dtype)
    zeros_N = torch.zeros(rows, dtype=torch.long)

    def attend(chosen: slice, threads: int) -> tuple[torch.Tensor, torch.Tensor]:
        grid, mixed = scores.clone(), torch.empty_like(q_NHE[chosen])
        per_row = (x[chosen] for x in (q_NHE, own_k, own_v, prompt_N))
        tensors = (grid, slot_N[chosen], seen_N[chosen], none, zeros_N[chosen], zeros_N[chosen], mixed)
        kernels.attend(*map(array, per_row), 16, array(sampled_N[chosen]), *map(array, tensors), threads)
        return grid, mixed

    weights, mixed = attend(slice(None), 1)
    for threads in (2, 3, 40):
        assert all(torch.equal(a, b) for a, b in zip(attend(slice(None), threads), (weights, mixed), strict=True))
    assert torch.equal(attend(slice(7, 9), 1)[1], mixed[7:9])
    seen = torch.arange(prefix) < seen_N[:, None]
    assert not weights[0].unflatten(1, (rows, 3)).transpose(0, 1)[~seen[:, None, None].expand(-1, 2, 3, -1)].any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_sampling_is_that_of_torch(dtype):
    torch.manual_seed(0)
    logits_NV = (torch.randn(60, 1000) * 3).to(dtype)
    logits_NV[:, ::3] = -torch.inf
    row_R, keys_R = torch.arange(3000) % 60, torch.randint(2**62, (3000,))
    positions_R = torch.randint(5000, (3000,))
    params = SamplingParams(0, 1, temperature=0.7)
    tokens_R, logp_R = choice.sample(logits_NV, keys_R, positions_R, params, row_R)
    expected_R, expected_logp_R = sampler.sample(logits_NV, keys_R, positions_R, params, row_R)
    assert (tokens_R == expected_R).float().mean() > 0.998, "rounding decides rarely"
    same = tokens_R == expected_R
    torch.testing.assert_close(logp_R[same], expected_logp_R[same], rtol=1e-5, atol=1e-5)
    assert bool((tokens_R % 3 != 0).all()), "a token without probability was sampled"


@pytest.mark.parametrize("number", [0.0, 2.0**-53, 1 - 2.0**-24, 1 - 2.0**-53])
def test_tokens_of_probability_zero_are_never_sampled(number, monkeypatch):
    logits_NV = torch.full((1, 1000), -torch.inf)
    logits_NV[0, 300:420] = 0
    monkeypatch.setattr(sampling, "uniform", lambda keys, positions: torch.full((1,), number, dtype=torch.float64))
    token_R, logp_R = choice.sample(logits_NV, torch.tensor([1]), torch.tensor([0]), PARAMS, None)
    assert int(token_R) == (419 if number > 0.5 else 300)
    torch.testing.assert_close(logp_R.exp(), torch.tensor([1 / 120]))


def test_nan_stays_nan():
    _, logp_R = choice.sample(torch.full((2, 300), torch.nan), torch.arange(2), torch.arange(2), PARAMS, None)
    assert bool(logp_R.isnan().all())


@kernel
def _copy(x, y):
    for i in range(len(x)):
        y[i] = from_float32(to_float32(x[i]), y)


def test_bfloat16_is_rounded_as_torch_rounds():
    edges = [0.0, -0.0, torch.inf, -torch.inf, torch.nan, 3.4e38, 1e-40, 1.00390625, 1.01171875]
    x = torch.cat((torch.tensor(edges), torch.randn(1000) * torch.logspace(-30, 30, 1000)))
    rounded, exact = torch.empty(len(x), dtype=torch.bfloat16), torch.empty(len(x))
    _copy(array(x), array(rounded))
    _copy(array(x.bfloat16()), array(exact))
    torch.testing.assert_close(rounded, x.bfloat16(), rtol=0, atol=0, equal_nan=True)
    torch.testing.assert_close(exact, x.bfloat16().float(), rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_silu_for_numbers_of_all_sizes(dtype):
    gate_up = torch.cat((torch.linspace(-200, 200, 401), torch.ones(401)))[None].to(dtype)
    gated = gated_silu(gate_up)
    expected = torch.nn.functional.silu(gate_up[:, :401].double())
    torch.testing.assert_close(gated.double(), expected, rtol=1e-5 if dtype == torch.float32 else 2**-8, atol=1e-35)


@pytest.mark.parametrize("reason", ["disabled", "no numba", "no OpenMP"])
def test_without_kernels_torch_decodes(reason, monkeypatch, make_decoder):
    support.why_not.cache_clear()
    if reason == "disabled":
        monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    elif reason == "no numba":
        monkeypatch.setattr(support, "find_spec", lambda name: None)
    else:
        monkeypatch.setattr(support, "openmp", lambda: None)
    model = make_decoder(2)
    assert support.why_not() and choice.with_fused_steps(model) is model
    support.why_not.cache_clear()
    monkeypatch.undo()
    assert choice.with_fused_steps(model) is not model
    assert choice.with_fused_steps(model.double()) is model, "no float64 kernels"


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("tied", [True, False])
def test_live_engines_are_fused_and_agree_with_torch(dtype, tied, make_decoder, tokenizer, in_torch):
    """Prompts of one request, so that the live engine computes them as the other does."""
    model = make_decoder(2, tie_word_embeddings=tied).to(dtype)
    live = NativeLiveEngine(model, tokenizer)
    assert type(live.model.blocks[0]) is _FusedBlock
    prompt = requests_of((20,), 1, len(tokenizer))[0]
    live.add(LiveRequest("r", prompt.token_ids, PARAMS, samples=20, prompt_id=prompt.prompt_id))
    sampled: dict[int, list[int]] = {}
    while live.has_work:
        for delta in live.step():
            sampled.setdefault(delta.sample, []).extend(delta.token_ids)
    in_torch()
    expected = NativeEngine(model, tokenizer).generate([replace(prompt, samples=20)], PARAMS)
    same = [list(completion.token_ids) == sampled[completion.sample] for completion in expected]
    assert sum(same) >= (len(same) - 1 if dtype == torch.float32 else len(same) // 4), "rounding decides rarely"
