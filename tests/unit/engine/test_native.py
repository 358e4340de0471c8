"""Engines: the same tokens as a naive loop, whatever else runs beside a request.

Exact comparisons run in float64: there the order of sums changes no sampled token, so one difference is one bug.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from random import Random

import pytest
import torch

from r1kit.engine.base import Delta, Request, SamplingParams
from r1kit.engine.native import DECODE_BLOCK, NativeEngine
from r1kit.engine.sampler import row_key, sample
from r1kit.engine.scripted import ScriptedEngine
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
def naive(model, request: Request, index: int, params: SamplingParams, stops=EOS) -> tuple[list[int], list[float]]:
    """One token after another, the whole row through the decoder each time."""
    written, logps = [], []
    while len(written) < params.max_tokens:
        hidden = model(torch.tensor([[*request.token_ids, *written]]))[:, -1]
        key = torch.tensor([row_key(params.seed, request.prompt_id, index)])
        token, logp = sample(model.logits(hidden), key, torch.tensor([len(written)]), params)
        written.append(int(token))
        logps.append(float(logp))
        if written[-1] in stops:
            break
    return written, logps


def assert_same(found: list[Completion], expected: list[Completion]) -> None:
    assert [(c.prompt_id, c.sample) for c in found] == [(c.prompt_id, c.sample) for c in expected]
    for a, b in zip(found, expected, strict=True):
        assert a.token_ids == b.token_ids, f"{a.prompt_id} sample {a.sample}"
        assert a.logprobs == pytest.approx(b.logprobs, abs=1e-5)
        assert (a.text, a.finish_reason) == (b.text, b.finish_reason)


def test_equals_a_naive_loop(model, requests, expected):
    assert len(expected) == 40 and sum(len(c.token_ids) for c in expected) > 1000
    asked = [(request, index) for request in requests for index in range(request.samples)]
    for (request, index), completion in list(zip(asked, expected, strict=True))[::2]:
        tokens, logps = naive(model, request, index, PARAMS)
        assert (completion.prompt_id, completion.sample) == (request.prompt_id, index)
        assert list(completion.token_ids) == tokens
        assert list(completion.logprobs) == pytest.approx(logps, abs=1e-5)


def test_completions_end_at_any_stop_token_or_exactly_at_the_cap(expected, tokenizer):
    stopped = [c for c in expected if c.finish_reason == "stop"]
    cut = [c for c in expected if c.finish_reason == "length"]
    assert len({c.token_ids[-1] for c in stopped}) > 1 and len(cut) > 2
    for completion in expected:
        ids = completion.token_ids
        assert len(ids) == len(completion.logprobs) <= PARAMS.max_tokens and not set(ids[:-1]) & set(EOS)
        assert (ids[-1] in EOS) == (completion.finish_reason == "stop")
        assert completion.finish_reason == "stop" or len(ids) == PARAMS.max_tokens
        kept = ids[:-1] if ids[-1] in EOS else ids
        assert completion.text == tokenizer.decode(kept, skip_special_tokens=True)


@pytest.mark.parametrize("max_concurrent", [1, 3, 7, 16, 512])
def test_how_many_run_at_once_changes_nothing(model, tokenizer, requests, expected, max_concurrent):
    engine = NativeEngine(model, tokenizer, max_concurrent)
    if max_concurrent == 1:  # as slow as it sounds
        requests, expected = requests[1:3], expected[3:17]
    assert_same(engine.generate(requests, PARAMS), expected)


def test_completions_are_told_of_as_they_are_finished(model, tokenizer, requests, expected):
    told: list[Completion] = []
    found = NativeEngine(model, tokenizer, 10).generate(requests, PARAMS, told.append)
    assert_same(found, expected)
    assert sorted(map(id, told)) == sorted(map(id, found)) and told != found, "each once, and not in their order"


def test_company_and_order_change_nothing(model, tokenizer, requests, expected):
    engine = NativeEngine(model, tokenizer)
    by_prompt = {r.prompt_id: [c for c in expected if c.prompt_id == r.prompt_id] for r in requests}
    for request in requests:  # alone
        assert_same(engine.generate([request], PARAMS), by_prompt[request.prompt_id])
    for seed in range(3):  # shuffled, some missing, with a small engine's comings and goings
        mixed = Random(seed).sample(requests, k=8 - seed)
        found = NativeEngine(model, tokenizer, 10).generate(mixed, PARAMS)
        assert_same(found, [c for request in mixed for c in by_prompt[request.prompt_id]])


def shapes_computed(model, monkeypatch) -> list[tuple[int, int]]:
    """(rows, tokens) of every call of the decoder from now on, also where the engine works on a copy of it."""
    shapes, forward = [], type(model).forward

    def noted(self, tokens_BT, *rest, **named):
        shapes.append(tuple(tokens_BT.shape))
        return forward(self, tokens_BT, *rest, **named)

    monkeypatch.setattr(type(model), "forward", noted)
    return shapes


def test_a_shared_beginning_changes_nothing(model, tokenizer, requests, monkeypatch):
    template, shapes = tuple(range(1, 113)), shapes_computed(model, monkeypatch)
    begun = [replace(request, token_ids=template + request.token_ids) for request in requests[2:6]]
    engine = NativeEngine(model, tokenizer)
    together = engine.generate(begun, PARAMS)
    assert shapes[0] == (1, len(template)), "computed first, and once"
    assert_same(together, [c for request in begun for c in engine.generate([request], PARAMS)])


@pytest.mark.parametrize(("temperature", "computed"), [(0.02, 0.3), (0.1, 0.6), (0.3, 1.0)])
@pytest.mark.parametrize("short", [0, 1000])
def test_answers_are_computed_once_while_they_are_the_same(
    model, tokenizer, requests, monkeypatch, temperature, computed, short
):
    """Whether rows hold the rest of their prompts or share it, and however quickly and unevenly they part."""
    monkeypatch.setattr("r1kit.engine.native.MAX_COPIED_SUFFIX", short)
    params = replace(PARAMS, temperature=temperature, max_tokens=40, top_p=1.0, top_k=0)
    shapes = shapes_computed(model, monkeypatch)
    asked = [replace(request, samples=8) for request in requests]
    found = NativeEngine(model, tokenizer, max_concurrent=20).generate(asked, params)
    assert sum(rows for rows, tokens in shapes if tokens == 1) < computed * sum(len(c.token_ids) for c in found)
    for completion in found[::13]:
        request = next(r for r in asked if r.prompt_id == completion.prompt_id)
        tokens, logps = naive(model, request, completion.sample, params)
        assert list(completion.token_ids) == tokens
        assert list(completion.logprobs) == pytest.approx(logps, abs=1e-5)


@pytest.mark.parametrize("temperature", [0.05, 0.1, 0.2, 0.4])
def test_answers_may_end_while_others_part(model, tokenizer, requests, temperature):
    engine = NativeEngine(model, tokenizer)
    engine.stops = set(range(0, len(tokenizer), 2))
    engine.stop_ids = torch.tensor(sorted(engine.stops))
    params = replace(PARAMS, temperature=temperature, max_tokens=20, top_p=1.0, top_k=0)
    asked = [
        replace(request, samples=6, prompt_id=f"{request.prompt_id}-{i}") for request in requests for i in range(9)
    ]
    for completion in engine.generate(asked, params)[::11]:
        request = next(r for r in asked if r.prompt_id == completion.prompt_id)
        assert list(completion.token_ids) == naive(model, request, completion.sample, params, engine.stops)[0]


def test_samples_may_come_from_several_requests(model, tokenizer, requests, expected):
    split = []
    for request in requests:
        half = request.samples // 2
        split += [replace(request, samples=1, first_sample=i) for i in range(half)]
        split.append(replace(request, samples=request.samples - half, first_sample=half))
    assert_same(NativeEngine(model, tokenizer, 12).generate(split, PARAMS), expected)


def test_seed_prompt_and_sample_all_matter(model, tokenizer, requests):
    engine = NativeEngine(model, tokenizer)
    twins = [requests[0], replace(requests[0], prompt_id="other")]
    answers = engine.generate(twins, PARAMS) + engine.generate(twins[:1], replace(PARAMS, seed=12))
    assert len({c.token_ids for c in answers}) == 9
    same = engine.generate([requests[0], requests[0]], PARAMS)
    assert [c.token_ids for c in same[:3]] == [c.token_ids for c in same[3:]]


@pytest.mark.parametrize("cap", [1, DECODE_BLOCK - 1, DECODE_BLOCK, DECODE_BLOCK + 1, 23])
def test_a_shorter_cap_gives_the_same_beginning(model, tokenizer, requests, expected, cap):
    found = NativeEngine(model, tokenizer).generate(requests, replace(PARAMS, max_tokens=cap))
    for short, full in zip(found, expected, strict=True):
        assert short.token_ids == full.token_ids[:cap]
        ended = full.finish_reason == "stop" and len(full.token_ids) <= cap
        assert short.finish_reason == ("stop" if ended else "length")


def test_single_precision_logprobs_are_those_of_the_plain_decoder(make_decoder, tokenizer, requests):
    model = make_decoder(2, eos_token_ids=EOS)
    for completion in NativeEngine(model, tokenizer, 13).generate(requests, replace(PARAMS, temperature=0.7))[::3]:
        prompt = next(r.token_ids for r in requests if r.prompt_id == completion.prompt_id)
        with torch.no_grad():
            logits = model.logits(model(torch.tensor([[*prompt, *completion.token_ids]])))[0, len(prompt) - 1 : -1]
        ids = torch.tensor(completion.token_ids)
        logp = torch.log_softmax(logits / 0.7, -1)[torch.arange(len(ids)), ids]
        assert completion.logprobs == pytest.approx(logp.tolist(), abs=1e-5)


def test_low_precision(make_decoder, tokenizer, requests):
    """bfloat16: close to what fp32 says about the same tokens, except for rounding."""
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


def test_special_tokens_stay_in_the_ids_and_out_of_the_text(make_decoder, tokenizer):
    """The tokenizer's own end ends an answer even when the model's config does not list it; other marks do not."""
    marked = copy.deepcopy(tokenizer)
    marked.add_tokens(["<|mark|>"], special_tokens=True)
    mark, end = marked.convert_tokens_to_ids("<|mark|>"), marked.eos_token_id
    model = make_decoder(2, eos_token_ids=(), vocab_size=len(marked))
    with torch.no_grad():
        model.embed.weight[[end, mark]] += 2 * model.embed.weight.std()  # both become likely
    answers = NativeEngine(model, marked).generate([Request("p", (7, 8, 9), 30)], replace(PARAMS, temperature=2))
    assert any(mark in c.token_ids for c in answers) and not any("<|" in c.text for c in answers)
    stopped = [c for c in answers if c.finish_reason == "stop"]
    assert stopped and all(c.token_ids[-1] == end for c in stopped)


def test_new_weights_are_used_and_named(make_decoder, tokenizer, requests):
    engine = NativeEngine(make_decoder(0), tokenizer)
    before = engine.generate(requests[:2], PARAMS)
    assert {c.weights_version for c in before} == {0}
    engine.load_weights(make_decoder(1), 7)
    after = engine.generate(requests[:2], PARAMS)
    assert {c.weights_version for c in after} == {7}
    assert [c.token_ids for c in after] != [c.token_ids for c in before]
    assert_same(after, NativeEngine(make_decoder(1), tokenizer).generate(requests[:2], PARAMS))


def test_generation_keeps_no_graph_and_no_global_randomness(model, tokenizer, requests, expected):
    torch.manual_seed(1)
    state, saved = torch.get_rng_state(), []
    with torch.autograd.graph.saved_tensors_hooks(saved.append, lambda nothing: nothing):
        assert_same(NativeEngine(model, tokenizer).generate(requests[:3], PARAMS), expected[:17])
    assert not saved and torch.equal(torch.get_rng_state(), state)
    stream = NativeEngine(model, tokenizer).stream(requests[:1], PARAMS)
    next(stream)
    assert not torch.is_inference_mode_enabled(), "between two deltas the caller's own mode is in force"


@pytest.fixture(params=["native", "scripted"])
def engine(request, model, tokenizer):
    if request.param == "native":
        return NativeEngine(model, tokenizer, max_concurrent=6)
    return ScriptedEngine(
        tokenizer, lambda prompt, index: f"{prompt} says {'so ' * (index * 7 % 11)}and 答案是{index}."
    )


def test_the_contract_of_every_engine(engine, tokenizer, requests):
    params = replace(PARAMS, max_tokens=24)
    answers = engine.generate(requests, params)
    assert [(c.prompt_id, c.sample) for c in answers] == [(r.prompt_id, i) for r in requests for i in range(r.samples)]
    assert {c.finish_reason for c in answers} == {"stop", "length"}
    stops = set(EOS) if isinstance(engine, NativeEngine) else {tokenizer.eos_token_id}
    for answer in answers:
        assert 1 <= len(answer.token_ids) <= 24 and len(answer.logprobs) == len(answer.token_ids)
        assert all(logp <= 0 for logp in answer.logprobs) and not set(answer.token_ids[:-1]) & stops
        assert (answer.finish_reason == "stop") == (answer.token_ids[-1] in stops)
        kept = answer.token_ids[:-1] if answer.finish_reason == "stop" else answer.token_ids
        assert answer.text == tokenizer.decode(kept, skip_special_tokens=True)
    assert engine.generate(requests, params) == answers, "the same question, the same answer"
    later = [replace(request, samples=2, first_sample=request.samples - 1) for request in reversed(requests)]
    found = {(c.prompt_id, c.sample): c.token_ids for c in engine.generate(later, params)}
    known = {(c.prompt_id, c.sample): c.token_ids for c in answers}
    assert len(found) == 2 * len(requests) and len(found.keys() & known.keys()) == len(requests)
    assert all(found[key] == known[key] for key in found.keys() & known.keys())
    assert engine.generate([], params) == []
    engine.load_weights(getattr(engine, "model", None), 3)
    assert {c.weights_version for c in engine.generate(requests[:1], params)} == {3}


def test_streams_are_the_same_tokens(engine, requests):
    params = replace(PARAMS, max_tokens=24)
    written: dict[tuple[str, int], list[int]] = {}
    deltas = 0
    for delta in engine.stream(requests, params):
        assert isinstance(delta, Delta) and delta.token_ids
        written.setdefault((delta.prompt_id, delta.sample), []).extend(delta.token_ids)
        deltas += 1
    answers = engine.generate(requests, params)
    assert written == {(c.prompt_id, c.sample): list(c.token_ids) for c in answers}
    if isinstance(engine, NativeEngine):
        assert deltas == sum(len(c.token_ids) for c in answers), "token by token"
