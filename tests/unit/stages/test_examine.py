"""What an endpoint is asked about answers, and what becomes of them when it answers well, badly or not at all."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from r1kit.config import Curate
from r1kit.rewards.judge import client as endpoint
from r1kit.stages.context import StageContext
from r1kit.stages.examine import examiner
from r1kit.types import Completion, Problem

PROBLEM = Problem("p", "What is 7+6? {mark}", "13", family="sums")
RIGHT = "<think>7+6=13 等等</think> \\boxed{13}"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Answers by `running.reply(prompt)`; an integer is a status."""
    monkeypatch.setattr(endpoint, "FIRST_PAUSE", 0.01)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.server.seen.append(body["messages"][0]["content"])
            said = self.server.reply(self.server.seen[-1])
            data = json.dumps({"choices": [{"message": {"content": said}}]}).encode()
            self.send_response(said if isinstance(said, int) else 200)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.seen = []
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


def examine(server: Any, directory: Path, texts: list[str], reply: Callable[[str], Any], **changes: Any) -> list[dict]:
    server.reply = reply
    service = {"base_url": f"http://127.0.0.1:{server.server_port}/v1", "model": "m"}
    helper = "rewriter" if changes.get("makes", "records") == "records" else "judge"
    config = Curate(
        **{"kind": "curate", "model": "x", "prompts": ["a.jsonl"], "template": "none", helper: service, **changes}
    )
    answers = [Completion("p", i, tuple(range(9)), (0.0,) * 9, text, "stop") for i, text in enumerate(texts)]
    with examiner(config, StageContext("c", directory, 0, "float32", "cpu", 1, {}), [PROBLEM]) as ask:
        return list(ask(PROBLEM, [(answer, answer.text) for answer in answers], None))


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("Here it is: <think>\nI add 7 and 6.\n</think>\nIt is \\boxed{13}.", ""),
        ("<think>\nI add 7 and 6.\n</think>\nIt is \\boxed{12}.", "rewriter"),
        ("I would rather not.", "rewriter"),
        ("<think>\nI add 7 and 6, 我觉得这样很好\n</think>\n\\boxed{13}", "mixed language"),
        (401, "rewriter"),
    ],
)
def test_what_a_rewriter_gives_back_is_examined_again(server: Any, tmp_path: Path, said: Any, reason: str) -> None:
    wrong = "<think>7+6=12</think> \\boxed{12}"
    rows = examine(server, tmp_path, [RIGHT, wrong], lambda _: said)
    assert [row["reason"] for row in rows] == [reason, "wrong"] and len(server.seen) == 1, "only the right one is sent"
    assert "What is 7+6? {mark}" in server.seen[0] and "{question}" not in server.seen[0]
    if not reason:
        assert rows[0]["original"] == RIGHT and rows[0]["response"].startswith("<think>\nI add")
        assert examine(server, tmp_path, [RIGHT], lambda _: 500)[0] == rows[0], "asked once"


def better(prompt: str) -> str:
    """A judge that likes long answers, and what stands first."""
    first, second = (prompt.partition(f"{place} answer:")[2].split("=====")[2] for place in ("First", "Second"))
    return "Hm.\nVerdict: " + ("first much better" if len(first) >= len(second) else "second better")


def test_pairs(server: Any, tmp_path: Path) -> None:
    rows = examine(server, tmp_path, ["No.", "Yes, please.", "so", "so", "?"], better, makes="pairs", samples=5)
    assert [row["reason"] for row in rows] == ["", "unclear", "surplus"] and len(server.seen) == 8
    assert (rows[0]["chosen"], rows[0]["rejected"], rows[0]["difference"]) == ("Yes, please.", "No.", 1.5)
    assert rows[1]["difference"] == 0, "a liking for the first place cancels"
    assert [row["reason"] for row in examine(server, tmp_path, ["a", "b"], lambda _: "?", makes="pairs")] == [
        "ungraded"
    ]
    silent = examine(server, tmp_path, ["<think>a</think>", "<think>b", "c"], better, makes="pairs", samples=3)
    assert [row["reason"] for row in silent] == ["format", "format", "surplus"], "a summary is what is compared"


def test_labels(server: Any, tmp_path: Path) -> None:
    def guard(prompt: str) -> str:
        return "Verdict: unsafe" if "with fire" in prompt else "It declines.\n**Verdict: safe**"

    rows = examine(server, tmp_path, ["No.", "With care, with fire."], guard, makes="labels")
    assert [(row["reason"], row["safe"]) for row in rows] == [("", True), ("", False)]
