"""The budget of the KV cache decides when completions run, and not what they are."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from r1kit.engine import prefill
from r1kit.engine.base import Request, SamplingParams
from r1kit.engine.batch import Batch
from r1kit.engine.native import NativeEngine
from r1kit.engine.schedule import Schedule

EOS = (0, 5)
PARAMS = SamplingParams(seed=3, max_tokens=60, temperature=0.9)


@pytest.fixture(scope="module")
def model(make_decoder):
    return make_decoder(1, eos_token_ids=EOS).double()  # sums in another order change no sampled token


@pytest.fixture(scope="module")
def requests(tokenizer) -> list[Request]:
    rng = Random(0)
    return [
        Request(f"p{i}", tuple(rng.randrange(1, len(tokenizer)) for _ in range(length)), samples)
        for i, (length, samples) in enumerate(((3, 4), (40, 3), (17, 1), (30, 4)))
    ]


@pytest.fixture
def watched(monkeypatch) -> dict[str, int]:
    """Count interruptions, and record the largest cache of more than one row, in tokens."""
    seen = {"interrupted": 0, "tokens": 0, "rows": 0}
    update, interrupt = Schedule.update, Batch.interrupt_shortest

    def watching(self, batch):
        batch = update(self, batch)
        if batch is not None and len(batch.completions) > 1:
            rows = max(batch.cache.allocated_rows, len(batch.completions))
            tokens = rows * batch.cache.row_tokens(self.steps) + batch.cache.shared_tokens
            seen["tokens"], seen["rows"] = max(seen["tokens"], tokens), max(seen["rows"], rows)
        return batch

    def counting(self, kept):
        removed = interrupt(self, kept)
        seen["interrupted"] += len(removed)
        return removed

    monkeypatch.setattr(Schedule, "update", watching)
    monkeypatch.setattr(Batch, "interrupt_shortest", counting)
    return seen


@pytest.mark.parametrize(("template", "copied_suffix"), [(0, 0), (160, 0), (160, 64)])
def test_budget_bounds_the_cache_and_changes_no_completion(
    model, tokenizer, requests, monkeypatch, watched, template, copied_suffix
):
    """With and without a common prefix, with prompts shared by rows and copied to them."""
    monkeypatch.setattr(prefill, "MAX_COPIED_SUFFIX", copied_suffix)
    requests = [replace(request, token_ids=tuple(range(1, template + 1)) + request.token_ids) for request in requests]
    expected = NativeEngine(model, tokenizer).generate(requests, PARAMS)
    watched.update(tokens=0, rows=0)
    budget = template + 4 * (PARAMS.max_tokens + 48)
    assert_same(NativeEngine(model, tokenizer, 512, budget).generate(requests, PARAMS), expected)
    assert watched["interrupted"] and watched["tokens"] <= budget
    assert watched["rows"] > 4, "short completions take less room"


def test_a_completion_larger_than_the_budget_runs_alone(model, tokenizer, requests, watched):
    expected = NativeEngine(model, tokenizer).generate(requests[1:3], PARAMS)
    watched.update(rows=0)
    assert_same(NativeEngine(model, tokenizer, 512, 1).generate(requests[1:3], PARAMS), expected)
    assert not watched["rows"] and not watched["interrupted"]


def test_budget_that_fits_everything_interrupts_nothing(model, tokenizer, requests, watched):
    NativeEngine(model, tokenizer, 512, 12 * (60 + 16 + 48) + 4 * 48).generate(requests, PARAMS)
    assert not watched["interrupted"] and watched["rows"] == 12


def assert_same(actual, expected):
    assert [(c.prompt_id, c.sample, c.token_ids) for c in actual] == [
        (c.prompt_id, c.sample, c.token_ids) for c in expected
    ]
    for a, b in zip(actual, expected, strict=True):
        assert a.logprobs == pytest.approx(b.logprobs, abs=1e-5)
