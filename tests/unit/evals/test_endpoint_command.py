"""`r1kit eval --endpoint` from its options to its files, against a local HTTP server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from chat_server import ChatServer, chat_server
from typer.testing import CliRunner

from r1kit.cli import app
from r1kit.errors import UserError

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
    names = ["results.json", "samples.jsonl"]
    for folder in ("complete", "resumed"):
        assert sorted(path.name for path in (tmp_path / folder).iterdir()) == names
    for name in names:
        assert (tmp_path / "complete" / name).read_bytes() == (tmp_path / "resumed" / name).read_bytes()
    summary = json.loads(done.stdout.splitlines()[-1])["benchmarks"]["sums"]
    assert summary["pass@1"] == 1 and summary["mean_tokens"] == 5 and summary["protocol"]["template"] == "chat"
