"""The openai package for Python against `r1kit serve`."""

from __future__ import annotations

import json
from collections.abc import Iterator

import openai
import pytest
from sampled_answers import QUESTION, Answer, sampled
from serve_process import ServeProcess, serve_process


@pytest.fixture
def client(server: ServeProcess, key: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=0) as api:
        yield api


def create(client: openai.OpenAI, **settings):
    settings = {
        "model": "sprout-base",
        "messages": [{"role": "user", "content": QUESTION}],
        "max_tokens": 100,
        "seed": 0,
        **settings,
    }
    return client.chat.completions.create(**settings)


def test_an_answer_with_its_reasoning(client: openai.OpenAI, expected: Answer) -> None:
    answer = create(client, seed=expected.seed)
    message = answer.choices[0].message
    assert (message.content, message.reasoning_content) == (expected.content, expected.reasoning)
    assert 0 < answer.usage.completion_tokens_details.reasoning_tokens < answer.usage.completion_tokens


def test_a_seed_gives_the_same_answer_as_sample(client: openai.OpenAI) -> None:
    answer = create(client, n=3, seed=11, temperature=1.2)
    for choice, other in zip(answer.choices, sampled(11, "-n", "3", "--temperature", "1.2"), strict=True):
        assert (choice.message.content, choice.message.reasoning_content) == (other.content, other.reasoning or None)
    again = create(client, n=3, seed=answer.seed, temperature=1.2)
    assert [choice.message for choice in again.choices] == [choice.message for choice in answer.choices]


def test_a_random_seed_is_returned_and_reproduces_the_answer(client: openai.OpenAI) -> None:
    first = create(client, seed=None, temperature=1.5)
    assert create(client, seed=first.seed, temperature=1.5).choices[0].message == first.choices[0].message


def test_a_stream_gives_the_same_answer(client: openai.OpenAI) -> None:
    complete = create(client, n=2, temperature=1.2)
    content, reasoning = ["", ""], ["", ""]
    for chunk in create(client, n=2, temperature=1.2, stream=True, stream_options={"include_usage": True}):
        for choice in chunk.choices:
            content[choice.index] += choice.delta.content or ""
            reasoning[choice.index] += getattr(choice.delta, "reasoning_content", None) or ""
    assert content == [choice.message.content for choice in complete.choices]
    assert reasoning == [choice.message.reasoning_content or "" for choice in complete.choices]
    assert chunk.usage == complete.usage


def test_logprobs(client: openai.OpenAI) -> None:
    rows = create(client, logprobs=True, top_logprobs=3).choices[0].logprobs.content
    assert rows and all(row.logprob <= 0 and len(row.top_logprobs) == 3 for row in rows)
    greedy = create(client, logprobs=True, top_logprobs=1, temperature=0).choices[0].logprobs.content
    assert all(row.token == row.top_logprobs[0].token for row in greedy)


def test_a_json_schema_is_satisfied_after_the_reasoning(client: openai.OpenAI) -> None:
    schema = {
        "type": "object",
        "properties": {"answer": {"type": "integer"}, "sure": {"type": "boolean"}},
        "required": ["answer", "sure"],
        "additionalProperties": False,
    }
    wanted = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}}
    answer = create(client, response_format=wanted, max_tokens=300, n=8)
    ended = [choice.message for choice in answer.choices if choice.finish_reason == "stop"]
    assert ended and any(message.reasoning_content for message in ended)
    for message in ended:  # also where the model does not open its reasoning with a tag
        value = json.loads(message.content)
        assert set(value) == {"answer", "sure"} and isinstance(value["answer"], int) and isinstance(value["sure"], bool)
    bad = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "nonsense"}}}
    with pytest.raises(openai.BadRequestError):
        create(client, response_format=bad)


def test_stop_strings_and_lengths(client: openai.OpenAI, expected: Answer) -> None:
    stop = expected.reasoning[2:4]
    choice = create(client, seed=expected.seed, stop=[stop]).choices[0]
    before = expected.reasoning.partition(stop)[0].rstrip()
    assert choice.finish_reason == "stop" and choice.message.content == ""
    assert (choice.message.reasoning_content or "") == before
    assert create(client, max_tokens=3).choices[0].finish_reason == "length"


def test_text_completions(client: openai.OpenAI) -> None:
    answer = client.completions.create(
        model="sprout-base", prompt=["1+1=", "2+2="], max_tokens=8, temperature=0, logprobs=1, n=2
    )
    assert [choice.index for choice in answer.choices] == [0, 1, 2, 3]
    assert answer.choices[0].text == answer.choices[1].text, "greedy"
    assert "".join(answer.choices[0].logprobs.tokens).startswith(answer.choices[0].text)


def test_errors_name_the_mistake(client: openai.OpenAI, server: ServeProcess) -> None:
    with pytest.raises(openai.BadRequestError, match="temperature = 9") as caught:
        create(client, temperature=9)
    assert caught.value.param == "temperature"
    with pytest.raises(openai.NotFoundError, match="this server has sprout-base"):
        create(client, model="r2")
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=f"{server.url}/v1", api_key="a-wrong-key-of-some-length").models.list()


def test_several_models_and_a_graceful_end(key: str) -> None:
    with serve_process("one=sprout-base", "two=sprout-base", "--template", "none") as served:
        api = openai.OpenAI(base_url=f"{served.url}/v1", api_key="none")
        assert [model.id for model in api.models.list()] == ["one", "two"]
        assert create(api, model="one").choices[0].message == create(api, model="two").choices[0].message
        stream = create(api, model="one", stream=True, max_tokens=400, temperature=2.0, seed=3)
        next(stream)
        served.process.terminate()
        assert list(stream)[-1].choices[0].finish_reason in ("stop", "length"), "running answers are finished"
        assert served.process.wait(60) == 0
