"""vLLM servers: they sample what was pushed, every push is proved, and a lost server costs nothing but time."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from vllm_agreement import agreement, check_updates, differences, nudge, questions
from vllm_process import MODEL, VllmProcess

from r1kit.engine.base import EngineChoice, Request, SamplingParams
from r1kit.engine.vllm import server as client
from r1kit.engine.vllm import servers as engine_module
from r1kit.engine.vllm.errors import EmptyUpdate, PartialUpdate, StaleWeights
from r1kit.engine.vllm.servers import ServersEngine
from r1kit.errors import UserError
from r1kit.model.hf import load_model, load_tokenizer
from r1kit.types import Completion

TOKENIZER = load_tokenizer(MODEL)
REQUESTS = questions(TOKENIZER, 256)
SAMPLED = [Request(request.prompt_id, request.token_ids, 4) for request in REQUESTS[:16]]
PARAMS = SamplingParams(seed=3, max_tokens=40, temperature=0.7)


@pytest.fixture
def model():
    return load_model(MODEL, torch.float32, "cpu")


@pytest.fixture
def engine(server: VllmProcess, model, tmp_path: Path) -> ServersEngine:
    choice = EngineChoice("servers", (server.url,), tmp_path / "weights")
    return ServersEngine(model, TOKENIZER, 32, choice)


def places(completions: list[Completion]) -> list[tuple[str, int]]:
    return [(c.prompt_id, c.sample) for c in completions]


EVERY_PLACE = [(request.prompt_id, sample) for request in SAMPLED for sample in range(4)]


def same(one: list[Completion], other: list[Completion]) -> float:
    """Share of equal completions. Other batches round differently, so now and then another token is sampled."""
    return sum(a.token_ids == b.token_ids for a, b in zip(one, other, strict=True)) / len(one)


def test_greedy_answers_agree_before_and_after_updates(engine, model):
    check_updates(engine, model, TOKENIZER, REQUESTS)


def test_samples_have_seeds_of_their_own_and_tempered_log_probabilities(engine, model):
    completions = engine.generate(SAMPLED, PARAMS)
    assert places(completions) == EVERY_PLACE
    assert len({c.token_ids for c in completions[:4]}) > 1
    assert same(engine.generate(SAMPLED[4:8], PARAMS), completions[16:32]) >= 0.9
    assert float(differences(completions, SAMPLED, model, PARAMS.temperature).mean()) <= 1e-4


def test_stop_strings_end_completions_at_their_first_token(engine):
    full = engine.generate(REQUESTS[:4], SamplingParams(3, 40, 0))
    stop = str(TOKENIZER.decode(full[0].token_ids[5:7]))
    for cut, long in zip(engine.generate(REQUESTS[:4], SamplingParams(3, 40, 0, stop=(stop,))), full, strict=True):
        assert cut.token_ids == long.token_ids[: len(cut.token_ids)]
        assert (stop in cut.text) == (stop in long.text)
        assert stop not in str(TOKENIZER.decode(cut.token_ids[:-1]))


def test_an_update_without_weights_is_an_error(engine, model, monkeypatch: pytest.MonkeyPatch):
    """Nothing is in the file that the server reads; the trainer believes that it wrote all."""
    monkeypatch.setattr(engine_module, "_write_part", lambda part, directory: part.clear())
    with pytest.raises(EmptyUpdate, match="the update has no weights"):
        engine.load_weights(model, 1)


@pytest.mark.parametrize("dropped", ["lm_head.weight", "model.layers.0.self_attn.k_proj.weight"])
def test_an_update_that_lacks_a_weight_is_an_error(engine, model, monkeypatch: pytest.MonkeyPatch, dropped: str):
    write = engine_module._write_part

    def lossy(part: dict[str, torch.Tensor], directory: Path) -> None:
        del part[dropped]
        write(part, directory)

    monkeypatch.setattr(engine_module, "_write_part", lossy)
    with pytest.raises(PartialUpdate, match=dropped):
        engine.load_weights(model, 1)


@pytest.mark.parametrize("size", [1e-5, 1e-3])
def test_an_update_that_is_not_applied_is_an_error(engine, model, monkeypatch: pytest.MonkeyPatch, size: float):
    """An empty update is finished like any other, and its version reported."""
    send = client.Server._send

    def skips(self: client.Server, method: str, route: str, *rest: Any) -> Any:
        return None if route == "/update_weights" else send(self, method, route, *rest)

    monkeypatch.setattr(client.Server, "_send", skips)
    nudge(model, size)
    with pytest.raises(StaleWeights, match="weights are still zero"):
        engine.load_weights(model, 1)


def test_a_failed_push_does_not_spoil_the_next(engine, model, monkeypatch: pytest.MonkeyPatch):
    with monkeypatch.context() as patch:
        patch.setattr(engine_module, "_write_part", lambda part, directory: part.clear())
        with pytest.raises(EmptyUpdate):
            engine.load_weights(model, 1)
    nudge(model, 0.003)
    engine.load_weights(model, 2)
    assert agreement(engine, model, TOKENIZER, REQUESTS[:32]).equal >= 0.99


def test_answers_by_other_weights_are_discarded(engine, server: VllmProcess):
    """Another run changes the weights' version: what it sampled is not used, and our weights are pushed again."""
    expected, begun = engine.generate(SAMPLED, PARAMS), threading.Event()
    pushed = engine.servers[0].version
    httpx.post(f"{server.url}/update_weight_version", json={"new_version": "theirs"}).raise_for_status()
    completions = engine.generate(SAMPLED, PARAMS, lambda _: begun.set())
    assert begun.is_set() and places(completions) == EVERY_PLACE and same(completions, expected) >= 0.9
    assert httpx.get(f"{server.url}/weight_info").json() == {"weight_version": pushed}
    assert "WrongVersion" in engine.servers[0].failure


def test_a_server_that_hangs_within_a_call_is_replaced_by_the_other(
    server: VllmProcess, second: VllmProcess, model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(engine_module, "QUIET", 2.0)
    choice = EngineChoice("servers", (server.url, second.url), tmp_path / "weights")
    both, heard = ServersEngine(model, TOKENIZER, 32, choice), list[Completion]()

    def hangs(completion: Completion) -> None:
        heard.append(completion)
        if len(heard) == 5:
            os.killpg(second.group, signal.SIGSTOP)

    completions = both.generate(SAMPLED, PARAMS, hangs)
    os.killpg(second.group, signal.SIGCONT)
    assert places(completions) == EVERY_PLACE and len(heard) == len(EVERY_PLACE)
    assert "/health" in both.servers[1].failure or "ServerSlow" in both.servers[1].failure


def test_a_server_that_is_killed_within_a_call_loses_nothing(engine, second: VllmProcess, model, tmp_path: Path):
    """It is started again while the call waits: it gets the weights again and samples what is missing."""
    expected = engine.generate(SAMPLED, PARAMS)
    alone = ServersEngine(model, TOKENIZER, 16, EngineChoice("servers", (second.url,), tmp_path / "second"))
    heard: list[Completion] = []

    def kills(completion: Completion) -> None:
        heard.append(completion)
        if len(heard) == 10:
            second.kill()
            second.start()

    completions = alone.generate(SAMPLED, PARAMS, kills)
    assert places(completions) == EVERY_PLACE and same(completions, expected) >= 0.9
    assert len(heard) == len(EVERY_PLACE) == len({*places(heard)})
    assert "ServerLost" in alone.servers[0].failure


def test_a_server_without_the_plugin_is_refused_by_name(server: VllmProcess, model, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(client, "GENERATE", "/not/a/route")
    with pytest.raises(UserError, match=r"--enable-scale-out .* docs/vllm\.md"):
        ServersEngine(model, TOKENIZER, 8, EngineChoice("servers", (server.url,), tmp_path / "weights"))
