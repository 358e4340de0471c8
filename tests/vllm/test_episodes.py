"""Episodes whose turns vLLM samples in this process."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from vllm_process import MODEL

from r1kit.engine.base import EngineChoice, Request, SamplingParams
from r1kit.engine.factory import make_engine
from r1kit.environments.base import Message
from r1kit.environments.scripted import Scripted
from r1kit.model.hf import load_model, load_tokenizer
from r1kit.rollout.episodes import EpisodeEngine
from r1kit.types import ASSISTANT, Completion, Problem

TEXT = "User: What is 3+4-2? Assistant: <think>"
NOTE = Message(" (7) ")


@pytest.fixture(scope="module")
def model():
    return load_model(Path(MODEL), torch.float32, "cpu")


def sample(model, engine: str, temperature: float, version: int = 0) -> list[Completion]:
    tokenizer = load_tokenizer(Path(MODEL))
    made = make_engine(model, tokenizer, 16, 16 * 256, EngineChoice(engine))
    made.load_weights(model, version)
    episodes = EpisodeEngine(made, Scripted(lambda problem, seed: [NOTE] * 2, stop=("=", ".")), 60)
    requests = [
        Request(f"p{i}", tuple(tokenizer.encode(TEXT + " " * i)), 4, problem=Problem(f"p{i}", TEXT, "5"))
        for i in range(3)
    ]
    return episodes.generate(requests, SamplingParams(seed=5, max_tokens=80, temperature=temperature))


def test_greedy_episodes_are_those_of_the_native_engine(model) -> None:
    ours, theirs = sample(model, "vllm", 0.0), sample(model, "native", 0.0)
    assert [(e.token_ids, e.finish_reason) for e in ours] == [(e.token_ids, e.finish_reason) for e in theirs]
    assert any(len(e.spans) == 5 for e in ours) and all(e.environment_score for e in ours)


def test_sampled_episodes_have_log_probabilities_and_versions(model) -> None:
    episodes = sample(model, "vllm", 1.0, version=3)
    several = [e for e in episodes if len(e.spans) == 5]
    assert several and {e.weights_version for e in episodes} == {3}
    for episode in several:
        sampled = [logp for logp, own in zip(episode.logprobs, episode.sampled, strict=True) if own]
        assert all(math.isfinite(logp) and logp <= 0 for logp in sampled)
        assert [span.role for span in episode.spans] == [ASSISTANT, "environment"] * 2 + [ASSISTANT]
    assert len({e.token_ids for e in episodes}) > len(episodes) // 2
