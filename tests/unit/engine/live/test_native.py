"""A live engine gives each request the answer that it would have alone, whatever comes and goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random

import pytest
import torch

from r1kit.engine.base import Request, SamplingParams
from r1kit.engine.live import blocks
from r1kit.engine.live.base import Constraint, LiveRequest
from r1kit.engine.live.native import NativeLiveEngine
from r1kit.engine.native import NativeEngine
from r1kit.errors import UserError
from r1kit.machine import memory_bytes

TEXTS = ("User: what is 3 + 4?", "Anna has 5 apples and eats 2. ", "Compute 12 * 7 - 5 = ", "The")


def requests(tokenizer, count: int, seed: int = 0, longest: int = 40) -> list[LiveRequest]:
    """Requests that differ in everything that one may choose."""
    rng = Random(seed)
    made = []
    for index in range(count):
        params = SamplingParams(
            seed=rng.randrange(1000),
            max_tokens=rng.randrange(1, longest),
            temperature=rng.choice((0.0, 0.6, 1.0, 1.3)),
            top_p=rng.choice((1.0, 0.95, 0.5)),
            top_k=rng.choice((0, 0, 20)),
            stop=rng.choice(((), (), ("e",), ("an", "7"))),
        )
        token_ids = tuple(tokenizer.encode(rng.choice(TEXTS) * rng.randrange(1, 5)))
        constraint = Constraint("json_object") if index % 7 == 6 else None
        samples = rng.choice((1, 1, 1, 3))
        made.append(LiveRequest(f"r{index}", token_ids, params, samples, top_logprobs=index % 3, constraint=constraint))
    return made


def alone(sprout, asked: Sequence[LiveRequest], run):
    answers = {}
    for request in asked:
        answers |= run(NativeLiveEngine(*sprout), [request])
    return answers


def test_answers_are_those_of_generate(sprout, run):
    asked = [replace(request, constraint=None) for request in requests(sprout[1], 8)]
    answers = run(NativeLiveEngine(*sprout), asked)
    engine = NativeEngine(*sprout)
    for request in asked:
        for completion in engine.generate([Request("question", request.token_ids, request.samples)], request.params):
            answer = answers[request.id, completion.sample]
            assert tuple(answer.token_ids) == completion.token_ids
            assert answer.logprobs == pytest.approx(completion.logprobs, abs=1e-4)
            assert answer.finish_reason == completion.finish_reason


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.slow
def test_arrivals_interruptions_and_cancellations_change_no_bit_of_an_answer(sprout, run, dtype):
    model, tokenizer = sprout
    model = type(model)(model.config).to(dtype)
    model.load_state_dict(sprout[0].state_dict())
    asked, rng = requests(tokenizer, 40, longest=80), Random(5)
    expected = alone((model, tokenizer), asked, run)
    engine = NativeLiveEngine(model, tokenizer, max_concurrent=20, kv_cache_tokens=2500)
    waiting, cancelled = [*asked], set()

    def arrive(answers) -> None:
        for _ in range(rng.randrange(4)):
            if waiting:
                engine.add(waiting.pop())
        if rng.random() < 0.1 and answers:
            cancelled.add(chosen := rng.choice([*answers])[0])
            engine.cancel(chosen)

    answers = run(engine, [waiting.pop()], arrive)
    while waiting:  # the engine was idle before all had arrived
        answers |= run(engine, [waiting.pop()], arrive)
    finished = {place: answer for place, answer in answers.items() if answer.finish_reason is not None}
    assert {place[0] for place in expected.keys() - finished.keys()} <= cancelled and len(finished) > 30
    for place, answer in finished.items():
        assert answer == expected[place]


def test_samples_share_a_prefill_and_differ(sprout, run, monkeypatch):
    calls, prefill = [], NativeLiveEngine._prefill_padded

    def counting(self, groups, *lengths):
        calls.append(len(groups))
        return prefill(self, groups, *lengths)

    monkeypatch.setattr(NativeLiveEngine, "_prefill_padded", counting)
    request = replace(requests(sprout[1], 1)[0], samples=5, params=SamplingParams(seed=3, max_tokens=20))
    answers = run(NativeLiveEngine(*sprout), [request])
    assert calls == [1] and len({tuple(answer.token_ids) for answer in answers.values()}) == 5
    later = run(NativeLiveEngine(*sprout), [replace(request, samples=1, first_sample=4)])
    assert later["r0", 4] == answers["r0", 4]


def test_a_request_joins_a_running_batch_and_leaves_before_it_ends(sprout, run):
    long, short = (
        LiveRequest(name, tuple(sprout[1].encode(TEXTS[1])), SamplingParams(seed=1, max_tokens=n, temperature=1.5))
        for name, n in (("long", 60), ("short", 4))
    )
    engine = NativeLiveEngine(*sprout)
    engine.pace = blocks.THROUGHPUT  # blocks have as many steps on a slow machine
    engine.stop_ids = engine.stop_ids[:0]  # nothing but the length ends an answer
    engine.add(long)
    assert [delta.id for delta in engine.step()] == ["long"]
    engine.add(short)
    deltas = engine.step()
    assert {delta.id: delta.finish_reason for delta in deltas} == {"long": None, "short": "length"}
    assert len(engine.batch.completions) == 1


def test_cancelling_frees_rows_at_once(sprout):
    asked = [replace(request, params=SamplingParams(1, 500)) for request in requests(sprout[1], 6)]
    engine = NativeLiveEngine(*sprout, max_concurrent=4)
    engine.stop_ids = engine.stop_ids[:0]
    for request in asked:
        engine.add(request)
    engine.cancel(asked[5].id)  # waits
    engine.step()
    assert engine.waiting
    for request in asked[:5]:
        engine.cancel(request.id)
    engine.cancel("unknown")
    assert not engine.has_work and engine.batch is None and engine.step() == []


def test_out_of_memory_halves_and_keeps_every_answer(sprout, run, monkeypatch, capsys):
    asked = [replace(request, samples=1) for request in requests(sprout[1], 8)]
    expected = run(NativeLiveEngine(*sprout), asked)
    decode, sizes = blocks.decode_block, []

    def failing(model, batch, *rest):
        sizes.append(len(batch.completions))
        if len(batch.completions) > 4:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")
        return decode(model, batch, *rest)

    monkeypatch.setattr(blocks, "decode_block", failing)
    assert run(NativeLiveEngine(*sprout, max_concurrent=8), asked) == expected
    assert sizes[:2] == [8, 4] and max(sizes[1:]) == 4
    assert "max_concurrent = 4" in capsys.readouterr().err


def test_a_sample_that_does_not_fit_alone_fails_and_later_ones_are_answered(sprout, run, monkeypatch):
    first, second = (replace(request, samples=1) for request in requests(sprout[1], 2))
    decode, failures = blocks.decode_block, [True]

    def failing(*arguments):
        if failures and failures.pop():
            raise MemoryError
        return decode(*arguments)

    monkeypatch.setattr(blocks, "decode_block", failing)
    answers = run(NativeLiveEngine(*sprout, max_concurrent=1), [first, second])
    assert answers[first.id, 0].finish_reason == "error" and "out of memory" in str(answers[first.id, 0].error)
    assert answers[second.id, 0].finish_reason in ("stop", "length")


def test_the_cache_has_a_budget_by_default(sprout):
    tokens = NativeLiveEngine(*sprout).capacity.cache_tokens
    assert tokens * 4 * 128 * 4 == pytest.approx(blocks.CACHE_SHARE * memory_bytes(), rel=0.01)  # layers, width, bytes


def test_requests_that_cannot_be_answered_are_refused_when_added(sprout):
    engine = NativeLiveEngine(*sprout)
    good = requests(sprout[1], 1)[0]
    for bad, message in (
        (replace(good, token_ids=(1,) * 2048), "2,048 positions"),
        (replace(good, token_ids=(768,)), "vocabulary of 768"),
        (replace(good, constraint=Constraint("regex", "((")), "regex"),
    ):
        with pytest.raises(UserError, match=message):
            engine.add(bad)
    assert not engine.has_work


def test_likeliest_tokens_are_of_the_same_distribution(sprout, run):
    request = replace(requests(sprout[1], 1)[0], top_logprobs=5, params=SamplingParams(4, 12, temperature=0.7))
    (answer,) = run(NativeLiveEngine(*sprout), [replace(request, samples=1)]).values()
    assert len(answer.top_logprobs) == len(answer.token_ids)
    for token, logprob, top in zip(answer.token_ids, answer.logprobs, answer.top_logprobs, strict=True):
        assert len(top) == 5 and [p for _, p in top] == sorted((p for _, p in top), reverse=True)
        assert all(p <= 0 for _, p in top) and sum(2.71828**p for _, p in top) <= 1.0001
        if token in dict(top):
            assert dict(top)[token] == pytest.approx(logprob, abs=1e-5)


def test_a_later_turn_has_the_random_numbers_of_its_positions(sprout, run):
    asked = LiveRequest("all", tuple(sprout[1].encode(TEXTS[1])), SamplingParams(seed=3, max_tokens=24), samples=2)
    answers = run(NativeLiveEngine(*sprout), [asked])
    for sample in range(2):
        whole = answers["all", sample].token_ids
        params = replace(asked.params, max_tokens=len(whole) - 9)
        later = replace(asked, token_ids=(*asked.token_ids, *whole[:9]), params=params, first_sample=sample, samples=1)
        other = run(NativeLiveEngine(*sprout), [replace(later, first_position=9)])["all", sample]
        assert other.token_ids == whole[9:]
        assert run(NativeLiveEngine(*sprout), [later])["all", sample].token_ids != whole[9:]
