"""Engines sample the same tokens as a naive loop, independent of what shares the batch.

Exact comparisons run in float64, where the order of sums changes no sampled token: any difference is a bug.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from random import Random
from typing import Any

import pytest
import torch

from r1kit.engine.base import Request, SamplingParams
from r1kit.engine.blocks import DECODE_BLOCK
from r1kit.engine.native import NativeEngine
from r1kit.engine.sampler import row_key, sample
from r1kit.engine.scripted import ScriptedEngine
from r1kit.errors import UserError
from r1kit.types import Completion

EOS = (0, 5, 17, 101)
PARAMS = SamplingParams(seed=11, max_tokens=70, temperature=0.9, top_p=0.97, top_k=150)


@pytest.fixture(scope="module")
def model(make_decoder):
    return make_decoder(2, eos_token_ids=EOS).double()


@pytest.fixture(scope="module")
def requests(tokenizer) -> list[Request]:
    """Prompts of 1 to 150 tokens, groups of 1 to 9: 40 rows."""
    rng = Random(0)
    shapes = zip((4, 150, 1, 16, 33, 7, 90, 17), (3, 5, 9, 4, 1, 8, 2, 8), strict=True)
    return [
        Request(f"prompt-{i}", tuple(rng.randrange(1, len(tokenizer)) for _ in range(length)), samples)
        for i, (length, samples) in enumerate(shapes)
    ]


@pytest.fixture(scope="module")
def expected(model, tokenizer, requests) -> list[Completion]:
    return NativeEngine(model, tokenizer).generate(requests, PARAMS)


@torch.no_grad()
def naive_loop(model, request: Request, index: int, params: SamplingParams, stops=EOS) -> tuple[list[int], list[float]]:
    """Sample token by token, with a forward pass over the full sequence each time."""
    tokens, logps = [], []
    while len(tokens) < params.max_tokens:
        hidden = model(torch.tensor([[*request.token_ids, *tokens]]))[:, -1]
        key = torch.tensor([row_key(params.seed, request.prompt_id, index)])
        token, logp = sample(model.logits(hidden), key, torch.tensor([len(tokens)]), params)
        tokens.append(int(token))
        logps.append(float(logp))
        if tokens[-1] in stops:
            break
    return tokens, logps


def assert_same(actual: list[Completion], expected: list[Completion]) -> None:
    assert [(c.prompt_id, c.sample) for c in actual] == [(c.prompt_id, c.sample) for c in expected]
    for a, b in zip(actual, expected, strict=True):
        assert a.token_ids == b.token_ids, f"{a.prompt_id} sample {a.sample}"
        assert a.logprobs == pytest.approx(b.logprobs, abs=1e-5)
        assert (a.text, a.finish_reason) == (b.text, b.finish_reason)


@pytest.mark.slow
def test_engine_equals_naive_loop(model, requests, expected):
    assert len(expected) == 40
    assert sum(len(c.token_ids) for c in expected) > 1000
    samples = [(request, index) for request in requests for index in range(request.samples)]
    for (request, index), completion in list(zip(samples, expected, strict=True))[::2]:
        tokens, logps = naive_loop(model, request, index, PARAMS)
        assert (completion.prompt_id, completion.sample) == (request.prompt_id, index)
        assert list(completion.token_ids) == tokens
        assert list(completion.logprobs) == pytest.approx(logps, abs=1e-5)


def test_completions_end_at_any_eos_token_or_at_max_tokens(expected, tokenizer):
    stopped = [c for c in expected if c.finish_reason == "stop"]
    truncated = [c for c in expected if c.finish_reason == "length"]
    assert len({c.token_ids[-1] for c in stopped}) > 1
    assert len(truncated) > 2
    for completion in expected:
        ids = completion.token_ids
        assert len(ids) == len(completion.logprobs) <= PARAMS.max_tokens and not set(ids[:-1]) & set(EOS)
        assert (ids[-1] in EOS) == (completion.finish_reason == "stop")
        assert completion.finish_reason == "stop" or len(ids) == PARAMS.max_tokens
        kept = ids[:-1] if ids[-1] in EOS else ids
        assert completion.text == tokenizer.decode(kept, skip_special_tokens=True)


@pytest.mark.parametrize("max_concurrent", [1, 3, 7, 16, 512])
@pytest.mark.slow
def test_max_concurrent_does_not_change_completions(model, tokenizer, requests, expected, max_concurrent):
    engine = NativeEngine(model, tokenizer, max_concurrent)
    if max_concurrent == 1:  # slow: fewer requests
        requests, expected = requests[1:3], expected[3:17]
    assert_same(engine.generate(requests, PARAMS), expected)


def test_on_finished_is_called_once_per_completion(model, tokenizer, requests, expected):
    finished: list[Completion] = []
    completions = NativeEngine(model, tokenizer, 10).generate(requests, PARAMS, finished.append)
    assert_same(completions, expected)
    assert sorted(map(id, finished)) == sorted(map(id, completions))
    assert finished != completions, "in the order in which they finish"


@pytest.mark.slow
def test_batch_composition_and_order_do_not_change_completions(model, tokenizer, requests, expected):
    engine = NativeEngine(model, tokenizer)
    by_prompt = {r.prompt_id: [c for c in expected if c.prompt_id == r.prompt_id] for r in requests}
    for request in requests:  # alone
        assert_same(engine.generate([request], PARAMS), by_prompt[request.prompt_id])
    for seed in range(3):  # shuffled subsets, admitted in parts
        mixed = Random(seed).sample(requests, k=8 - seed)
        completions = NativeEngine(model, tokenizer, 10).generate(mixed, PARAMS)
        assert_same(completions, [c for request in mixed for c in by_prompt[request.prompt_id]])


def record_shapes(model, monkeypatch) -> list[tuple[int, int]]:
    """Record (rows, tokens) of every later call of the decoder or of a copy."""
    shapes, forward = [], type(model).forward

    def recording(self, tokens_BT, *rest, **named):
        shapes.append(tuple(tokens_BT.shape))
        return forward(self, tokens_BT, *rest, **named)

    monkeypatch.setattr(type(model), "forward", recording)
    return shapes


def test_common_prefix_does_not_change_completions(model, tokenizer, requests, monkeypatch):
    template, shapes = tuple(range(1, 113)), record_shapes(model, monkeypatch)
    prefixed = [replace(request, token_ids=template + request.token_ids) for request in requests[2:6]]
    engine = NativeEngine(model, tokenizer)
    together = engine.generate(prefixed, PARAMS)
    assert shapes[0] == (1, len(template)), "the prefix is computed first and once"
    assert_same(together, [c for request in prefixed for c in engine.generate([request], PARAMS)])


@pytest.mark.parametrize(("temperature", "computed_share"), [(0.02, 0.3), (0.1, 0.6), (0.3, 1.0)])
@pytest.mark.parametrize("max_copied_suffix", [0, 1000])
@pytest.mark.slow
def test_identical_completions_are_computed_once(
    model, tokenizer, requests, monkeypatch, temperature, computed_share, max_copied_suffix
):
    """With prompt suffixes shared or copied, and rows that split early or late."""
    monkeypatch.setattr("r1kit.engine.prefill.MAX_COPIED_SUFFIX", max_copied_suffix)
    params = replace(PARAMS, temperature=temperature, max_tokens=40, top_p=1.0, top_k=0)
    shapes = record_shapes(model, monkeypatch)
    requests = [replace(request, samples=8) for request in requests]
    completions = NativeEngine(model, tokenizer, max_concurrent=20).generate(requests, params)
    assert sum(rows for rows, tokens in shapes if tokens == 1) < computed_share * sum(
        len(c.token_ids) for c in completions
    )
    for completion in completions[::13]:
        request = next(r for r in requests if r.prompt_id == completion.prompt_id)
        tokens, logps = naive_loop(model, request, completion.sample, params)
        assert list(completion.token_ids) == tokens
        assert list(completion.logprobs) == pytest.approx(logps, abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("temperature", [0.05, 0.1, 0.2, 0.4])
def test_completions_may_end_while_rows_split(model, tokenizer, requests, temperature):
    engine = NativeEngine(model, tokenizer)
    engine.stops = set(range(0, len(tokenizer), 2))
    engine.stop_ids = torch.tensor(sorted(engine.stops))
    params = replace(PARAMS, temperature=temperature, max_tokens=20, top_p=1.0, top_k=0)
    requests = [
        replace(request, samples=6, prompt_id=f"{request.prompt_id}-{i}") for request in requests for i in range(9)
    ]
    for completion in engine.generate(requests, params)[::11]:
        request = next(r for r in requests if r.prompt_id == completion.prompt_id)
        assert list(completion.token_ids) == naive_loop(model, request, completion.sample, params, engine.stops)[0]


@pytest.mark.slow
def test_samples_of_a_prompt_may_be_split_over_requests(model, tokenizer, requests, expected):
    split = []
    for request in requests:
        half = request.samples // 2
        split += [replace(request, samples=1, first_sample=i) for i in range(half)]
        split.append(replace(request, samples=request.samples - half, first_sample=half))
    assert_same(NativeEngine(model, tokenizer, 12).generate(split, PARAMS), expected)


def test_completions_depend_on_seed_prompt_and_sample(model, tokenizer, requests):
    engine = NativeEngine(model, tokenizer)
    pair = [requests[0], replace(requests[0], prompt_id="other")]
    completions = engine.generate(pair, PARAMS) + engine.generate(pair[:1], replace(PARAMS, seed=12))
    assert len({c.token_ids for c in completions}) == 9
    same = engine.generate([requests[0], requests[0]], PARAMS)
    assert [c.token_ids for c in same[:3]] == [c.token_ids for c in same[3:]]


@pytest.mark.parametrize("cap", [1, DECODE_BLOCK - 1, DECODE_BLOCK, DECODE_BLOCK + 1, 23])
def test_smaller_max_tokens_truncates_the_same_completions(model, tokenizer, requests, expected, cap):
    completions = NativeEngine(model, tokenizer).generate(requests, replace(PARAMS, max_tokens=cap))
    for short, full in zip(completions, expected, strict=True):
        assert short.token_ids == full.token_ids[:cap]
        ended = full.finish_reason == "stop" and len(full.token_ids) <= cap
        assert short.finish_reason == ("stop" if ended else "length")


def test_float32_logprobs_equal_the_decoders(make_decoder, tokenizer, requests):
    model = make_decoder(2, eos_token_ids=EOS)
    for completion in NativeEngine(model, tokenizer, 13).generate(requests, replace(PARAMS, temperature=0.7))[::3]:
        prompt = next(r.token_ids for r in requests if r.prompt_id == completion.prompt_id)
        with torch.no_grad():
            logits = model.logits(model(torch.tensor([[*prompt, *completion.token_ids]])))[0, len(prompt) - 1 : -1]
        ids = torch.tensor(completion.token_ids)
        logp = torch.log_softmax(logits / 0.7, -1)[torch.arange(len(ids)), ids]
        assert completion.logprobs == pytest.approx(logp.tolist(), abs=1e-5)


def test_bfloat16_logprobs_are_close_to_float32(make_decoder, tokenizer, requests):
    model = make_decoder(2)
    low = NativeEngine(make_decoder(2).bfloat16(), tokenizer).generate(requests[:4], replace(PARAMS, max_tokens=20))
    differences = []
    for completion in low:
        prompt = next(r.token_ids for r in requests if r.prompt_id == completion.prompt_id)
        with torch.no_grad():
            logits = model.logits(model(torch.tensor([[*prompt, *completion.token_ids]])))[0, len(prompt) - 1 : -1]
        ids = torch.tensor(completion.token_ids)
        logp = torch.log_softmax(logits / 0.9, -1)[torch.arange(len(ids)), ids]
        differences += (logp - torch.tensor(completion.logprobs)).abs().tolist()
    assert sum(differences) / len(differences) < 0.2


def test_special_tokens_are_in_token_ids_but_not_in_text(make_decoder, tokenizer):
    """The tokenizer's EOS token ends a completion even if the model's config does not list it; others do not."""
    marked = copy.deepcopy(tokenizer)
    marked.add_tokens(["<|mark|>"], special_tokens=True)
    mark, end = marked.convert_tokens_to_ids("<|mark|>"), marked.eos_token_id
    model = make_decoder(2, eos_token_ids=(), vocab_size=len(marked))
    with torch.no_grad():
        model.embed.weight[[end, mark]] += 2 * model.embed.weight.std()  # make both likely
    completions = NativeEngine(model, marked).generate([Request("p", (7, 8, 9), 30)], replace(PARAMS, temperature=2))
    assert any(mark in c.token_ids for c in completions)
    assert not any("<|" in c.text for c in completions)
    stopped = [c for c in completions if c.finish_reason == "stop"]
    assert stopped
    assert all(c.token_ids[-1] == end for c in stopped)


def test_load_weights_changes_completions_and_their_version(make_decoder, tokenizer, requests):
    engine = NativeEngine(make_decoder(0), tokenizer)
    before = engine.generate(requests[:2], PARAMS)
    assert {c.weights_version for c in before} == {0}
    engine.load_weights(make_decoder(1), 7)
    after = engine.generate(requests[:2], PARAMS)
    assert {c.weights_version for c in after} == {7}
    assert [c.token_ids for c in after] != [c.token_ids for c in before]
    assert_same(after, NativeEngine(make_decoder(1), tokenizer).generate(requests[:2], PARAMS))


def test_generation_saves_no_graph_and_uses_no_global_rng(model, tokenizer, requests, expected):
    torch.manual_seed(1)
    state, saved = torch.get_rng_state(), []
    with torch.autograd.graph.saved_tensors_hooks(saved.append, lambda tensor: tensor):
        assert_same(NativeEngine(model, tokenizer).generate(requests[:3], PARAMS), expected[:17])
    assert not saved
    assert torch.equal(torch.get_rng_state(), state)
    next(NativeEngine(model, tokenizer).finished(requests[:1], PARAMS))
    assert not torch.is_inference_mode_enabled(), "inference mode must not leak to the caller between completions"


@pytest.fixture(params=["native", "scripted"])
def engine(request, model, tokenizer):
    if request.param == "native":
        return NativeEngine(model, tokenizer, max_concurrent=6)
    return ScriptedEngine(tokenizer, lambda prompt, index: f"{prompt} says {'so ' * (index * 7 % 11 * 3)}{index}.")


@pytest.mark.slow
def test_contract_of_every_engine(engine, tokenizer, requests):
    params = replace(PARAMS, max_tokens=24)
    completions = engine.generate(requests, params)
    assert [(c.prompt_id, c.sample) for c in completions] == [
        (r.prompt_id, i) for r in requests for i in range(r.samples)
    ]
    assert {c.finish_reason for c in completions} == {"stop", "length"}
    stops = set(EOS) if isinstance(engine, NativeEngine) else {tokenizer.eos_token_id}
    for completion in completions:
        assert 1 <= len(completion.token_ids) <= 24 and len(completion.logprobs) == len(completion.token_ids)
        assert all(logp <= 0 for logp in completion.logprobs) and not set(completion.token_ids[:-1]) & stops
        assert (completion.finish_reason == "stop") == (completion.token_ids[-1] in stops)
        kept = completion.token_ids[:-1] if completion.finish_reason == "stop" else completion.token_ids
        assert completion.text == tokenizer.decode(kept, skip_special_tokens=True)
    assert engine.generate(requests, params) == completions, "generation is deterministic"
    later = [replace(request, samples=2, first_sample=request.samples - 1) for request in reversed(requests)]
    again = {(c.prompt_id, c.sample): c.token_ids for c in engine.generate(later, params)}
    known = {(c.prompt_id, c.sample): c.token_ids for c in completions}
    assert len(again) == 2 * len(requests) and len(again.keys() & known.keys()) == len(requests)
    assert all(again[key] == known[key] for key in again.keys() & known.keys())
    assert engine.generate([], params) == []
    engine.load_weights(getattr(engine, "model", None), 3)
    assert {c.weights_version for c in engine.generate(requests[:1], params)} == {3}


@pytest.mark.slow
@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")]
)
def test_failed_allocation_lowers_concurrency(model, tokenizer, requests, monkeypatch, capsys, error) -> None:
    expected = NativeEngine(model, tokenizer, max_concurrent=16).generate(requests, PARAMS)
    engine = NativeEngine(model, tokenizer, max_concurrent=16)
    decode, steps = engine._decode, 0

    def fail(*args: Any) -> Any:
        nonlocal steps
        steps += 1
        if len(args[1].completions) > 3 and steps % 2 == 0:  # some completions have tokens, some are finished
            raise error
        return decode(*args)

    monkeypatch.setattr(engine, "_decode", fail)
    finished: list[Completion] = []
    assert engine.generate(requests, PARAMS, finished.append) == expected
    places = [(completion.prompt_id, completion.sample) for completion in finished]
    assert len(places) == len(set(places)) == len(expected), "every completion is reported once"
    assert engine.capacity.completions <= 3
    assert (
        f"continuing with max_concurrent = {engine.capacity.completions} (same completions)" in capsys.readouterr().err
    )
    monkeypatch.setattr(engine, "_decode", lambda *_: (_ for _ in ()).throw(error))
    message = r"sampling one completion at a time; the longest prompt has 150 tokens \(problem prompt-1\)"
    with pytest.raises(UserError, match=message):
        engine.generate(requests, PARAMS)
