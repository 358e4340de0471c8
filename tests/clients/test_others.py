"""Clients in other languages, and a tool that was written for OpenAI's API, against `r1kit serve`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from sampled_answers import QUESTION, Answer
from serve_process import ServeProcess


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl here")
def test_curl(server: ServeProcess, key: str, expected: Answer) -> None:
    messages = [{"role": "user", "content": QUESTION}]
    body = {"model": "sprout-base", "messages": messages, "seed": expected.seed, "max_tokens": 100}
    command = ["curl", "--silent", "--show-error", "--no-buffer", f"{server.url}/v1/chat/completions"]
    command += ["--header", "Content-Type: application/json", "--header", f"Authorization: Bearer {key}", "--data"]
    done = subprocess.run([*command, json.dumps(body)], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["choices"][0]["message"]["content"] == expected.content
    done = subprocess.run([*command, json.dumps({**body, "stream": True})], capture_output=True, text=True, check=True)
    events = [line.removeprefix("data: ") for line in done.stdout.splitlines() if line]
    deltas = [json.loads(event)["choices"][0]["delta"] for event in events[:-1]]
    assert events[-1] == "[DONE]" and "".join(delta.get("content", "") for delta in deltas) == expected.content


def test_openai_for_node(server: ServeProcess, key: str, installed: Path, expected: Answer) -> None:
    script = Path(__file__).parent / "openai_client.mjs"
    env = {**os.environ, "OPENAI_BASE_URL": f"{server.url}/v1", "OPENAI_API_KEY": key, "SEED": str(expected.seed)}
    shutil.copy(script, installed)  # node looks for packages beside the script
    done = subprocess.run(["node", installed / script.name], capture_output=True, text=True, env=env, timeout=120)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["models"] == ["sprout-base"]
    assert result["content"] == result["streamed"] == expected.content and result["reasoning"] == expected.reasoning
    assert result["again"] == result["choices"] and len(result["choices"]) == 2
    assert result["error"] == [400, "temperature"] and result["logprobs"] > 0 and result["usage"] > 0
    assert isinstance(json.loads(result["json"])["answer"], int)


def test_llm_command(server: ServeProcess, key: str, installed: Path, tmp_path: Path, expected: Answer) -> None:
    """The tool `llm`, with a model added as its documentation describes for OpenAI-compatible servers."""
    (tmp_path / "extra-openai-models.yaml").write_text(
        f"- model_id: sprout\n  model_name: sprout-base\n  api_base: {server.url}/v1\n  api_key_name: r1kit\n"
    )
    (tmp_path / "keys.json").write_text(json.dumps({"r1kit": key}))
    env = {**os.environ, "LLM_USER_PATH": str(tmp_path)}
    command = [installed / "venv" / "bin" / "llm", "-m", "sprout", QUESTION, "-o", "seed", str(expected.seed)]
    for extra in ([], ["--no-stream"]):
        done = subprocess.run([*command, *extra], capture_output=True, text=True, env=env, timeout=120)
        assert done.returncode == 0 and done.stdout.strip() == expected.content.strip(), done.stderr
