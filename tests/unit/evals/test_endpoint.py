"""Models behind an endpoint, against a local HTTP server."""

from __future__ import annotations

import json
import time

import pytest
from chat_server import chat_server
from typer.testing import CliRunner

from r1kit.cli import app
from r1kit.config import Prompting
from r1kit.data.response import split_response
from r1kit.engine.base import SamplingParams
from r1kit.errors import UserError
from r1kit.evals.endpoint import EndpointModel
from r1kit.rewards.judge import client as client_module
from r1kit.rewards.judge.answer import parse_answer
from r1kit.rewards.judge.endpoint import Endpoint
from r1kit.types import Problem

CHAT = Prompting(template="chat", system_prompt="Be brief.", prompt_suffix=" Box it.")
PARAMS = SamplingParams(seed=1, max_tokens=9, temperature=0.6, top_p=0.95)
SUMS = [Problem(f"p{i}", f"What is {i}+1?", str(i + 1)) for i in range(4)]


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "FIRST_PAUSE", 0.01)


def right(body: dict) -> dict:
    """Think, and answer `What is i+1?`."""
    number = int(body["messages"][-1]["content"].split("What is ")[1].split("+")[0])
    message = {"reasoning_content": r"Is it \boxed{0}?", "content": rf"It is \boxed{{{number + 1}}}."}
    return {"message": message, "finish_reason": "stop"}


def body_of(choice: dict) -> bytes:
    return json.dumps({"choices": [choice], "usage": {"completion_tokens": 3}}).encode()


@pytest.mark.parametrize(
    ("choice", "thinking", "summary", "unfinished"),
    [
        ({"message": {"content": "4", "reasoning_content": "2+2"}}, "2+2", "4", False),
        ({"message": {"content": "4", "reasoning": "2+2"}}, "2+2", "4", False),
        ({"message": {"content": None, "reasoning_content": "2+"}, "finish_reason": "length"}, "2+", "2+", True),
        ({"message": {"content": None, "reasoning_content": "2+2"}, "finish_reason": "stop"}, "2+2", "", False),
        ({"message": {"content": "<think>2+2</think>4"}}, "2+2", "4", False),
        ({"message": {"content": "2+2</think>4", "reasoning_content": None}}, "2+2", "4", False),
        ({"text": "<think>2+2</think> 4"}, "2+2", "4", False),
        ({"message": {"content": "4"}}, None, "4", False),
    ],
)
def test_reasoning_is_joined_so_that_only_the_answer_is_graded(
    choice: dict, thinking: str | None, summary: str, unfinished: bool
) -> None:
    response = split_response(parse_answer(body_of(choice)).full_text, think_open=False)
    assert (response.thinking, response.unfinished) == (thinking, unfinished)
    assert unfinished or response.summary == summary


@pytest.mark.parametrize("choice", [{"message": {"content": None}}, {"message": {"content": 3}}, {}])
def test_answers_without_text_are_refused(choice: dict) -> None:
    with pytest.raises(ValueError, match="completion"):
        parse_answer(body_of(choice))


def test_each_sample_is_one_request_with_its_own_seed_and_at_most_max_concurrent_at_once() -> None:
    def reply(body: dict) -> dict:
        time.sleep(0.02)
        return right(body)

    with chat_server(reply) as server:
        model = EndpointModel(Endpoint(server.url, "m", max_concurrent=3))
        prompts, groups = model.sample(SUMS, CHAT, 3, PARAMS)
    assert [prompt.problem for prompt in prompts] == SUMS and server.most_in_flight == 3
    assert [[(c.prompt_id, c.sample) for c in group] for group in groups] == [
        [(problem.id, i) for i in range(3)] for problem in SUMS
    ]
    assert all(
        c.length == 5 and c.text.endswith(f"\\boxed{{{p.answer}}}.")
        for p, g in zip(SUMS, groups, strict=True)
        for c in g
    )
    bodies = [body for _, _, body in server.seen]
    assert len({body["seed"] for body in bodies}) == 12 and {path for path, *_ in server.seen} == {
        "/v1/chat/completions"
    }
    assert bodies[0]["messages"][0] == {"role": "system", "content": "Be brief."}
    assert {(b["temperature"], b["top_p"], b["max_tokens"], b["model"]) for b in bodies} == {(0.6, 0.95, 9, "m")}
    assert all(body["messages"][1]["content"].endswith("+1? Box it.") for body in bodies)


def test_other_templates_are_rendered_here_and_continued() -> None:
    with chat_server(lambda body: {"text": "<think>x</think> <answer>1</answer>", "finish_reason": "stop"}) as server:
        [prompt], _ = EndpointModel(Endpoint(server.url, "m")).sample(SUMS[:1], Prompting(), 1, PARAMS)
    [(path, _, body)] = server.seen
    assert path == "/v1/completions" and body["prompt"] == prompt.text and prompt.text.endswith("Assistant:")
    assert prompt.answer_tags and not prompt.think_open


def test_a_request_without_an_answer_ends_the_evaluation_with_advice() -> None:
    with chat_server(lambda body: 404) as server:
        model = EndpointModel(Endpoint(server.url, "m"))
        with pytest.raises(UserError, match=r"HTTP 404.*needs /completions; try --template chat.*continues"):
            model.sample(SUMS, Prompting(), 2, PARAMS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model", "m"], "--model m without --endpoint"),
        (["m", "--endpoint", "http://h/v1", "--model", "m"], "give one of them"),
        (["--endpoint", "http://h/v1"], "no model"),
        (["m", "--endpoint", "h/v1"], "must be an http"),
        (["m", "--endpoint", "http://h/v1", "--price", "3"], "--price 3: must be two numbers"),
    ],
)
def test_wrong_options_are_explained(options: list[str], message: str) -> None:
    result = CliRunner().invoke(app, ["eval", *options])
    assert isinstance(result.exception, UserError) and message in str(result.exception)
