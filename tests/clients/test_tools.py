"""Function calling with the clients of OpenAI: a question, the model's calls, their results, an answer.

With SmolLM2-135M-Instruct where its checkpoint is at hand, else with the bundled sprout-base. Neither was trained to
call tools, so calls are required; constrained decoding makes them valid.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from paths import ROOT
from serve_process import ServeProcess, serve_process

SMOLLM2 = ROOT / "HuggingFaceTB" / "SmolLM2-135M-Instruct"
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the current temperature of a city in degrees Celsius.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"enum": ["Paris", "Bogota"]}, "days": {"type": "integer", "maximum": 99}},
            "required": ["city", "days"],
            "additionalProperties": False,
        },
    },
}
TIME = {"type": "function", "function": {"name": "get_time", "description": "Get the time of day."}}
QUESTION = {"role": "user", "content": "What is the weather like in Paris today?"}
MODEL = "small"


@pytest.fixture(scope="module")
def tools_server() -> Iterator[ServeProcess]:
    model = str(SMOLLM2) if SMOLLM2.is_dir() else "sprout-base"
    with serve_process(f"{MODEL}={model}", "--chat-template", "hermes") as served:
        yield served


@pytest.fixture
def client(tools_server: ServeProcess) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{tools_server.url}/v1", api_key="none", max_retries=0) as api:
        yield api


def create(client: openai.OpenAI, **settings):
    settings = {"messages": [QUESTION], "tools": [WEATHER, TIME], "seed": 0, "max_tokens": 100, **settings}
    return client.chat.completions.create(model=MODEL, **settings)


def is_valid(name: str, arguments: str) -> bool:
    value = json.loads(arguments)
    if name == "get_time":
        return value == {}
    return name == "get_weather" and value["city"] in ("Paris", "Bogota") and isinstance(value["days"], int)


def test_the_conversation_of_openais_documentation(client: openai.OpenAI) -> None:
    choice = create(client, tool_choice="required", parallel_tool_calls=False).choices[0]
    [call] = choice.message.tool_calls
    assert choice.finish_reason == "tool_calls" and choice.message.content is None
    assert is_valid(call.function.name, call.function.arguments)
    messages = [QUESTION, choice.message, {"role": "tool", "tool_call_id": call.id, "content": "14"}]
    answer = create(client, messages=messages, max_tokens=40)
    assert answer.choices[0].message.content
    assert answer.usage.prompt_tokens > create(client, max_tokens=1).usage.prompt_tokens, "the model reads the result"


def test_a_named_function_is_called(client: openai.OpenAI) -> None:
    for name in ("get_weather", "get_time"):
        choice = {"type": "function", "function": {"name": name}}
        for seed in range(3):
            [call] = create(client, tool_choice=choice, seed=seed, temperature=1.5).choices[0].message.tool_calls
            assert call.function.name == name and is_valid(name, call.function.arguments)


def test_a_seed_gives_the_same_call_streamed(client: openai.OpenAI) -> None:
    asked = {"tool_choice": "required", "seed": 5, "temperature": 1.2, "n": 2, "max_tokens": 200}
    complete = [choice.message.tool_calls or [] for choice in create(client, **asked).choices]
    calls: list[dict[int, list[str]]] = [{}, {}]
    for chunk in create(client, **asked, stream=True):
        for choice in chunk.choices:
            for delta in choice.delta.tool_calls or []:
                call = calls[choice.index].setdefault(delta.index, ["", ""])
                call[0] += delta.function.name or ""
                call[1] += delta.function.arguments or ""
    wanted = [[[call.function.name, call.function.arguments] for call in each] for each in complete]
    assert [list(each.values()) for each in calls] == wanted
    assert all(is_valid(*call) for each in wanted for call in each)


def test_an_answer_may_be_text(client: openai.OpenAI) -> None:
    for settings in ({"tool_choice": "auto"}, {"tool_choice": "none"}, {}):
        reply = create(client, max_tokens=20, **settings)
        choice = reply.choices[0]
        assert 1 <= reply.usage.completion_tokens <= 20
        assert bool(choice.message.tool_calls) == (choice.finish_reason == "tool_calls")
        assert not (choice.message.tool_calls and settings.get("tool_choice") == "none")


def test_the_package_for_node(tools_server: ServeProcess, installed: Path) -> None:
    """Its runTools calls functions of the program until the model answers with text."""
    script = Path(__file__).parent / "openai_tools.mjs"
    env = {**os.environ, "OPENAI_BASE_URL": f"{tools_server.url}/v1", "OPENAI_API_KEY": "none"}
    shutil.copy(script, installed)
    done = subprocess.run(["node", installed / script.name], capture_output=True, text=True, env=env, timeout=300)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert is_valid("get_weather", result["called"]) and result["streamed"] == result["called"]
    assert result["finish"] == "tool_calls" and result["answer"]
    assert result["error"] == [400, "tool_choice"]
