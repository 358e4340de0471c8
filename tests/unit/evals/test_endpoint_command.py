"""`r1kit eval --endpoint` and the evaluate stage, from options to files, against a local HTTP server."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path

import pytest
from chat_server import ChatServer, chat_server
from pydantic import ValidationError
from typer.testing import CliRunner

from r1kit.cli import app
from r1kit.config import Evaluate
from r1kit.config.stage import MemoryUse
from r1kit.data.worlds import world_problems
from r1kit.errors import UserError
from r1kit.evals.protocol import setting_of
from r1kit.stages.context import StageContext

SUMS = range(4)


def right(body: dict) -> dict:
    """Think, and answer `What is i+1?`."""
    number = int(body["messages"][-1]["content"].split("What is ")[1].split("+")[0])
    message = {"reasoning_content": r"Is it \boxed{0}?", "content": rf"It is \boxed{{{number + 1}}}."}
    return {"message": message, "finish_reason": "stop"}


def run(server: ChatServer, out: Path, *options: str):
    """Evaluate on a file of sums, two completions of each."""
    data = out.parent / "sums.jsonl"
    data.write_text("".join(json.dumps({"question": f"What is {i}+1?", "answer": str(i + 1)}) + "\n" for i in SUMS))
    command = ["eval", "--endpoint", server.url, "--prompts", str(data), "--samples", "2", "--out", str(out)]
    return CliRunner().invoke(app, [*command, *options])


@pytest.mark.slow
def test_interrupted_evaluation_continues_and_ends_in_the_same_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from r1kit.evals import benchmark
    from r1kit.rewards.judge import client

    def store_slowly(path: Path, raw: bytes) -> None:
        time.sleep(0.2)  # so that the next request has failed before this answer is kept
        store(path, raw)

    store = client._store
    monkeypatch.setattr(client, "_store", store_slowly)
    monkeypatch.setattr(benchmark, "BLOCK_COMPLETIONS", 4)
    monkeypatch.setenv("SOME_KEY", "secret")
    options = ["--model", "org/m", "--api-key-env", "SOME_KEY", "--price", "1,2", "--json", "--max-concurrent", "1"]
    with chat_server(right) as server:
        done = run(server, tmp_path / "complete", *options)
        assert done.exit_code == 0, done.output
        assert "org/m at http" in done.stderr and "cost 0.00016" in done.stderr and "8 requests" in done.stderr
        assert {key for _, key, _ in server.seen} == {"Bearer secret"}
        server.seen.clear()
        server.reply = lambda body: 400 if len(server.seen) > 5 else right(body)
        failed = run(server, tmp_path / "resumed", *options)
        assert isinstance(failed.exception, UserError) and "HTTP 400" in str(failed.exception)
        server.seen.clear()
        server.reply = right
        again = run(server, tmp_path / "resumed", *options)
        assert again.exit_code == 0 and len(server.seen) == 3 and "1 completions kept from before" in again.stderr
    names = ["problems.jsonl", "results.json", "samples.jsonl"]
    for folder in ("complete", "resumed"):
        assert sorted(path.name for path in (tmp_path / folder).iterdir()) == names
    for name in names:
        assert (tmp_path / "complete" / name).read_bytes() == (tmp_path / "resumed" / name).read_bytes()
    summary = json.loads(done.stdout.splitlines()[-1])["benchmarks"]["sums"]
    assert summary["pass@1"] == 1 and summary["mean_tokens"] == 5 and summary["protocol"]["template"] == "chat"


ENDPOINT = {"base_url": "http://h/v1", "model": "org/teacher"}


def stage(**keys: object) -> Evaluate:
    return Evaluate.model_validate({"kind": "evaluate", "benchmarks": {"sums": ["world:arithmetic"]}, **keys})


def test_stage_measures_a_model_or_an_endpoint() -> None:
    for keys in ({}, {"model": "m", "endpoint": ENDPOINT}):
        with pytest.raises(ValidationError, match="give either model, or endpoint"):
            stage(**keys)
    config = stage(endpoint=ENDPOINT)
    assert config.measured == "org/teacher" and config.inputs()[0] == "org/teacher at http://h/v1"
    assert config.amounts() == [] and config.longest_text() is None and config.memory_use() == MemoryUse()
    assert setting_of(config, 1, None).style.template == "chat"
    assert setting_of(stage(endpoint=ENDPOINT, template="none"), 1, None).style.template == "none"
    assert setting_of(stage(model="m"), 1, None).style.template == "r1-zero"


@pytest.mark.slow
def test_stage_evaluates_through_an_endpoint(tmp_path: Path) -> None:
    from r1kit.stages import evaluate

    data = tmp_path / "sums.jsonl"
    data.write_text("".join(json.dumps({"question": f"What is {i}+1?", "answer": str(i + 1)}) + "\n" for i in SUMS))
    context = StageContext("s", tmp_path / "s", 1, "float32", "cpu", 8, {})
    with chat_server(right) as server:
        endpoint = {"base_url": server.url, "model": "org/teacher"}
        config = stage(benchmarks={"sums": [str(data)]}, samples=2, endpoint=endpoint)
        assert evaluate.run(config, context) == {"sums": 1.0}
        assert len(server.seen) == 8
        evaluate.run(config, context)
        assert len(server.seen) == 8, "blocks are kept"
    assert json.loads(context.files.results.read_text())["model"] == "org/teacher"


@pytest.mark.slow
def test_model_here_and_behind_an_endpoint_get_the_same_numbers(tmp_path: Path) -> None:
    from r1kit.data.worlds import world_problems
    from r1kit.engine.base import Request, SamplingParams
    from r1kit.engine.factory import load_engine
    from r1kit.hashing import derive_seed
    from r1kit.model.reference import resolve_model

    engine, tokenizer = load_engine(resolve_model("sprout-base"), "cpu", "float32", 8)
    problems = world_problems("logic", "held_out", limit=3)
    params = SamplingParams(derive_seed(0, "evaluate"), 24, 0.6, 0.95)
    asked: Counter[str] = Counter()

    def reply(body: dict) -> dict:
        """Sample as the evaluation of a model does, whose samples are numbered."""
        [problem] = (problem for problem in problems if f"User: {problem.question}. " in body["prompt"])
        asked[problem.id] += 1
        request = Request(problem.id, tuple(tokenizer.encode(body["prompt"])), 1, asked[problem.id] - 1)
        [done] = engine.generate([request], params)
        usage = {"completion_tokens": len(done.token_ids)}
        return {"text": done.text, "finish_reason": done.finish_reason, "usage": usage}

    options = ["--prompts", "world:logic", "--limit", "3", "--samples", "2", "--max-completion-length", "24", "--json"]
    with chat_server(reply) as server:
        remote = ["--endpoint", server.url, "--template", "r1-zero", "--max-concurrent", "1"]
        numbers = []
        for name, more in (("here", []), ("there", remote)):
            out = ["--out", str(tmp_path / name)]
            result = CliRunner().invoke(app, ["eval", "sprout-base", *options, *more, *out])
            assert result.exit_code == 0, result.output
            numbers.append(json.loads(result.stdout.splitlines()[-1])["benchmarks"]["logic"])
    keys = ("pass@1", "cons@2", "format_rate", "mean_tokens", "truncated", "protocol")
    assert {key: numbers[0][key] for key in keys} == {key: numbers[1][key] for key in keys}
    by_level = [{level: each["pass@1"] for level, each in number["by_level"].items()} for number in numbers]
    assert by_level[0] == by_level[1]
    assert sorted(asked.values()) == [2, 2, 2]


@pytest.mark.slow
def test_a_chat_model_is_measured_on_repositories(tmp_path: Path) -> None:
    problems = {problem.prompt: problem for problem in world_problems("repositories", "held_out", limit=4)}

    def resolve(body: dict) -> dict:
        """Resolve the issues of level 1 only."""
        problem = problems[body["messages"][-1]["content"]]
        answer = problem.answer if problem.level == 1 else "I see nothing wrong."
        return {"message": {"content": f"Here is the change.\n\n{answer}"}, "finish_reason": "stop"}

    with chat_server(resolve) as server:
        command = ["eval", "--endpoint", server.url, "--model", "m", "--prompts", "world:repositories", "--limit", "4"]
        done = CliRunner().invoke(app, [*command, "--samples", "1", "--out", str(tmp_path / "out"), "--json"])
    assert done.exit_code == 0, done.output
    summary = json.loads(done.stdout.splitlines()[-1])["benchmarks"]["repositories"]
    solved = {level: values["pass@1"] for level, values in summary["by_level"].items()}
    assert solved == {"1": 1.0, "2": 0.0} and summary["ungraded"] == 0
