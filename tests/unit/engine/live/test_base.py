"""Requests that no engine can answer are refused where they are added, with the reason."""

from __future__ import annotations

from dataclasses import replace

import pytest

from r1kit.engine.base import SamplingParams
from r1kit.engine.live.base import Constraint, LiveRequest, check_request
from r1kit.engine.live.scripted import ScriptedLiveEngine
from r1kit.errors import UserError

GOOD = LiveRequest("a", (1, 2, 3), SamplingParams(seed=0, max_tokens=5))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"samples": 0}, "samples = 0: must be at least 1"),
        ({"top_logprobs": 21}, "top_logprobs = 21: must be from 0 to 20"),
        ({"token_ids": ()}, "the prompt is empty"),
        ({"token_ids": (1, 300)}, "vocabulary of 300"),
        ({"token_ids": (-1,)}, "vocabulary of 300"),
        ({"token_ids": (1,) * 60}, "the prompt has 60 tokens and max_tokens = 5"),
        ({"params": replace(GOOD.params, max_tokens=0)}, "max_tokens = 0"),
        ({"params": replace(GOOD.params, temperature=float("nan"))}, "temperature = nan"),
        ({"params": replace(GOOD.params, stop=("a", "\ud800"))}, "lone surrogate"),
        ({"constraint": Constraint("regex", "\udc00")}, "lone surrogate"),
        ({"params": replace(GOOD.params, top_p=0.0)}, "top_p = 0.0"),
        ({"params": replace(GOOD.params, top_k=-1)}, "top_k = -1"),
        ({"params": replace(GOOD.params, stop=("",))}, "stop = "),
    ],
)
def test_bad_requests_are_refused_with_the_reason(changes, message):
    check_request(GOOD, 64, 300)
    with pytest.raises(UserError, match=message):
        check_request(replace(GOOD, **changes), 64, 300)


def test_a_scripted_engine_answers_in_pieces_until_cancelled(tokenizer):
    engine = ScriptedLiveEngine(tokenizer, lambda prompt_id, sample: f"answer {sample} to {prompt_id}, at some length")
    engine.add(replace(GOOD, samples=2, params=SamplingParams(0, 100)))
    engine.add(replace(GOOD, id="b", params=SamplingParams(0, 100)))
    first = engine.step()
    assert [(delta.id, delta.sample, len(delta.token_ids)) for delta in first] == [
        ("a", 0, 4),
        ("a", 1, 4),
        ("b", 0, 4),
    ]
    engine.cancel("b")
    texts, reasons = {d.sample: d.token_ids for d in first if d.id == "a"}, []
    while engine.has_work:
        for delta in engine.step():
            texts[delta.sample] += delta.token_ids
            reasons.append(delta.finish_reason)
    decoded = [tokenizer.decode(ids, skip_special_tokens=True) for ids in texts.values()]
    assert decoded == [f"answer {sample} to question, at some length" for sample in range(2)]
    assert reasons.count("stop") == 2
