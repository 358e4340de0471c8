"""A live engine over vLLM servers, against servers that speak vLLM's routes and compute with our decoder."""

from __future__ import annotations

import pytest
from vllm_server import VllmServer, vllm_server

from r1kit.engine.base import EngineChoice, SamplingParams
from r1kit.engine.factory import make_live_engine
from r1kit.engine.live.base import Constraint, LiveRequest
from r1kit.engine.vllm import server as client
from r1kit.engine.vllm import servers as engine_module
from r1kit.errors import UserError

ASKED = [
    LiveRequest(f"r{i}", (5, 6 + i, 7), SamplingParams(i, 6 + i, 0.0), samples=1 + i % 2, top_logprobs=i)
    for i in range(5)
]


@pytest.fixture(autouse=True)
def impatient(monkeypatch) -> None:
    monkeypatch.setattr(engine_module, "PATIENCE", 1.0)
    monkeypatch.setattr(client, "FIRST_PAUSE", 0.05)


@pytest.fixture
def connect(make_decoder, tokenizer, tmp_path):
    """Make an engine over some servers, with weights that none of them has yet."""

    def make(*servers: VllmServer):
        choice = EngineChoice("servers", tuple(server.url for server in servers), tmp_path / "weights")
        return make_live_engine(make_decoder(1), tokenizer, 4, choice=choice)

    return make


def test_greedy_answers_are_those_of_the_native_engine(make_decoder, tokenizer, connect, run):
    with vllm_server(make_decoder(0)) as one, vllm_server(make_decoder(0)) as two:
        engine = connect(one, two)
        answers = run(engine, ASKED)
        expected = run(make_live_engine(make_decoder(1), tokenizer), ASKED)
        assert answers.keys() == expected.keys() and one.served and two.served
        for place, answer in answers.items():
            assert (answer.token_ids, answer.finish_reason) == (
                expected[place].token_ids,
                expected[place].finish_reason,
            )
            assert answer.logprobs == pytest.approx(expected[place].logprobs, abs=1e-4)
            assert [len(top) for top in answer.top_logprobs] == [len(top) for top in expected[place].top_logprobs]
        engine.close()


def test_cancelled_requests_are_heard_of_no_more(make_decoder, connect, run):
    with vllm_server(make_decoder(0)) as server:
        engine = connect(server)
        engine.add(ASKED[0])
        engine.cancel(ASKED[0].id)
        assert not engine.has_work
        assert {name for name, _ in run(engine, ASKED[1:2])} == {"r1"}
        engine.close()


def test_another_server_answers_for_a_lost_one_and_an_error_is_returned_when_none_does(make_decoder, connect, run):
    def broken(server: VllmServer, route: str, body: dict) -> object:
        return (503, "busy") if failing and body.get("stream") else None

    failing: list[bool] = []
    with vllm_server(make_decoder(0), broken) as one, vllm_server(make_decoder(0)) as two:
        engine = connect(one, two)
        failing.append(True)
        answers = run(engine, ASKED)
        assert {answer.finish_reason for answer in answers.values()} <= {"stop", "length"}
        two.fault = broken
        answers = run(engine, ASKED[:1])
        assert answers["r0", 0].finish_reason == "error" and "503" in str(answers["r0", 0].error)
        engine.close()


def test_requests_that_cannot_be_answered_are_refused_when_added(make_decoder, connect):
    with vllm_server(make_decoder(0), max_model_len=64) as server:
        engine = connect(server)
        long = LiveRequest("long", (5,) * 60, SamplingParams(0, 10))
        for bad in (long, LiveRequest("c", (5,), SamplingParams(0, 9), constraint=Constraint("regex", "a", after="b"))):
            with pytest.raises(UserError):
                engine.add(bad)
        assert not engine.has_work
        engine.close()
