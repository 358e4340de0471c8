"""reasoning-gym's families: the same tasks on every call, and a check that no answer can talk into anything."""

from __future__ import annotations

import sys

import pytest

from r1kit.config import PromptSource
from r1kit.data.problems import load_problems
from r1kit.errors import UserError
from r1kit.rewards.score import grade
from r1kit.rewards.workers.pool import needs_processes

pytest.importorskip("reasoning_gym")
native = pytest.mark.skipif(sys.platform != "linux", reason="its check runs in a native tier of the sandbox")


def problems(family: str, split: str = "train", limit: int = 3):
    return load_problems([PromptSource(source=f"reasoning_gym:{family}", split=split, limit=limit)])


def test_tasks_are_the_same_on_every_call_and_splits_share_none():
    train, held_out = problems("leg_counting", limit=60), problems("leg_counting", "held_out", 8)
    assert train == problems("leg_counting", limit=60) and (len(train), len(held_out)) == (60, 8)
    assert not {p.question for p in train} & {p.question for p in held_out}
    assert train[0].verifier == "reasoning_gym" and needs_processes((), {"reasoning_gym"})
    with pytest.raises(UserError, match="no such family; did you mean leg_counting"):
        problems("leg_countin")
    with pytest.raises(UserError, match="train' or 'held_out"):
        problems("leg_counting", "test")


@native
def test_answers_are_checked_by_the_family():
    (legs, *_), (puzzle, *_) = problems("leg_counting"), problems("puzzle24")
    for problem, said, status in (
        (legs, f"<think>so</think> The answer is {legs.answer}.", "right"),
        (legs, f"<answer>{legs.answer}</answer>", "right"),
        (legs, f"\\boxed{{{int(legs.answer) + 1}}}", "wrong"),
        (legs, "I do not know", "unparseable"),
        (legs, "<answer>" + "9" * 20_000 + "</answer>", "over_limit"),
        (puzzle, f"<answer>{puzzle.answer}</answer>", "right"),
        (puzzle, "<answer>12*2</answer>", "wrong"),
        (puzzle, "<answer>setattr(Integer, str(p), 24)</answer>", "unparseable"),
        (puzzle, "<answer>__import__('os').system('true')</answer>", "unparseable"),
    ):
        verdict = grade(problem, said)
        assert (verdict.status, verdict.value) == (status, float(status == "right")), (said[:60], verdict)


@native
def test_a_task_of_another_version_is_no_verdict_on_the_answer():
    (problem, *_) = problems("leg_counting")
    problem.extra["index"] += 1
    verdict = grade(problem, f"\\boxed{{{problem.answer}}}")
    assert verdict.masked and "another task" in verdict.reason
