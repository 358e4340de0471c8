"""The API over HTTP with scripted models: answers, streams, refusals, overload and disconnects."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from api_server import ApiServer, api_server

from r1kit.data.template import set_template
from r1kit.engine.live.base import ConstraintError, LiveDelta, LiveRequest
from r1kit.serve.limits import Limits
from r1kit.web.keys import ApiKeys

pytestmark = pytest.mark.slow
THOUGHTS = "<think> two and two </think>\n<answer> 4 🙂 </answer>"
QUESTION = [{"role": "user", "content": "2+2?"}]


@pytest.fixture(scope="module")
def server(tokenizer) -> Iterator[ApiServer]:
    scripts = {"zero": lambda _, sample: THOUGHTS.replace("4", "4" * (sample + 1)), "org/plain": lambda _, __: "ab. cd"}
    with api_server(tokenizer, scripts, Limits(max_tokens=500, max_concurrent=4, max_queue=4)) as served:
        yield served


@pytest.fixture(scope="module")
def client(server: ApiServer) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none needed here", max_retries=0) as api:
        yield api


def ask(server: ApiServer, path: str = "/v1/chat/completions", **body: Any) -> httpx.Response:
    body = {"model": "zero", **({"messages": QUESTION} if "chat" in path else {"prompt": "2+2="}), **body}
    return httpx.post(server.url + path, json=body, timeout=60)


def test_models_are_listed(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["zero", "org/plain"]
    plain = client.models.retrieve("org/plain").model_extra
    assert plain["max_model_len"] == 4096 and plain["conversations"] is False  # the template shows one question


def test_reasoning_is_parted_from_content(client: openai.OpenAI, server: ApiServer) -> None:
    answer = client.chat.completions.create(model="zero", messages=QUESTION, seed=7, n=2)
    messages = [choice.message for choice in answer.choices]
    assert [message.content for message in messages] == ["4 🙂", "44 🙂"]
    assert {message.model_extra["reasoning_content"] for message in messages} == {"two and two"}
    assert [choice.finish_reason for choice in answer.choices] == ["stop", "stop"] and answer.model_extra["seed"] == 7
    tokenizer = server.service.models["zero"].tokenizer
    prefix = len(tokenizer.encode(THOUGHTS.partition("\n")[0]))
    assert answer.usage.completion_tokens_details.reasoning_tokens == 2 * prefix
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    asked = server.engines["zero"].seen[-1]
    assert (asked.params.seed, asked.params.temperature, asked.params.top_p, asked.samples) == (7, 0.6, 0.95, 2)


def test_a_stream_sends_the_same_answer_in_pieces(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model="zero", messages=QUESTION, n=2, stream=True, stream_options={"include_usage": True}, logprobs=True
    )
    chunks = list(stream)
    texts = {(index, name): "" for index in (0, 1) for name in ("content", "reasoning_content")}
    tokens, ends = {0: 0, 1: 0}, {}
    for chunk in chunks:
        for choice in chunk.choices:
            for name in ("content", "reasoning_content"):
                texts[choice.index, name] += getattr(choice.delta, name, None) or ""
            if choice.logprobs:
                rows = choice.logprobs.model_extra.get("reasoning_content", [])
                tokens[choice.index] += len(choice.logprobs.content) + len(rows)
            ends[choice.index] = choice.finish_reason
    assert texts == {
        (0, "content"): "4 🙂",
        (1, "content"): "44 🙂",
        (0, "reasoning_content"): "two and two",
        (1, "reasoning_content"): "two and two",
    }
    assert ends == {0: "stop", 1: "stop"} and len(chunks) > 10, "sent in pieces"
    assert chunks[-1].choices == [] and chunks[-1].usage.completion_tokens == sum(tokens.values()) + 2, "and two EOS"
    assert all(chunk.usage is None for chunk in chunks[:-1]) and len({chunk.id for chunk in chunks}) == 1


def test_events_end_with_done_and_usage_only_where_asked_for(server: ApiServer) -> None:
    events = ask(server, stream=True).text.split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""] and all(event.startswith("data: {") for event in events[:-2])
    assert not any("usage" in event for event in events)


def test_usage_grows_from_chunk_to_chunk_where_asked_for(server: ApiServer) -> None:
    options = {"include_usage": True, "continuous_usage_stats": True}
    events = ask(server, stream=True, stream_options=options).text.split("\n\n")[:-2]
    counts = [json.loads(event.removeprefix("data: "))["usage"]["completion_tokens"] for event in events]
    assert counts == sorted(counts) and counts[-1] > 20


def test_stop_strings_are_cut_off(client: openai.OpenAI) -> None:
    for stream in (False, True):
        answer = client.completions.create(
            model="org/plain", prompt=["x", "y"], stop=". c", stream=stream, max_tokens=99
        )
        texts = ["", ""]
        for part in answer if stream else [answer]:
            for choice in part.choices:
                texts[choice.index] += choice.text
        assert texts == ["ab", "ab"]


def test_completions_have_16_tokens_by_default_and_columns_of_logprobs(client: openai.OpenAI) -> None:
    answer = client.completions.create(model="zero", prompt=[5, 6, 7], logprobs=2).choices[0]
    assert answer.finish_reason == "length" and answer.text == "".join(answer.logprobs.tokens)
    assert len(answer.logprobs.tokens) == 16 and answer.logprobs.token_logprobs == [0.0] * 16
    assert answer.logprobs.text_offset[1] == len(answer.logprobs.tokens[0]) and answer.logprobs.top_logprobs[0]


def test_a_seed_is_drawn_and_returned(server: ApiServer) -> None:
    seeds = {ask(server).json()["seed"] for _ in range(3)}
    assert len(seeds) == 3 and server.engines["zero"].seen[-1].params.seed in seeds
    stream = ask(server, stream=True, seed=-5).text.split("\n\n")[0]
    assert json.loads(stream.removeprefix("data: "))["seed"] == -5


def test_response_formats_begin_after_the_reasoning(server: ApiServer) -> None:
    schema = {"type": "object", "properties": {"x": {"type": "integer"}}}
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema, "strict": True}}
    assert ask(server, response_format=wanted).status_code == 200
    constraint = server.engines["zero"].seen[-1].constraint
    assert constraint.kind == "json_schema" and json.loads(constraint.source) == schema
    assert constraint.after == "</think>"
    assert ask(server, "/v1/completions", response_format={"type": "json_object"}).status_code == 200
    assert server.engines["zero"].seen[-1].constraint.after is None
    assert ask(server, response_format={"type": "text"}).status_code == 200
    assert server.engines["zero"].seen[-1].constraint is None


@pytest.mark.parametrize(
    ("body", "param", "message"),
    [
        ({"temperature": "hot"}, "temperature", "temperature = 'hot': must be a number"),
        ({"temperature": 3}, "temperature", "temperature = 3: must be at most 2"),
        ({"n": 0}, "n", "n = 0: must be at least 1"),
        ({"n": 2.5}, "n", "n = 2.5: must be an integer"),
        ({"n": 100}, "n", "at most 8 on this server"),
        ({"max_tokens": 501}, "max_tokens", "max_tokens = 501: this server allows at most 500"),
        ({"max_tokens": 5, "max_completion_tokens": 6}, "max_tokens", "differ: 5 and 6"),
        ({"stop": [""]}, "stop[0]", "at least 1 character"),
        ({"stop": ["x"] * 17}, "stop", "at most 16"),
        ({"top_p": 0}, "top_p", "greater than 0"),
        ({"seed": 2**63}, "seed", "less than"),
        ({"messages": []}, "messages", "at least 1 item"),
        (
            {"messages": [{"role": "critic", "content": "x"}]},
            "messages[0].role",
            "'assistant' or 'tool'",
        ),
        ({"messages": [{"role": "user"}]}, "messages[0].content", "is missing"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content", "images"),
        ({"messages": [{"role": "user", "content": None}]}, "messages[0].content", "must be a text"),
        ({"messages": [*QUESTION, {"role": "assistant", "content": "4"}]}, "messages", "must be from user or tool"),
        ({"messages": [*QUESTION, *QUESTION]}, "messages", "shows one question"),
        ({"tools": [{"type": "function"}]}, "tools[0].function", "is missing"),
        ({"functions": [{"name": "f"}]}, "functions", "not supported"),
        ({"presence_penalty": 0.5}, "presence_penalty", "not supported"),
        ({"max_token": 5}, "max_token", "not supported"),
        ({"top_logprobs": 3}, "top_logprobs", "needs logprobs = true"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs", "must be at most 20"),
        ({"response_format": {"type": "xml"}}, "response_format.type", "'text', 'json_object' or 'json_schema'"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema", "missing"),
        ({"stream_options": {"include_usage": True}}, "stream_options", "needs stream = true"),
        ({"stream": True, "stream_options": {"usage": True}}, "stream_options.usage", "not supported"),
        ({"response_format": {"type": "text", "regex": "a"}}, "response_format.regex", "not supported"),
        ({"messages": [{**QUESTION[0], "prefix": True}]}, "messages[0].prefix", "not supported"),
    ],
)
def test_mistakes_are_refused_and_named(server: ApiServer, body: dict, param: str, message: str) -> None:
    refused = ask(server, **body)
    error = refused.json()["error"]
    assert (refused.status_code, error["type"], error["param"]) == (400, "invalid_request_error", param), error
    assert message in error["message"]


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ([], "prompt = []: 0 prompts: must be from 1 to 128"),
        (["a", 5], "prompt = ['a', 5]: must be a text, a list of token ids, or a list of texts or of such lists"),
        ({"text": "a"}, "must be a text"),
        (None, "must be a text"),
        (7, "must be a text"),
        ([["a"]], "must be a text"),
        ([5, True], "must be a text"),
        (["a"] * 1000, "1,000 prompts: must be from 1 to 128"),
        ([[5]] * 129, "129 prompts: must be from 1 to 128"),
        ([5, 10**6], "token ids outside the model's vocabulary"),
        ("", "the prompt is empty"),
        ([[]], "the prompt is empty"),
    ],
)
def test_a_prompt_that_is_none_is_refused(server: ApiServer, prompt: object, message: str) -> None:
    refused = ask(server, "/v1/completions", prompt=prompt)
    assert refused.status_code == 400 and message in refused.json()["error"]["message"], refused.text


def test_a_schema_that_cannot_be_followed_is_refused_with_its_field(server: ApiServer, monkeypatch) -> None:
    """Also if it becomes too complex while an answer is decoded. Clients would repeat a request after a 5xx."""
    engine, wanted = server.engines["zero"], {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}}

    def refuse(_: LiveRequest) -> None:
        raise ConstraintError("json_schema: Invalid type: blah")

    def fail() -> list[LiveDelta]:
        places = [*engine.running]
        engine.running.clear()
        return [LiveDelta(*place, finish_reason="error", error=ConstraintError("too complex")) for place in places]

    place = "response_format.json_schema.schema"
    expected = {"type": "invalid_request_error", "param": place, "code": None}
    with monkeypatch.context() as patch:
        patch.setattr(engine, "add", refuse)
        refused = ask(server, response_format=wanted)
        assert refused.status_code == 400
        assert refused.json()["error"] == {"message": "json_schema: Invalid type: blah", **expected}
    with monkeypatch.context() as patch:
        patch.setattr(engine, "step", fail)
        refused = ask(server, response_format=wanted)
        assert refused.status_code == 400 and refused.json()["error"] == {"message": "too complex", **expected}


def test_fields_that_change_nothing_are_accepted(server: ApiServer) -> None:
    assistant = {"role": "assistant", "content": "4", "refusal": None, "tool_calls": None, "reasoning_content": None}
    fields = {"user": "me", "store": True, "metadata": {"a": "b"}, "presence_penalty": 0.0, "frequency_penalty": None}
    fields |= {"tools": [], "tool_choice": "none", "logit_bias": {}, "parallel_tool_calls": True, "best_of": None}
    messages = [
        {"role": "user", "name": "me", "content": [{"type": "text", "text": "2+"}, {"type": "text", "text": "2"}]}
    ]
    assert ask(server, messages=messages, **fields).status_code == 200
    assert "2+2" in server.service.models["zero"].tokenizer.decode(server.engines["zero"].seen[-1].token_ids)
    refused = ask(server, messages=[*QUESTION, assistant, *QUESTION]).json()["error"]
    assert "shows one question" in refused["message"], "the fields of the assistant's message are fine"


def test_reasoning_that_is_sent_back_is_refused(client: openai.OpenAI) -> None:
    message = client.chat.completions.create(model="zero", messages=QUESTION).choices[0].message
    with pytest.raises(openai.BadRequestError, match="remove reasoning_content from the message") as caught:
        client.chat.completions.create(model="zero", messages=[*QUESTION, message.model_dump(), *QUESTION])
    assert caught.value.param == "messages[1].reasoning_content"


def test_an_answer_without_reasoning_says_so(client: openai.OpenAI) -> None:
    message = client.chat.completions.create(model="org/plain", messages=QUESTION).choices[0].message
    assert message.reasoning_content is None


def test_a_message_that_the_template_leaves_out_is_refused(tokenizer) -> None:
    """Also if its text occurs elsewhere in the prompt."""
    only_last = copy.deepcopy(tokenizer)
    set_template(only_last, "r1-zero")
    with api_server(only_last, {"zero": lambda _, __: "6"}, template="chat") as served:
        for first in ("assistant", "2+2?"):
            turns = [{"role": "user", "content": first}, {"role": "assistant", "content": "4"}, *QUESTION]
            error = ask(served, messages=turns).json()["error"]
            assert error["message"].startswith("messages[0]: the chat template of zero leaves this user message out")


@pytest.mark.parametrize(
    ("content", "headers", "message"),
    [
        (b"{", {}, "the body is not JSON"),
        (b"", {}, "the body must be a JSON object"),
        (b"[]", {}, "the body must be a JSON object"),
        (b"\xff\xfe", {}, ""),
        (b"null", {}, "the body must be a JSON object"),
        (b"7", {}, "the body must be a JSON object"),
        (b'{"model": "zero", "messages": ' + b"[" * 100_000, {}, ""),
        (b'{"model": "zero", "messages": [{"role": "user", "content": "\\ud800"}]}', {}, "lone surrogate"),
        (b'{"model": "zero", "stop": "\\udfff", "messages": [{"role": "user", "content": "x"}]}', {}, "lone surrogate"),
        (b'{"model": "zero", "messages": [], "response_format": ' + b'{"a":' * 99 + b"1" + b"}" * 100, {}, "64 levels"),
        (b'{"model": "zero", "temperature": NaN, "messages": [{"role": "user", "content": "x"}]}', {}, "temperature"),
        (b'{"model": "zero", "seed": ' + b"9" * 5000 + b"}", {}, ""),
        (b'{"model": "zero"}', {"Content-Type": "text/plain"}, "Content-Type: application/json"),
    ],
)
def test_bodies_that_are_no_request_are_refused(server: ApiServer, content: bytes, headers: dict, message: str) -> None:
    given = {"Content-Type": "application/json", **headers}
    refused = httpx.post(f"{server.url}/v1/chat/completions", content=content, headers=given, timeout=60)
    assert refused.status_code == 400 and message in refused.json()["error"]["message"], refused.text


def test_unknown_models_paths_and_methods_are_named(client: openai.OpenAI, server: ApiServer) -> None:
    with pytest.raises(openai.NotFoundError, match="this server has zero, org/plain"):
        client.chat.completions.create(model="gpt-4", messages=QUESTION)
    unknown = httpx.post(f"{server.url}/v1/embeddings", json={})
    assert unknown.status_code == 404 and "there are /v1/chat/completions" in unknown.json()["error"]["message"]
    for method, path, allowed in [
        ("GET", "/v1/chat/completions", "POST"),
        ("DELETE", "/v1/completions", "POST"),
        ("POST", "/v1/models", "GET"),
        ("POST", "/", "GET, HEAD"),
    ]:
        refused = httpx.request(method, server.url + path)
        assert refused.status_code == 405 and refused.headers["allow"] == allowed
        assert refused.json()["error"]["message"] == f"{method} is not allowed here; use {allowed}"


def test_a_prompt_that_is_too_long_is_refused(server: ApiServer) -> None:
    error = ask(server, messages=[{"role": "user", "content": "1 " * 5000}]).json()["error"]
    assert error["code"] == "context_length_exceeded" and "the context of zero has 4,096 tokens" in error["message"]
    far = ask(server, messages=[{"role": "user", "content": "x" * 1_100_000}])
    assert far.status_code == 400 and "1,100" in far.json()["error"]["message"]
    assert ask(server, messages=[{"role": "user", "content": "x" * 3_000_000}]).status_code == 413


def test_overload_is_refused_with_the_time_to_wait(server: ApiServer) -> None:
    engine = server.engines["zero"]
    engine.may_step.clear()
    try:
        with httpx.Client() as first:
            request = {"model": "zero", "messages": QUESTION, "n": 8, "stream": True}
            with first.stream("POST", f"{server.url}/v1/chat/completions", json=request, timeout=60) as running:
                assert running.status_code == 200
                refused = ask(server)
                assert refused.status_code == 429 and 1 <= int(refused.headers["retry-after"]) <= 60
                assert refused.json()["error"]["type"] == "rate_limit_error"
    finally:
        engine.may_step.set()
    server.wait_until(lambda: ask(server).status_code == 200)


def in_flight(server: ApiServer) -> int:
    rows = httpx.get(f"{server.url}/metrics").text.splitlines()
    return int(float(next(row for row in rows if row.startswith("r1kit_completions_in_flight ")).split()[1]))


@pytest.mark.parametrize("stream", [False, True])
def test_a_disconnect_frees_its_slots_at_once(server: ApiServer, stream: bool) -> None:
    engine = server.engines["zero"]
    engine.may_step.clear()
    try:
        for _ in range(20):  # more than there are slots
            body = {"model": "zero", "messages": QUESTION, "n": 8, "stream": stream}
            with pytest.raises(httpx.ReadTimeout):
                httpx.post(f"{server.url}/v1/chat/completions", json=body, timeout=httpx.Timeout(60, read=0.05))
            server.wait_until(lambda: in_flight(server) == 0 and not engine.running)
    finally:
        engine.may_step.set()
    assert ask(server).status_code == 200


def test_metrics_count_tokens_and_statuses(server: ApiServer) -> None:
    before, answer, after = (
        httpx.get(f"{server.url}/metrics").text,
        ask(server).json(),
        httpx.get(f"{server.url}/metrics").text,
    )

    def value(text: str, name: str) -> float:
        return next((float(row.split()[-1]) for row in text.splitlines() if row.startswith(name)), 0.0)

    for name, field in [("completion", "completion_tokens"), ("prompt", "prompt_tokens")]:
        row = f'r1kit_{name}_tokens_total{{model="zero"}}'
        assert value(after, row) - value(before, row) == answer["usage"][field]
    assert value(after, 'r1kit_requests_total{path="/v1/chat/completions",status="200"}') > 0
    assert value(after, 'r1kit_requests_total{path="/v1/chat/completions",status="400"}') > 0


def test_keys_are_needed_for_everything_but_health_and_the_page(tokenizer) -> None:
    key = "a-key-of-24-characters--"
    with api_server(tokenizer, {"m": lambda *_: "x"}, keys=ApiKeys([key])) as served:
        for path in ("/v1/models", "/metrics", "/openapi.json", "/other"):
            assert httpx.get(served.url + path).status_code == 401
        assert httpx.get(f"{served.url}/health").json() == {"status": "ok"}
        with pytest.raises(openai.AuthenticationError):
            openai.OpenAI(base_url=f"{served.url}/v1", api_key="wrong", max_retries=0).models.list()
        assert openai.OpenAI(base_url=f"{served.url}/v1", api_key=key).models.list().data[0].id == "m"


def test_a_request_ends_at_the_time_limit(tokenizer) -> None:
    with api_server(tokenizer, {"zero": lambda *_: "x"}, Limits(seconds=1)) as served:
        served.engines["zero"].may_step.clear()
        late = ask(served)
        assert late.status_code == 504 and late.json()["error"]["code"] == "timeout"
        events = ask(served, stream=True).text.split("\n\n")
        assert json.loads(events[-2].removeprefix("data: "))["error"]["code"] == "timeout"
        served.wait_until(lambda: not served.engines["zero"].running)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_engine_that_fails_ends_its_requests_and_is_reported(tokenizer) -> None:
    with api_server(tokenizer, {"zero": lambda *_: "x"}) as served:
        served.engines["zero"].failure = RuntimeError("out of order")
        assert ask(served).status_code == 500 and ask(served).json()["error"]["code"] == "engine_failed"
        assert httpx.get(f"{served.url}/health").status_code == 503
        assert str(served.service.worker.failure) == "out of order"
