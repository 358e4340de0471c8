"""Review of completions with the help of an endpoint, when it answers well, badly or not at all."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from r1kit.config import Curate
from r1kit.data.prompt import Prompt
from r1kit.evals.curation import Review
from r1kit.rewards.judge import client
from r1kit.rewards.judge.endpoint import Endpoint
from r1kit.rewards.score import ScoreRequest
from r1kit.rewards.services import Settings
from r1kit.rewards.workers.pool import RewardPool
from r1kit.stages.background import in_background
from r1kit.stages.context import StageContext
from r1kit.stages.curate_review import open_reviewer
from r1kit.types import Completion, Problem

pytestmark = pytest.mark.slow
PROBLEM = Problem("p", "What is 7+6? {mark}", "13", family="sums")
PROMPT = Prompt(PROBLEM, PROBLEM.question, ())
RIGHT = "<think>7+6=13 等等</think> \\boxed{13}"
WRONG = "<think>7+6=12</think> \\boxed{12}"
# Text of a reply, or an HTTP status.
Reply = str | int


class Server(ThreadingHTTPServer):
    """An endpoint that answers with `reply(prompt)`."""

    reply: Callable[[str], Reply]
    prompts: list[str]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.prompts.append(body["messages"][0]["content"])
        reply = self.server.reply(self.server.prompts[-1])
        data = json.dumps({"choices": [{"message": {"content": reply}}]}).encode()
        self.send_response(reply if isinstance(reply, int) else 200)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


PLAIN = "It is \\boxed{13}, because 7+6 = 13."  # of a template without think tags


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(client, "FIRST_PAUSE", 0.01)
    with Server(("127.0.0.1", 0), Handler) as running:
        running.prompts = []
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


def reviews(
    server: Server, directory: Path, texts: list[str], reply: Callable[[str], Reply], **changes: Any
) -> list[Review]:
    """Review completions with these texts in a stage whose rewriter or judge is `server`."""
    server.reply = reply
    service = {"base_url": f"http://127.0.0.1:{server.server_port}/v1", "model": "m"}
    helper = "rewriter" if changes.get("makes", "records") == "records" else "judge"
    config = Curate(
        **{"kind": "curate", "model": "x", "prompts": ["a.jsonl"], "template": "none", helper: service, **changes}
    )
    completions = [Completion("p", i, tuple(range(9)), (0.0,) * 9, text, "stop") for i, text in enumerate(texts)]
    context = StageContext("c", directory, 0, "float32", "cpu", 1, {})
    with open_reviewer(config, context, [PROBLEM]) as review:
        return list(review(PROMPT, completions))


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("Here it is: <think>\nI add 7 and 6.\n</think>\nIt is \\boxed{13}.", ""),
        ("<think>\nI add 7 and 6.\n</think>\nIt is \\boxed{12}.", "rewriter"),
        ("I would rather not.", "rewriter"),
        ("<think>\nI add 7 and 6, 我觉得这样很好\n</think>\n\\boxed{13}", "mixed language"),
        (401, "rewriter"),
    ],
)
def test_rewritten_response_is_checked_again(server: Server, tmp_path: Path, reply: Reply, reason: str) -> None:
    rows = reviews(server, tmp_path, [RIGHT, WRONG], lambda _: reply)
    assert [row["reason"] for row in rows] == [reason, "wrong"] and len(server.prompts) == 1, (
        "only the right one is sent"
    )
    assert "What is 7+6? {mark}" in server.prompts[0] and "{question}" not in server.prompts[0]


def test_rewritten_response_replaces_the_original(server: Server, tmp_path: Path) -> None:
    reply = "Here it is: <think>\nI add 7 and 6.\n</think>\nIt is \\boxed{13}."
    (row,) = reviews(server, tmp_path, [RIGHT], lambda _: reply)
    assert row["original"] == RIGHT and row["response"] == reply.removeprefix("Here it is: ")


@pytest.mark.parametrize(("reply", "response", "reason"), [
    ("7 and 6 make \\boxed{13}.", "7 and 6 make \\boxed{13}.", ""),
    ("<think>a draft</think>\n7 and 6 make \\boxed{13}.", "7 and 6 make \\boxed{13}.", ""),
    ("7 and 6 make \\boxed{12}.", PLAIN, "rewriter"),
    ("<think>\nI add.", PLAIN, "rewriter"),
])  # fmt: skip
def test_response_without_think_tags_is_rewritten_without(
    server: Server, tmp_path: Path, reply: str, response: str, reason: str
) -> None:
    (row,) = reviews(server, tmp_path, [PLAIN], lambda _: reply)
    assert (row["reason"], row["response"]) == (reason, response) and "think>" not in server.prompts[0]


def test_replies_are_cached_in_the_stage(server: Server, tmp_path: Path) -> None:
    first = reviews(server, tmp_path, [RIGHT], lambda _: "<think>\nI add.\n</think>\nIt is \\boxed{13}.")
    assert reviews(server, tmp_path, [RIGHT], lambda _: 500) == first and len(server.prompts) == 1


def together(number: int, reply: str) -> Callable[[str], Reply]:
    """Return an endpoint that answers when so many requests are in flight; else they fail."""
    barrier = threading.Barrier(number, timeout=20)

    def answer(prompt: str) -> Reply:
        try:
            barrier.wait()
        except threading.BrokenBarrierError:
            return 401
        return reply

    return answer


@pytest.mark.slow
def test_prompts_are_rewritten_at_the_same_time(server: Server, tmp_path: Path) -> None:
    server.reply = together(3, "<think>\nI add 7 and 6.\n</think>\nIt is \\boxed{13}.")
    service = {"base_url": f"http://127.0.0.1:{server.server_port}/v1", "model": "m", "max_concurrent": 3}
    config = Curate(kind="curate", model="x", prompts=["a.jsonl"], template="none", rewriter=service)
    problems = [Problem(f"p{n}", f"What is 7+6? ({n})", "13") for n in range(3)]
    completion = Completion("p", 0, tuple(range(9)), (0.0,) * 9, RIGHT, "stop")
    with open_reviewer(config, StageContext("c", tmp_path, 0, "float32", "cpu", 1, {}), problems) as review:
        groups = [(Prompt(problem, problem.question, ()), [completion]) for problem in problems]
        rows = list(in_background(lambda group: next(review(*group)), groups, review.threads))
    assert [row["reason"] for row in rows] == ["", "", ""]


@pytest.mark.slow
def test_accuracy_judge_gets_as_many_requests_as_it_may(server: Server) -> None:
    server.reply = together(3, "Verdict: correct")
    judge = Endpoint(f"http://127.0.0.1:{server.server_port}/v1", "m", max_concurrent=3)
    problem = Problem("p", "Capital of France?", "Paris", "judge")
    requests = [ScoreRequest(problem, f"\\boxed{{Paris{n}}}", {"accuracy": 1.0}) for n in range(3)]
    with RewardPool(1, settings=Settings(judge=judge)) as pool:
        scores = pool.score_many(requests)
    assert [score.total for score in scores] == [1.0] * 3, [score.reason for score in scores]


def prefer_longer(prompt: str) -> str:
    """A judge that prefers the longer answer, and the first of two equally long ones."""
    first, second = (prompt.partition(f"{place} answer:")[2].split("=====")[2] for place in ("First", "Second"))
    return "Hm.\nVerdict: " + ("first much better" if len(first) >= len(second) else "second better")


def test_pairs_of_clear_preference_are_kept(server: Server, tmp_path: Path) -> None:
    texts = ["No.", "Yes, please.", "so", "so", "?"]
    rows = reviews(server, tmp_path, texts, prefer_longer, makes="pairs", samples=5)
    assert [row["reason"] for row in rows] == ["", "unclear", "surplus"] and len(server.prompts) == 8
    assert (rows[0]["chosen"], rows[0]["rejected"], rows[0]["difference"]) == ("Yes, please.", "No.", 1.5)
    assert rows[1]["difference"] == 0, "position bias cancels"


def test_pairs_without_a_verdict_are_ungraded(server: Server, tmp_path: Path) -> None:
    (row,) = reviews(server, tmp_path, ["a", "b"], lambda _: "?", makes="pairs")
    assert row["reason"] == "ungraded" and "no verdict" in row["why"]


def test_pairs_need_a_summary(server: Server, tmp_path: Path) -> None:
    texts = ["<think>a</think>", "<think>b", "c"]
    rows = reviews(server, tmp_path, texts, prefer_longer, makes="pairs", samples=3)
    assert [row["reason"] for row in rows] == ["format", "format", "surplus"] and not server.prompts


def test_labels_come_from_the_last_verdict(server: Server, tmp_path: Path) -> None:
    def guard(prompt: str) -> str:
        return "Verdict: unsafe" if "with fire" in prompt else "It declines.\n**Verdict: safe**"

    rows = reviews(server, tmp_path, ["No.", "With care, with fire."], guard, makes="labels")
    assert [(row["reason"], row["safe"]) for row in rows] == [("", True), ("", False)]


def test_the_oracle_for_rules_puts_a_thought_before_a_right_answer(tmp_path: Path) -> None:
    extra = {"constraints": [("punctuation:no_comma", {})], "topic": "bees", "related": ("hive", "honey")}
    problem = Problem("b", "Tell me about bees without commas.", "", "rules", extra=extra)
    answer = "Bees live in a hive and make honey."
    config = Curate(kind="curate", model="x", prompts=["a.jsonl"], rewriter="oracle:rules")
    completions = [
        Completion("b", i, (1, 2, 3), (0.0,) * 3, text, "stop") for i, text in enumerate((answer, "Bees, well."))
    ]
    with open_reviewer(config, StageContext("c", tmp_path, 0, "float32", "cpu", 1, {}), [problem]) as review:
        right, wrong = review(Prompt(problem, problem.question, ()), completions)
    assert right["reason"] == "" and right["original"] == answer
    assert right["response"] == f"<think>\nI write about bees. I use no comma.\n</think>\n{answer}"
    assert wrong["reason"] == "wrong"
