"""A live engine with vLLM: requests come and go, each with its own parameters and constraint."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from vllm_agreement import questions
from vllm_process import MODEL

from r1kit.engine.base import EngineChoice, SamplingParams
from r1kit.engine.factory import make_live_engine
from r1kit.engine.live.base import Constraint, LiveRequest
from r1kit.errors import UserError
from r1kit.model.hf import load_model, load_tokenizer

TOKENIZER = load_tokenizer(MODEL)
ASKED = [
    LiveRequest(f"r{i}", request.token_ids, SamplingParams(i, 20 + i, (i % 3) / 2), samples=1 + i % 2)
    for i, request in enumerate(questions(TOKENIZER, 8))
]


@pytest.fixture(scope="module")
def live():
    return make_live_engine(load_model(MODEL, torch.float32, "cpu"), TOKENIZER, 16, 16 * 256, EngineChoice("vllm"))


def run(engine, asked) -> dict[tuple[str, int], list]:
    for request in asked:
        engine.add(request)
    deltas: dict[tuple[str, int], list] = {}
    while engine.has_work:
        for delta in engine.step():
            assert not delta.error
            deltas.setdefault((delta.id, delta.sample), []).append(delta)
    return deltas


def test_requests_join_leave_and_get_the_answers_that_the_native_engine_gives_when_greedy(live):
    live.add(replace(ASKED[0], id="cancelled", params=SamplingParams(0, 200)))
    live.step()
    live.cancel("cancelled")
    deltas = run(live, ASKED)
    assert {id for id, _ in deltas} == {request.id for request in ASKED}
    native = run(make_live_engine(load_model(MODEL, torch.float32, "cpu"), TOKENIZER), ASKED)
    greedy = {request.id for request in ASKED if request.params.temperature == 0}
    ids = [{place: [t for d in ds for t in d.token_ids] for place, ds in each.items()} for each in (deltas, native)]
    assert len(greedy) == 3 and all(ids[0][place] == ids[1][place] for place in ids[0] if place[0] in greedy)
    assert max(len(ds) for ds in deltas.values()) > 5, "text flows"
    assert all(ds[-1].finish_reason in ("stop", "length") for ds in deltas.values())


def test_a_constraint_is_followed_and_a_bad_one_refused(live):
    schema = {"type": "object", "properties": {"a": {"enum": [1, 2]}}, "required": ["a"], "additionalProperties": False}
    constraint = Constraint("json_schema", json.dumps(schema))
    asked = replace(ASKED[1], samples=1, params=SamplingParams(1, 60, 1.0), constraint=constraint, top_logprobs=3)
    ((_, deltas),) = run(live, [asked]).items()
    text = TOKENIZER.decode([t for delta in deltas for t in delta.token_ids], skip_special_tokens=True)
    assert json.loads(text)["a"] in (1, 2) and deltas[-1].finish_reason == "stop"
    for bad in (Constraint("json_schema", "{"), Constraint("regex", "(("), replace(constraint, after="</think>")):
        with pytest.raises(UserError):
            live.add(replace(asked, constraint=bad))
    assert not live.has_work


def test_servers_stream_the_greedy_answers_of_the_native_engine(server, tmp_path):
    model = load_model(MODEL, torch.float32, "cpu")
    engine = make_live_engine(model, TOKENIZER, 8, choice=EngineChoice("servers", (server.url,), tmp_path / "weights"))
    asked = [replace(request, params=replace(request.params, temperature=0.0)) for request in ASKED]
    constraint = Constraint("json_object")
    deltas = run(engine, [*asked, replace(asked[0], id="json", constraint=constraint, params=SamplingParams(1, 80))])
    native = run(make_live_engine(model, TOKENIZER), asked)
    for place, expected in native.items():
        assert [t for d in deltas[place] for t in d.token_ids] == [t for d in expected for t in d.token_ids]
    assert max(map(len, deltas.values())) > 5, "text flows"
    text = TOKENIZER.decode([t for d in deltas["json", 0] for t in d.token_ids], skip_special_tokens=True)
    assert text.lstrip().startswith("{")
    engine.close()
