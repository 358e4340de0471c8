"""Generation by vLLM servers, against servers that speak vLLM's routes and compute with our decoder."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from vllm_server import VllmServer, vllm_server

from r1kit.engine.base import EngineChoice, Request, SamplingParams
from r1kit.engine.native import NativeEngine
from r1kit.engine.vllm import server as client
from r1kit.engine.vllm import servers as engine_module
from r1kit.engine.vllm.errors import EmptyUpdate, PartialUpdate, StaleWeights, WrongWeights
from r1kit.engine.vllm.servers import NoServer, ServersEngine
from r1kit.errors import UserError
from r1kit.types import Completion

REQUESTS = [Request(f"p{i}", (5, 6 + i, 7), samples=3) for i in range(4)]
PARAMS = SamplingParams(seed=1, max_tokens=6)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait less for lost servers."""
    monkeypatch.setattr(engine_module, "PATIENCE", 1.0)
    monkeypatch.setattr(engine_module, "QUIET", 0.2)
    monkeypatch.setattr(client, "FIRST_PAUSE", 0.05)


@pytest.fixture
def connect(make_decoder, tokenizer, tmp_path: Path):
    """Make an engine over some servers, with weights that none of them has yet."""

    def make(*servers: VllmServer, max_concurrent: int = 4, seed: int = 1) -> ServersEngine:
        choice = EngineChoice("servers", tuple(server.url for server in servers), tmp_path / "weights")
        return ServersEngine(make_decoder(seed), tokenizer, max_concurrent, choice)

    return make


def places(completions: list[Completion]) -> list[tuple[str, int]]:
    return [(c.prompt_id, c.sample) for c in completions]


EXPECTED_PLACES = [(request.prompt_id, sample) for request in REQUESTS for sample in range(3)]


def test_samples_are_those_of_the_pushed_weights(make_decoder, tokenizer, connect):
    """Greedy tokens and log-probabilities are those of our own engine, before and after an update."""
    greedy = SamplingParams(seed=1, max_tokens=6, temperature=0)
    with vllm_server(make_decoder(0)) as server:
        engine = connect(server)
        for version, seed in enumerate((1, 2)):
            engine.load_weights(make_decoder(seed), version)
            expected = NativeEngine(make_decoder(seed), tokenizer).generate(REQUESTS, greedy)
            got = engine.generate(REQUESTS, greedy)
            assert [c.token_ids for c in got] == [c.token_ids for c in expected]
            assert [c.finish_reason for c in got] == [c.finish_reason for c in expected]
            assert [c.text for c in got] == [c.text for c in expected]
            assert {c.weights_version for c in got} == {version}
            for a, b in zip(got, expected, strict=True):
                assert a.logprobs == pytest.approx(b.logprobs, abs=1e-5)


def test_samples_have_seeds_of_their_own_and_are_spread(make_decoder, connect):
    with vllm_server(make_decoder(0)) as one, vllm_server(make_decoder(0)) as two:
        alone = connect(one).generate(REQUESTS, PARAMS)
        one.served = two.served = 0
        both = connect(one, two)
        assert both.generate(REQUESTS, PARAMS) == alone
        assert min(one.served, two.served) > 8  # more than the probes
        assert places(alone) == EXPECTED_PLACES
        assert len({c.token_ids for c in alone[:3]}) > 1
        assert both.generate(REQUESTS[2:], PARAMS) == alone[6:]


def test_on_finished_is_called_with_every_completion(make_decoder, connect):
    with vllm_server(make_decoder(0)) as server:
        engine, heard = connect(server), []
        completions = engine.generate(REQUESTS, PARAMS, heard.append)
        assert sorted(heard, key=lambda c: (c.prompt_id, c.sample)) == completions


def test_stop_strings_end_a_completion(make_decoder, tokenizer, connect):
    with vllm_server(make_decoder(0)) as server:
        engine = connect(server)
        params = SamplingParams(seed=1, max_tokens=6, temperature=0)
        full = engine.generate(REQUESTS[:1], params)[0]
        stop = str(tokenizer.decode(full.token_ids[1:2]))
        cut = engine.generate(REQUESTS[:1], SamplingParams(1, 6, 0, stop=(stop,)))[0]
        assert cut.token_ids == full.token_ids[: len(cut.token_ids)] and len(cut.token_ids) <= 2
        assert cut.finish_reason == "stop" and stop in cut.text and len(cut.logprobs) == len(cut.token_ids)


def test_truncated_distributions_give_no_log_probabilities(make_decoder, connect):
    with vllm_server(make_decoder(0)) as server:
        (completion,) = connect(server).generate([Request("p", (5, 6))], SamplingParams(1, 4, top_p=0.9))
        assert all(logp != logp for logp in completion.logprobs)


def test_too_long_requests_are_refused_before_they_are_sent(make_decoder, connect):
    with (
        vllm_server(make_decoder(0), max_model_len=8) as server,
        pytest.raises(UserError, match="larger max_model_len"),
    ):
        connect(server).generate(REQUESTS, PARAMS)


@pytest.mark.parametrize("answer", ["hang up", (503, "engine is dead"), {"choices": []}])
def test_an_answer_that_is_lost_is_asked_for_again(make_decoder, connect, answer: Any):
    with vllm_server(make_decoder(0)) as sound:
        expected = connect(sound).generate(REQUESTS, PARAMS)
    broken = []

    def fault(server: VllmServer, route: str, body: dict[str, Any]) -> Any:
        if route == "/inference/v1/generate" and body["sampling_params"]["max_tokens"] > 1 and not broken:
            broken.append(True)
            return answer
        return None

    with vllm_server(make_decoder(0), fault) as server:
        assert connect(server, max_concurrent=1).generate(REQUESTS, PARAMS) == expected
        assert server.pushes == 2  # after the loss, the weights were pushed and proved again
        assert broken


def test_a_server_that_dies_within_a_call_loses_nothing(make_decoder, connect):
    """One of two servers goes away while it has requests; the other answers all, each once."""
    with vllm_server(make_decoder(0)) as sound:
        expected = connect(sound).generate(REQUESTS, PARAMS)
    dead = threading.Event()

    def dies(server: VllmServer, route: str, body: dict[str, Any]) -> Any:
        if route == "/inference/v1/generate" and server.served > 9:
            dead.set()
        return "hang up" if dead.is_set() else None

    with vllm_server(make_decoder(0)) as stays, vllm_server(make_decoder(0), dies) as leaves:
        heard: list[Completion] = []
        assert connect(stays, leaves).generate(REQUESTS, PARAMS, heard.append) == expected
        assert len(heard) == len(expected) and dead.is_set()


def test_a_server_that_restarts_gets_the_weights_again(make_decoder, connect):
    """A new server at the same address has other weights: it serves only after a push."""
    with vllm_server(make_decoder(0)) as first:
        engine = connect(first)
        expected = engine.generate(REQUESTS, PARAMS)
        port = first.server_port
    with vllm_server(make_decoder(5), port=port) as second:
        assert engine.generate(REQUESTS, PARAMS) == expected
        assert second.pushes == 1


def test_answers_by_other_weights_are_discarded(make_decoder, connect):
    """Somebody else pushes weights to the server: its answers count only after our push."""
    with vllm_server(make_decoder(0)) as server:
        engine = connect(server)
        expected = engine.generate(REQUESTS, PARAMS)
        with torch.no_grad():
            for weight in server.model.parameters():
                weight.add_(0.5)
        server.version = "theirs"
        assert engine.generate(REQUESTS, PARAMS) == expected


def test_two_runs_on_one_server_end_with_an_error(make_decoder, connect, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(engine_module, "PATIENCE", 60.0)

    def interferes(server: VllmServer, route: str, body: dict[str, Any]) -> Any:
        if route == "/inference/v1/generate" and body["sampling_params"]["max_tokens"] > 1:
            server.version = "theirs"

    with vllm_server(make_decoder(0), interferes) as server, pytest.raises(UserError, match="only one run at a time"):
        connect(server, max_concurrent=1).generate(REQUESTS, PARAMS)


def test_no_server_ends_the_run_with_the_reason(make_decoder, connect):
    with vllm_server(make_decoder(0)) as server:
        engine = connect(server)
    with pytest.raises(NoServer, match=r"run the same command again to continue\nhttp://127.0.0.1:\d+: ServerLost"):
        engine.generate(REQUESTS, PARAMS)
    with pytest.raises(NoServer):
        engine.load_weights(make_decoder(2), 1)


def test_a_slow_server_is_named(make_decoder, connect, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(engine_module, "FIRST_TOKEN", 0.2)
    monkeypatch.setattr(engine_module, "PER_TOKEN", 0.0)
    release = threading.Event()

    def hangs(server: VllmServer, route: str, body: dict[str, Any]) -> Any:
        if route == "/inference/v1/generate" and body["sampling_params"]["max_tokens"] > 1:
            release.wait(20)

    with vllm_server(make_decoder(0)) as quick, vllm_server(make_decoder(0), hangs) as slow:
        engine = connect(quick, slow)
        assert places(engine.generate(REQUESTS, PARAMS)) == EXPECTED_PLACES
        release.set()
        assert "ServerSlow" in engine.servers[1].failure or engine.servers[1].epoch


def test_a_server_that_hangs_does_not_delay_a_push_for_long(make_decoder, connect, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(client, "HELLO_SECONDS", 0.2)
    release = threading.Event()

    def hangs(server: VllmServer, route: str, body: dict[str, Any]) -> Any:
        release.wait(60)

    with vllm_server(make_decoder(0)) as sound, vllm_server(make_decoder(0), hangs) as hung:
        engine = connect(sound, hung)
        assert not release.is_set() and "ServerSlow" in engine.servers[1].failure
        assert places(engine.generate(REQUESTS, PARAMS)) == EXPECTED_PLACES
        release.set()


def test_an_abandoned_call_aborts_its_requests_and_keeps_the_server(make_decoder, connect):
    aborted = threading.Event()

    def slowly(server: VllmServer, route: str, body: dict[str, Any]) -> Any:
        if route == "/abort_requests":
            aborted.set()
        if route == "/inference/v1/generate" and body["sampling_params"]["max_tokens"] > 1 and server.served > 10:
            aborted.wait(20)
            return {"choices": [{"token_ids": [1], "finish_reason": "abort"}]}
        return None

    with vllm_server(make_decoder(0), slowly) as server:
        engine = connect(server)
        next(iter(engine.finished(REQUESTS, PARAMS)))
        assert aborted.is_set()
        server.fault = None
        assert places(engine.generate(REQUESTS, PARAMS)) == EXPECTED_PLACES
        assert server.pushes == 1  # nothing had to be pushed again


def test_server_without_the_routes_says_how_to_start_it(make_decoder, connect):
    def no_routes(server: VllmServer, route: str, body: dict[str, Any]) -> Any:
        return (404, "Not Found") if route == "/pause" else None

    with vllm_server(make_decoder(0), no_routes) as server, pytest.raises(UserError, match="VLLM_SERVER_DEV_MODE=1"):
        connect(server)


def test_weights_of_earlier_versions_are_deleted(make_decoder, connect, tmp_path: Path):
    with vllm_server(make_decoder(0)) as server:
        engine = connect(server)
        for version in range(3):
            engine.load_weights(make_decoder(version), version)
        assert [path.name for path in (tmp_path / "weights").iterdir()] == [engine.push.version]


# -- faults of a push: each is an error by name, before anything is sampled -----------------------------------------


def test_an_update_without_weights_is_an_error(make_decoder, connect, monkeypatch: pytest.MonkeyPatch):
    with vllm_server(make_decoder(0)) as server:
        engine = connect(server)
        monkeypatch.setattr(engine_module, "served_weights", lambda model: iter(()))
        with pytest.raises(EmptyUpdate, match="the update has no weights"):
            engine.load_weights(make_decoder(2), 1)


def test_an_update_that_lacks_a_weight_is_an_error(make_decoder, connect, monkeypatch: pytest.MonkeyPatch):
    with vllm_server(make_decoder(0)) as server:
        engine, all_weights = connect(server), engine_module.served_weights
        monkeypatch.setattr(engine_module, "served_weights", lambda model: list(all_weights(model))[1:])
        with pytest.raises(PartialUpdate, match="1 of 27 weights are missing"):
            engine.load_weights(make_decoder(2), 1)


def test_a_file_that_the_server_cannot_see_is_an_error(make_decoder, connect):
    """The server reads another directory than the trainer writes, such as on a machine without the shared disk."""

    def elsewhere(server: VllmServer, route: str, body: dict[str, Any]) -> None:
        if route == "/update_weights":
            body["update_info"]["directory"] = "/nowhere"

    with vllm_server(make_decoder(0), elsewhere) as server, pytest.raises(EmptyUpdate, match="HTTP 500"):
        connect(server)


NOT_APPLIED = {
    "version": "version",  # it reports the version that it had
    "zeros": "weights are still zero",
    "previous": "still has the previous weights",  # it does not even set them to zero
}


@pytest.mark.parametrize("fault", NOT_APPLIED)
def test_an_update_that_is_not_applied_is_an_error(make_decoder, connect, fault: str):
    """The server says yes to everything, and does not load what was pushed."""

    def ignores(server: VllmServer, route: str, body: dict[str, Any]) -> Any:
        if not server.version:
            return None
        ignored = {"version": "/finish_weight_update", "previous": "/weight_checker", "zeros": "/update_weights"}
        return {} if route in ("/update_weights", ignored[fault]) else None

    with vllm_server(make_decoder(0), ignores) as server:
        engine = connect(server)
        updated = make_decoder(1)
        with torch.no_grad():
            for weight in updated.parameters():
                weight.mul_(1.0005)  # a small update: what counts is which weights are closer
        with pytest.raises(StaleWeights, match=NOT_APPLIED[fault]):
            engine.load_weights(updated, 1)


def test_other_log_probabilities_are_an_error(make_decoder, connect):
    """Such as a server that reports them before temperature."""

    def raw(server: VllmServer, route: str, body: dict[str, Any]) -> None:
        if route == "/inference/v1/generate":
            body["sampling_params"]["temperature"] = 1.0

    with vllm_server(make_decoder(0), raw) as server, pytest.raises(WrongWeights, match="processed_logprobs"):
        connect(server)
