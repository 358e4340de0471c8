"""Requests join and leave the cache of a model that transformers computes."""

from __future__ import annotations

from random import Random

import pytest
import torch
from tiny_families import FAMILIES, write_family

from r1kit.engine.base import Request, SamplingParams
from r1kit.engine.factory import make_engine, make_live_engine
from r1kit.engine.live.base import LiveRequest
from r1kit.engine.live.generic import GenericLiveEngine
from r1kit.model.hf import load_model


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_answers_are_those_of_generate_whatever_comes_and_goes(family, tokenizer, tmp_path, run):
    """Also where samples are longer than a sliding window, or interrupted because the cache is full."""
    write_family(family, tokenizer, tmp_path)
    model, rng = load_model(tmp_path, torch.float32, "cpu"), Random(3)
    asked = [
        LiveRequest(
            f"r{i}",
            tuple(rng.randrange(3, 200) for _ in range(rng.choice((3, 12, 30)))),
            SamplingParams(i, rng.randrange(1, 40), rng.choice((0.0, 0.7, 1.0)), rng.choice((1.0, 0.9))),
            samples=rng.choice((1, 2)),
        )
        for i in range(12)
    ]
    live = make_live_engine(model, tokenizer, max_concurrent=8, kv_cache_tokens=350)
    assert isinstance(live, GenericLiveEngine)
    waiting = [*asked]

    def arrive(answers) -> None:
        if waiting and rng.random() < 0.6:
            live.add(waiting.pop(0))

    answers = run(live, [waiting.pop(0)], arrive)
    while waiting:
        answers |= run(live, [waiting.pop(0)], arrive)
    for request in asked:
        engine = make_engine(model, tokenizer, 8)
        for completion in engine.generate([Request("question", request.token_ids, request.samples)], request.params):
            answer = answers[request.id, completion.sample]
            assert tuple(answer.token_ids) == completion.token_ids
            assert answer.logprobs == pytest.approx(completion.logprobs, abs=1e-3)
            assert answer.finish_reason == completion.finish_reason


def test_cancelling_leaves_the_others(tokenizer, tmp_path, run):
    write_family(next(iter(FAMILIES)), tokenizer, tmp_path)
    engine = make_live_engine(load_model(tmp_path, torch.float32, "cpu"), tokenizer)
    asked = [LiveRequest(name, (5, 6, 7), SamplingParams(1, 60)) for name in ("stays", "leaves")]
    expected = run(engine, asked[:1])
    for request in asked:
        engine.add(request)
    first = engine.step()
    engine.cancel("leaves")
    answers = run(engine, [])
    rest = answers["stays", 0].token_ids if answers else []
    assert [*first[0].token_ids, *rest] == expected["stays", 0].token_ids and {name for name, _ in answers} <= {"stays"}
