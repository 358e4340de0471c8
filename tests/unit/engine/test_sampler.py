"""Counter-based sampling: random numbers are uniform and reproducible, tokens follow their distribution."""

from __future__ import annotations

import math

import pytest
import torch

from r1kit.engine import sampler
from r1kit.engine.base import SamplingParams
from r1kit.engine.sampler import Allowed, RowSampling, row_key, sample, top_logprobs, truncate, uniform

INF = math.inf


def keys_of(count: int, seed: int = 0) -> torch.Tensor:
    return torch.tensor([row_key(seed, f"p{i // 16}", i % 16) for i in range(count)])


def splitmix64(key: int, position: int) -> int:
    """Steele, Lea and Flood (2014), in Python's own integers."""
    mask = 2**64 - 1
    z = (key + (position + 1) * 0x9E3779B97F4A7C15) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return z ^ (z >> 31)


def test_uniform_equals_splitmix64():
    known = [6457827717110365317, 3203168211198807973, 9817491932198370423]  # published outputs for seed 1234567
    assert [splitmix64(1234567, i) for i in range(3)] == known
    positions = torch.tensor([0, 1, 2, 31, 70_000, 2**31])
    for key in (0, 1234567, 2**63 - 1, *keys_of(20).tolist()):
        expected = [(splitmix64(key, p) >> 11) * 2.0**-53 for p in positions.tolist()]
        assert uniform(torch.full_like(positions, key), positions).tolist() == expected


def test_uniform_numbers_are_uniform_and_uncorrelated():
    keys, positions = keys_of(300), torch.arange(300)
    grid = uniform(keys[:, None].expand(300, 300), positions[None].expand(300, 300))
    count = grid.numel()
    assert grid.min() >= 0 and grid.max() < 1
    assert len(grid.flatten().unique()) == count
    ordered = grid.flatten().sort().values  # Kolmogorov-Smirnov, 1 % level
    distance = (ordered - (torch.arange(count) + 0.5) / count).abs().max() + 0.5 / count
    assert distance < 1.63 / count**0.5
    neighbours = ((grid[:, 1:], grid[:, :-1]), (grid[1:], grid[:-1]))  # next position, next sample
    for a, b in neighbours:
        assert abs(float(torch.corrcoef(torch.stack((a.flatten(), b.flatten())))[0, 1])) < 4 / count**0.5
    pairs = (grid[:, 1:] * 10).long() * 10 + (grid[:, :-1] * 10).long()
    assert chi_square(torch.bincount(pairs.flatten(), minlength=100), torch.full((100,), 0.01))


def chi_square(counts: torch.Tensor, probabilities: torch.Tensor) -> bool:
    """Whether chi-square is within five standard deviations, and tokens of probability zero do not occur."""
    possible = probabilities > 0
    if counts[~possible].sum():
        return False
    expected = probabilities[possible].double() * counts.sum()
    statistic = float(((counts[possible] - expected) ** 2 / expected).sum())
    freedom = int(possible.sum()) - 1
    return statistic <= freedom + 5 * (2 * freedom) ** 0.5


def test_row_keys_depend_on_seed_prompt_and_sample():
    keys = [row_key(seed, prompt, s) for seed in range(8) for prompt in ("a", "b", "a:1", "1") for s in range(64)]
    assert len(set(keys)) == len(keys) and all(0 <= key < 2**63 for key in keys)
    assert row_key(3, "p", 5) == row_key(3, "p", 5)
    assert row_key(3, "p:5", 5) != row_key(3, "p", 55) and row_key(35, "p", 5) != row_key(3, "5p", 5)


LOGITS = torch.tensor([2.0, 1.0, 0.0, -1.0, 1.5, -INF, -3.0, 0.5])


def sample_counts(logits: torch.Tensor, count: int, **params) -> torch.Tensor:
    keys = keys_of(count)
    tokens, _ = sample(logits.expand(count, -1), keys, torch.arange(count) % 7, SamplingParams(0, 8, **params))
    return torch.bincount(tokens, minlength=len(logits))


@pytest.mark.parametrize("temperature", [0.3, 0.7, 1.0, 1.8])
def test_frequencies_follow_the_tempered_softmax(temperature):
    counts = sample_counts(LOGITS, 40_000, temperature=temperature)
    assert chi_square(counts, torch.softmax(LOGITS / temperature, -1))
    assert not chi_square(counts, torch.softmax(LOGITS / (temperature * 1.1), -1)), (
        "the test must detect small differences"
    )


# softmax of LOGITS in order: tokens 0 (0.43), 4 (0.26), 1 (0.16), 7 (0.10), 2 (0.06), 3 (0.02), 6 (0.003)
@pytest.mark.parametrize(
    ("top_p", "top_k", "kept"),
    [
        (1.0, 3, {0, 4, 1}),
        (1.0, 1, {0}),
        (1.0, 99, {0, 1, 2, 3, 4, 6, 7}),
        (0.4, 0, {0}),
        (0.5, 0, {0, 4}),  # 0.43 is below 0.5; with the second token it is above
        (0.8, 0, {0, 4, 1}),
        (0.95, 0, {0, 4, 1, 7, 2}),
        (0.95, 2, {0, 4}),
        (0.5, 5, {0, 4}),
        (1e-9, 0, {0}),
    ],
)
def test_top_p_and_top_k_keep_the_largest_tokens_in_proportion(top_p, top_k, kept):
    probabilities = torch.softmax(LOGITS, -1)
    cut = truncate(probabilities[None], top_p, top_k)[0]
    inside = torch.tensor([i in kept for i in range(len(LOGITS))])
    assert torch.equal(cut, torch.where(inside, probabilities, 0.0))
    counts = sample_counts(LOGITS, 10_000, top_p=top_p, top_k=top_k)
    assert chi_square(counts, cut / cut.sum())


def test_ties_are_resolved_in_favour_of_first_tokens():
    cut = truncate(torch.full((2, 8), 0.125), 1.0, 3)
    assert (cut > 0).tolist() == [[True] * 3 + [False] * 5] * 2
    assert int((truncate(torch.full((1, 8), 0.125), 0.5, 0) > 0).sum()) == 4  # exactly half


def test_greedy_takes_the_largest_logit_for_every_seed():
    logits = torch.tensor([[0.0, 3.0, 1.0], [5.0, 5.0, 1.0]])
    for seed in range(20):
        tokens, logp = sample(logits, keys_of(2, seed), torch.tensor([0, 9]), SamplingParams(seed, 8, 0.0, 0.1, 2))
        assert tokens.tolist() == [1, 0]
        torch.testing.assert_close(logp, torch.log_softmax(logits, -1)[[0, 1], [1, 0]])


@pytest.mark.parametrize(("temperature", "top_p", "top_k"), [(1.0, 1.0, 0), (0.6, 0.9, 0), (2.0, 1.0, 4)])
def test_logp_is_under_tempered_distribution_before_truncation(temperature, top_p, top_k):
    logits = torch.randn(64, 20, generator=torch.Generator().manual_seed(0))
    params = SamplingParams(0, 8, temperature, top_p, top_k)
    tokens, logp = sample(logits, keys_of(64), torch.zeros(64, dtype=torch.long), params)
    expected = torch.log_softmax(logits / temperature, -1)[torch.arange(64), tokens]
    assert len(tokens.unique()) > 5
    torch.testing.assert_close(logp, expected)


def test_token_depends_on_its_own_row_only():
    logits = torch.randn(200, 30, generator=torch.Generator().manual_seed(1))
    keys, positions, params = keys_of(200), torch.arange(200) % 11, SamplingParams(0, 8, 1.0, 0.9, 12)
    tokens, _ = sample(logits, keys, positions, params)
    order = torch.randperm(200, generator=torch.Generator().manual_seed(2))
    assert torch.equal(sample(logits[order], keys[order], positions[order], params)[0], tokens[order])
    alone = [int(sample(logits[i : i + 1], keys[i : i + 1], positions[i : i + 1], params)[0]) for i in range(200)]
    assert alone == tokens.tolist()
    assert not torch.equal(sample(logits, keys, positions + 1, params)[0], tokens)
    assert not torch.equal(sample(logits, keys_of(200, seed=1), positions, params)[0], tokens)


EXTREME = {
    "one-hot": ([-INF, -INF, 0.0, -INF], {2}),
    "first and last": ([0.0, -INF, -INF, 0.0], {0, 3}),
    "underflow": ([0.0, -500.0, 0.0, -200.0], {0, 2}),
    "huge": ([1e30, -1e30, -INF, 0.0], {0}),
    "none at the end": ([0.0, 0.0, -INF, -INF], {0, 1}),
    "none at the start": ([-INF, -INF, 0.0, 1.0], {2, 3}),
}


@pytest.mark.parametrize("name", EXTREME)
@pytest.mark.parametrize("number", [0.0, 2.0**-53, 0.5, 1 - 2.0**-24, 1 - 2.0**-53])
def test_tokens_of_probability_zero_are_never_sampled(monkeypatch, name, number):
    logits, possible = torch.tensor([EXTREME[name][0]]), EXTREME[name][1]
    monkeypatch.setattr(sampler, "uniform", lambda keys, positions: torch.full((1,), number, dtype=torch.float64))
    for params in (SamplingParams(0, 8), SamplingParams(0, 8, 0.5, 0.999, 3)):
        tokens, logp = sample(logits, torch.tensor([1]), torch.tensor([0]), params)
        assert int(tokens) in possible and float(logp) > -3
        if number in (0.0, 1 - 2.0**-53) and params.top_k == 0:
            assert int(tokens) == (min(possible) if number == 0 else max(possible))


def test_rounding_of_large_cumulative_sums_stays_in_range():
    """With 150,000 tokens, rounding makes the cumulative sum differ from 1."""
    logits = torch.randn(4, 150_000, generator=torch.Generator().manual_seed(0)) * 3
    logits[:, 140_000:] = -INF
    tokens, logp = sample(logits, keys_of(4), torch.arange(4), SamplingParams(0, 8))
    assert (tokens < 140_000).all() and torch.isfinite(logp).all()


@pytest.mark.parametrize("vocabulary", [300, 40_000])
def test_parameters_of_rows_give_what_shared_parameters_give(vocabulary):
    """Bit by bit, whatever the parameters of the other rows are."""
    logits = torch.randn(7, vocabulary, generator=torch.Generator().manual_seed(0)) * 4
    choices = [
        (0.0, 1.0, 0),
        (1.0, 1.0, 0),
        (0.6, 0.95, 0),
        (1.3, 1.0, 20),
        (0.7, 0.5, 9),
        (0.0, 0.3, 2),
        (2.0, 1.0, 0),
    ]
    params = [SamplingParams(1, 9, *choice) for choice in choices]
    keys, positions = keys_of(7), torch.arange(7)
    tokens, logprobs = sample(logits, keys, positions, RowSampling.of(params, logits.device))
    for i, each in enumerate(params):
        shared = sample(logits, keys, positions, each)
        assert (int(shared[0][i]), float(shared[1][i])) == (int(tokens[i]), float(logprobs[i]))


def test_only_allowed_tokens_are_sampled_with_the_log_probabilities_of_all():
    logits = torch.randn(64, 50, generator=torch.Generator().manual_seed(0)) * 2
    logits[:, 7] = -300  # of no weight beside the others
    rows = torch.arange(0, 64, 2)
    only = torch.zeros(len(rows), 50, dtype=torch.bool)
    only[:, [3, 7]] = True
    only[0, 3] = False
    for params in (SamplingParams(1, 9, 0.8), SamplingParams(1, 9, 0.0), SamplingParams(1, 9, 1.0, 0.9, 5)):
        keys, positions = keys_of(64), torch.zeros(64, dtype=torch.long)
        free, _ = sample(logits, keys, positions, params)
        tokens, logprobs = sample(logits, keys, positions, params, allowed=Allowed(rows, only))
        assert set(tokens[rows].tolist()) == {3, 7} and int(tokens[0]) == 7
        assert torch.equal(tokens[1::2], free[1::2])
        expected = (logits / (params.temperature or 1)).log_softmax(-1).gather(1, tokens[:, None])[:, 0]
        torch.testing.assert_close(logprobs, expected)


def test_likeliest_tokens_are_those_of_the_tempered_distribution():
    logits = torch.randn(3, 40, generator=torch.Generator().manual_seed(0))
    logprobs, tokens = top_logprobs(logits, torch.full((3, 1), 0.5), 4)
    expected = (logits / 0.5).log_softmax(-1).topk(4)
    assert torch.equal(tokens, expected.indices)
    torch.testing.assert_close(logprobs, expected.values)


def test_the_likeliest_token_is_kept_whatever_top_p_is():
    logits = torch.tensor([[0.0, 3.0, 1.0]])
    for top_p in (1e-50, 1e-9):
        assert truncate(logits.exp(), top_p, 0).nonzero().tolist() == [[0, 1]]


def test_vanishing_temperatures_of_rows_are_greedy_with_finite_log_probabilities():
    logits = torch.tensor([[0.0, 3.0, 1.0]] * 2)
    params = RowSampling.of([SamplingParams(1, 9, 1e-9), SamplingParams(1, 9, 1e-50, 0.5)], logits.device)
    tokens, logprobs = sample(logits, keys_of(2), torch.zeros(2, dtype=torch.long), params)
    assert tokens.tolist() == [1, 1] and logprobs.tolist() == pytest.approx([float(logits[0].log_softmax(-1)[1])] * 2)
