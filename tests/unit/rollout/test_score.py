"""Scoring the completions of a prompt."""

from __future__ import annotations

import pytest

from r1kit.data.prompt import Prompt
from r1kit.rewards.score import ScoreRequest
from r1kit.rollout.score import score_group, score_request
from r1kit.types import Completion, FinishReason, Problem

PROBLEM = Problem("p", "What is 7+6?", "13")


def completion(text: str, finish_reason: FinishReason = "stop") -> Completion:
    return Completion("p", 0, (1,), (0.0,), text, finish_reason)


def test_request_carries_the_format_of_the_prompt() -> None:
    prompt = Prompt(PROBLEM, "7+6?<think>", (1, 2), think_open=True, answer_tags=True)
    request = score_request(prompt, completion("so</think> 13", "length"), {"format": 2.0})
    tokens = len(completion("so</think> 13", "length").token_ids)
    assert request == ScoreRequest(PROBLEM, "so</think> 13", {"format": 2.0}, True, True, True, tokens)


@pytest.mark.parametrize(
    ("think_open", "answer_tags", "text", "accuracy", "form"),
    [
        (False, False, "<think>so</think> \\boxed{13}", 1, 1),
        (True, False, "so</think> \\boxed{13}", 1, 1),
        (False, False, "so</think> \\boxed{13}", 1, 0),
        (True, False, "\\boxed{13}", 0, 0),
        (False, True, "<think>so</think> <answer>13</answer>", 1, 1),
        (False, True, "<think>so</think> \\boxed{13}", 1, 0),
    ],
)
def test_scores_depend_on_the_format_of_the_prompt(
    think_open: bool, answer_tags: bool, text: str, accuracy: float, form: float
) -> None:
    (score,) = score_group(Prompt(PROBLEM, "", (), think_open, answer_tags), [completion(text)])
    assert score.parts == {"accuracy": accuracy, "format": form} and score.total == accuracy + form


def test_truncated_completions_have_no_format() -> None:
    prompt = Prompt(PROBLEM, "", ())
    whole, cut = score_group(
        prompt, [completion("<think>so</think> \\boxed{13}", reason) for reason in ("stop", "length")]
    )
    assert (whole.parts["format"], cut.parts["format"]) == (1, 0)


def test_score_many_gets_one_request_per_completion() -> None:
    batches = []

    def score_many(requests):
        batches.append(requests)
        return []

    score_group(Prompt(PROBLEM, "", ()), [completion("a"), completion("b")], {"format": 1.0}, score_many)
    assert [[request.text for request in batch] for batch in batches] == [["a", "b"]]
