"""Several messages after a turn: tokens, spans, and what is refused."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

import r1kit
from r1kit.data.messages import MessageEncoder
from r1kit.data.template import CHAT_TEMPLATE
from r1kit.engine.base import CollectingEngine, Request, SamplingParams
from r1kit.engine.factory import live_engine_of
from r1kit.engine.native import NativeEngine
from r1kit.environments.base import Message
from r1kit.environments.function import FunctionEnvironment
from r1kit.environments.tools import Tools
from r1kit.errors import UserError
from r1kit.model.hf import load_model, load_tokenizer
from r1kit.model.reference import ASSETS
from r1kit.rewards.services import Settings
from r1kit.rollout.episodes import EpisodeEngine, in_environment, with_tools
from r1kit.types import ASSISTANT, Completion, Problem

HERMES = Path(r1kit.__file__).parent / "data" / "chat_templates" / "hermes.jinja"
TEXT = "User: What is 3+4-2? Assistant: <think>"
PROBLEM = Problem("p", TEXT, "5")
RESULTS = [Message("408", "tool"), Message("409.", "tool")]


@pytest.fixture(scope="module")
def model():
    return load_model(ASSETS / "sprout-base", torch.float32, "cpu")


@pytest.fixture(scope="module")
def tokenizer():
    made = copy.deepcopy(load_tokenizer(ASSETS / "sprout-base"))
    made.chat_template = HERMES.read_text()
    return made


def sample(model, tokenizer, answers: list[object]) -> list[Completion]:
    environment = FunctionEnvironment(lambda problem, turns: answers if len(turns) < 2 else 1.0)
    engine = EpisodeEngine(NativeEngine(model, tokenizer), environment, 60)
    request = Request("p", tuple(tokenizer.encode(TEXT)), 4, problem=PROBLEM)
    return engine.generate([request], SamplingParams(seed=5, max_tokens=160, stop=("=",)))


def test_results_of_one_turn_are_framed_together(model, tokenizer) -> None:
    several = [e for e in sample(model, tokenizer, RESULTS) if len(e.spans) == 4]
    assert several
    framed = "\n<tool_response>\n408\n</tool_response>\n<tool_response>\n409.\n</tool_response>"
    for episode in several:
        first, one, two, last = episode.spans
        assert [(s.role, s.text) for s in (one, two)] == [("tool", "408"), ("tool", "409.")] and two.length == 0
        assert (first.role, last.role) == (ASSISTANT, ASSISTANT)
        assert sum(span.length for span in episode.spans) == len(episode.token_ids) == len(episode.sampled)
        written = tokenizer.decode(episode.token_ids[first.length : first.length + one.length])
        assert framed in written and written.endswith("<|im_start|>assistant\n")
        assert episode.text == last.text and not any(episode.sampled[first.length : first.length + one.length])


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ([], "step returned 0 messages: must be one, or several of the roles user and tool"),
        ([Message("a"), Message("b")], "step returned 2 messages: must be one, or several"),
        ([Message("a", "tool"), "b"], "step returned 'b': must be None or a Message"),
    ],
)
def test_other_messages_lose_the_episode(model, tokenizer, answers: list[object], reason: str) -> None:
    episodes = sample(model, tokenizer, answers)
    assert all(reason in episode.failure for episode in episodes if episode.finish_reason == "stop")
    assert any(episode.failure for episode in episodes)


def test_messages_of_the_chat_template_need_one(tokenizer) -> None:
    base_model = copy.deepcopy(tokenizer)
    base_model.chat_template = None
    with pytest.raises(UserError, match=r"no message with the role 'user' .* needs template = \"chat\""):
        MessageEncoder(base_model).encode("Well?", "user", after_end=False)
    assert MessageEncoder(base_model).encode("408", "environment", after_end=False)


def test_vllm_servers_sample_no_episodes() -> None:
    with pytest.raises(UserError, match=r'episodes need engine = "native" or "vllm": a turn that a lost vLLM server'):
        in_environment(CollectingEngine(), "calculator", Settings())
    assert live_engine_of(CollectingEngine()) is None


def test_the_form_of_calls_is_that_of_the_chat_template(model, tokenizer) -> None:
    engine = in_environment(NativeEngine(model, tokenizer), "tools", Settings())
    assert isinstance(engine, EpisodeEngine) and isinstance(engine.environment, Tools)
    assert engine.environment.style == "hermes"
    own = Problem("q", "q", "a", tools=({"type": "function", "function": {"name": "own"}},))
    base_model = copy.deepcopy(tokenizer)
    base_model.chat_template = CHAT_TEMPLATE
    with pytest.raises(UserError, match="the chat template of this model shows no tools"):
        in_environment(NativeEngine(model, base_model), "tools", Settings())
    offered = with_tools(engine, [PROBLEM, own])
    assert [tool["function"]["name"] for tool in offered[0].tools] == ["calculator", "python"]
    assert offered[1] == own and with_tools(engine.engine, [PROBLEM]) == [PROBLEM]
