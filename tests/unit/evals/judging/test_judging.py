"""Judges of benchmarks: reading of their replies, and asking at a local HTTP server."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import log
from pathlib import Path

import pytest
from chat_server import ChatServer, chat_server

from r1kit.errors import UserError
from r1kit.evals.graders import graded_here_or_by, require_graders
from r1kit.evals.judging import alpaca_eval, frames, simpleqa
from r1kit.evals.judging.judges import JUDGES, judge_facts, judge_numbers
from r1kit.report.benchmarks import protocol_lines
from r1kit.rewards import services
from r1kit.rewards.checks.base import ScoreRequest
from r1kit.rewards.judge.answer import Answer
from r1kit.rewards.judge.endpoint import Endpoint
from r1kit.rewards.services import Settings
from r1kit.types import Problem, Score


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ChatServer]:
    with chat_server(lambda body: "?") as running:
        endpoint = Endpoint(running.url, "a-judge", cache=str(tmp_path / "judge"), tries=1)
        services.configure(Settings(judge=endpoint))
        yield running
    services.configure(Settings())


def problem(verifier: str, answer: str = "the gold") -> Problem:
    return Problem("p", "Who {gold}?", answer, verifier)


def score(problem: Problem, *texts: str) -> list[Score]:
    def nothing(requests: object) -> list[Score]:
        assert not requests
        return []

    return graded_here_or_by(nothing)([ScoreRequest(problem, text, {"accuracy": 1.0}) for text in texts])


def row(score: Score) -> dict:
    return {"reason": score.reason, "correct": None if score.masked else score.parts["accuracy"] == 1}


def said(text: str, **first_token: float) -> Answer:
    return Answer(text, "stop", 1, 1, first_token=first_token)


@pytest.mark.parametrize(
    ("text", "grade"),
    [
        ("A", "CORRECT"),
        (" B\n", "INCORRECT"),
        ("C.", "NOT_ATTEMPTED"),
        ("**B**", "INCORRECT"),
        ("INCORRECT", "INCORRECT"),
        ("CORRECT", "CORRECT"),
        ("incorrect", "INCORRECT"),
        ("not correct", "INCORRECT"),
        ("It is not fully correct.", "INCORRECT"),
        ("This isn't correct.", "INCORRECT"),
        ("NOT_ATTEMPTED", "NOT_ATTEMPTED"),
        ("Not attempted.", "NOT_ATTEMPTED"),
        ("B: INCORRECT", "INCORRECT"),
        ("A - the names agree", "CORRECT"),
        ("The year is wrong, so the grade is B", "INCORRECT"),
        ("The grade is (A).", "CORRECT"),
        ("A good answer would name the year. This one is INCORRECT.", "INCORRECT"),
        ("<think>Maybe A? No, INCORRECT.</think>\nC", "NOT_ATTEMPTED"),
        ("A: INCORRECT", None),
        ("A\nor rather B", None),
        ("It could be CORRECT or INCORRECT", None),
        ("Because Carl won in 1931", None),
        ("", None),
    ],
)
def test_three_grades_are_read_from_letters_and_words(text: str, grade: str | None) -> None:
    assert simpleqa.read(said(text)) == grade


@pytest.mark.parametrize(
    ("text", "grade"),
    [
        ("It names Holm.\nTRUE", "TRUE"),
        ("It does not.\n**FALSE**", "FALSE"),
        ("FALSE", "FALSE"),
        ("It names Berg.\nFinal verdict: false.", "FALSE"),
        ("At first TRUE seemed right. The name differs, so FALSE.", "FALSE"),
        ("TRUE\nBoth say Holm.", "TRUE"),
        ("<think>TRUE</think>It differs.\nFALSE", "FALSE"),
        ("It is true that it names Holm.", None),
        ("What it says is not true.", None),
        ("UNTRUE", None),
    ],
)
def test_true_and_false_are_no_words_inside_an_explanation(text: str, grade: str | None) -> None:
    assert frames.read(said(text)) == grade


def test_grades_of_simpleqa_become_its_metrics(server: ChatServer) -> None:
    replies = {"Quentin": "A", "Paula": "INCORRECT", "nobody": "hm"}
    server.reply = lambda body: next(r for name, r in replies.items() if name in str(body["messages"]))
    simple = problem("simpleqa")
    scores = score(simple, "<think>Paula?</think>Quentin", "Paula", "nobody", "<think>cut")
    assert [each.reason for each in scores] == [
        "CORRECT",
        "INCORRECT",
        "NOT_ATTEMPTED unparsed",
        "NOT_ATTEMPTED; no answer",
    ]
    assert [each.parts["accuracy"] for each in scores] == [1, 0, 0, 0] and not any(each.masked for each in scores)
    bodies = [body for _, _, body in server.seen]
    assert [body.get("seed") for body in bodies if "nobody" in str(body)] == [None, 1], "asked twice, not the same"
    assert len(bodies) == 4 and all(body["temperature"] == 0 and body["model"] == "a-judge" for body in bodies)
    assert not any("Paula?" in str(body) for body in bodies), "the judge sees no thinking"
    rows = [row(each) for each in scores]
    assert judge_numbers([simple], rows) == {
        "correct": 0.25,
        "incorrect": 0.25,
        "not_attempted": 0.5,
        "attempted_accuracy": 0.5,
        "f_score": pytest.approx(1 / 3),
        "judge_unparsed": 0.25,
    }
    score(simple, "Quentin", "Paula")
    assert len(server.seen) == 4, "answers are kept by judge and prompt"
    other = replace(services.settings().judge, model="another")
    services.configure(Settings(judge=other))
    score(simple, "Quentin")
    assert len(server.seen) == 5


def test_answers_that_the_judge_does_not_reply_to_are_not_graded(server: ChatServer) -> None:
    server.reply = lambda body: 400
    [lost] = score(problem("frames"), "Holm")
    assert lost.masked and "HTTP 400" in lost.reason and judge_numbers([problem("frames")], [row(lost)]) == {}


def test_arena_hard_plays_both_orders(server: ChatServer) -> None:
    def reply(body: dict) -> str:
        text = body["messages"][1]["content"]
        model_is_a = text.index("ours") < text.index("the gold")
        return f"[[{'A>>B' if model_is_a else 'B>A'}]]" if "ours" in text and "tie" not in text else "[[A=B]] [[A>B]]"

    server.reply = reply
    arena = problem("arena_hard")
    won, tied, cut = score(arena, "ours", "ours tie", "<think>cut")
    assert won.reason == "B>A A>>B" and won.parts["accuracy"] == 1
    assert tied.masked and tied.reason.startswith("unparsed unparsed") and cut.parts["accuracy"] == 0
    assert len(server.seen) == 2 + 2 * 2
    numbers = judge_numbers([arena], [row(won), row(tied), row(cut)])
    assert numbers == {"score": 4 / 10, "judge_unparsed": pytest.approx(1 / 3)}  # 1 + 3 battles won, 3 + 3 lost


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (said("m", m=log(0.6), M=log(0.2)), "0.750000"),
        (said("M", **{" M": log(0.9), "M": log(0.05)}), "0.000000"),
        (said("x", x=0.0), None),
        (said("M"), "0 binary"),
        (said("<think>m or M?</think>m."), "1 binary"),
        (said("I am not sure"), None),
    ],
)
def test_preference_is_the_probability_of_one_token_else_binary(reply: Answer, expected: str | None) -> None:
    assert alpaca_eval.read(reply) == expected


def test_alpaca_eval_undoes_the_swap_and_says_where_it_falls_back(server: ChatServer) -> None:
    def reply(body: dict) -> dict | str | int:
        text = body["messages"][1]["content"]
        ours_is_m = text.index("ours") < text.index("the gold")
        if "plain" in text:
            return 400 if "logprobs" in body else "m" if ours_is_m else "M"
        chances = {"m" if ours_is_m else "M": 0.8, "M" if ours_is_m else "m": 0.1}
        top = [{"token": token, "logprob": log(chance)} for token, chance in chances.items()]
        return {"message": {"content": "m"}, "logprobs": {"content": [{"top_logprobs": top}]}}

    server.reply = reply
    questions = [Problem(str(i), f"Question {i}", "the gold", "alpaca_eval") for i in range(6)]
    assert {alpaca_eval.is_swapped(each) for each in questions} == {True, False}
    scores = [score(each, "ours")[0] for each in questions] + score(questions[0], "ours, plain")
    assert [each.parts["accuracy"] for each in scores] == [*[pytest.approx(8 / 9)] * 6, 1]
    assert scores[0].reason == "1.888889" and scores[-1].reason == "2.000000 binary"
    numbers = judge_numbers(questions, [row(each) for each in scores])
    assert numbers["win_rate"] == pytest.approx((6 * 8 / 9 + 1) / 7, abs=1e-6)
    assert numbers["judge_binary"] == 1 / 7 and numbers["judge_unparsed"] == 0


def test_judge_of_the_results_is_compared_with_the_papers(server: ChatServer) -> None:
    assert judge_facts([problem("math")]) == {} == judge_facts([problem("arena_hard", answer="")])
    stated = judge_facts([problem("arena_hard")])["judge"]
    assert stated["model"] == "a-judge" and stated["paper"] == "gpt-4-1106-preview" and len(stated["prompt"]) == 12
    assert len({judge.prompt_hash for judge in JUDGES.values()}) == len(JUDGES)
    protocol = dict(template="chat", system_prompt="", temperature=0, top_p=1, top_k=0, samples=1, denominator=1)
    protocol |= dict(max_completion_length=1, graded_text="", extraction="", published_problems=1, judge=stated)
    shown = "\n".join(protocol_lines("arena_hard", {"protocol": protocol, "problems": 1, "score": 0.379}))
    assert "judge: a-judge, prompt" in shown and "differs from the paper's (gpt-4-1106-preview)" in shown
    assert "score 37.9 %" in shown


def test_judged_benchmarks_need_a_judge_and_pairs_do_not() -> None:
    require_graders([problem("arena_hard"), problem("alpaca_eval")])
    with pytest.raises(UserError, match=r"grader frames: .* --judge-url"):
        require_graders([problem("frames")])


def test_prompts_contain_the_texts_between_marks_that_they_cannot_close() -> None:
    for name, judge in JUDGES.items():
        for messages in judge.games(problem(name), "ours {question}"):
            text = messages[-1]["content"]
            assert "Who {gold}?" in text and "ours {question}" in text and "{mark}" not in text, name
