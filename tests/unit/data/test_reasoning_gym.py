"""Problems of reasoning-gym: the same on every call, in disjoint splits, judged by their family's check.

Tests of the generator run on a stand-in (tests/fixtures/stub_reasoning_gym) and on the package where it is installed.
"""

from __future__ import annotations

import os
import sys
from importlib import util

import pytest
from paths import ROOT

from r1kit.config import PromptSource
from r1kit.data.problems import load_problems
from r1kit.errors import UserError
from r1kit.rewards import services
from r1kit.rewards.sandbox.base import Execution, Outcome
from r1kit.rewards.sandbox.guest.gym import OTHER_TASK
from r1kit.rewards.score import grade
from r1kit.rewards.workers.pool import needs_processes

STUB = str(ROOT / "tests/fixtures/stub_reasoning_gym")
installed = pytest.mark.skipif(util.find_spec("reasoning_gym") is None, reason="needs reasoning-gym")
native = pytest.mark.skipif(sys.platform != "linux", reason="its check runs in a native tier of the sandbox")


@pytest.fixture(params=["stub", pytest.param("installed", marks=installed)])
def gym(request, monkeypatch):
    if request.param == "stub":
        monkeypatch.syspath_prepend(STUB)
        monkeypatch.setenv("PYTHONPATH", STUB, prepend=os.pathsep)


@pytest.fixture
def stub(monkeypatch):
    monkeypatch.syspath_prepend(STUB)
    monkeypatch.setenv("PYTHONPATH", STUB, prepend=os.pathsep)


def problems(family: str, split: str = "train", limit: int = 3):
    return load_problems([PromptSource(source=f"reasoning_gym:{family}", split=split, limit=limit)])


def test_tasks_are_the_same_on_every_call_and_splits_are_disjoint(gym):
    train, held_out = problems("leg_counting", limit=60), problems("leg_counting", "held_out", 8)
    assert train == problems("leg_counting", limit=60) and (len(train), len(held_out)) == (60, 8)
    assert len({p.question for p in train}) == 60
    assert not {p.question for p in train} & {p.question for p in held_out}
    assert train[0].verifier == "reasoning_gym" and needs_processes((), {"reasoning_gym"})


def test_unknown_family_and_split_raise(gym):
    with pytest.raises(UserError, match="no such family; did you mean leg_counting"):
        problems("leg_countin")
    with pytest.raises(UserError, match=r"must be 'train' or 'held_out'"):
        problems("leg_counting", "test")


def test_small_family_gives_fewer_problems(stub):
    train, held_out = problems("tiny", limit=50), problems("tiny", "held_out", 50)
    assert len(train) + len(held_out) == 10


def test_family_that_accepts_anything_is_refused(stub):
    with pytest.raises(UserError, match="cannot be used as a reward, because its check accepts '17 no answer'"):
        problems("lenient")


def test_missing_package_names_the_install_command(monkeypatch):
    monkeypatch.setattr(util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'r1kit\[reasoning-gym\]'"):
        problems("leg_counting")


class FakeSandbox:
    """Answers every task with one outcome and records the tasks."""

    name = "landlock"

    def __init__(self, outcome):
        self.outcome, self.tasks = outcome, []

    def run(self, task, limits):
        self.tasks.append(task)
        return Execution((self.outcome,))


@pytest.mark.parametrize(
    ("outcome", "status", "reason"),
    [
        (Outcome("ok", 1.0), "right", "right"),
        (Outcome("ok", 0.25), "wrong", "leg_counting scores it 0.25 of 1"),
        (Outcome("ok", OTHER_TASK), "infra_error", OTHER_TASK),
        (Outcome("ok", "the answer is no plain formula"), "unparseable", "formula"),
        (Outcome("error", detail="ValueError: x"), "unparseable", "ValueError"),
        (Outcome("over_limit", detail="20 s"), "over_limit", "20 s"),
        (Outcome("infra_error", detail="broken"), "infra_error", "broken"),
    ],
)
def test_outcome_of_the_check_decides_the_verdict(stub, monkeypatch, outcome, status, reason):
    sandbox = FakeSandbox(outcome)
    monkeypatch.setattr(services, "native_sandbox", lambda: sandbox)
    (problem, *_) = problems("leg_counting")
    verdict = grade(problem, "<think>so</think> The answer is 12.")
    assert verdict.status == status and reason in verdict.reason and verdict.value == float(status == "right")
    assert '"answer": "12"' in sandbox.tasks[0].inputs[0] and problem.question in sandbox.tasks[0].inputs[0]
    assert grade(problem, "<answer>" + "9" * 20_000 + "</answer>").status == "over_limit"
    assert grade(problem, "I do not know").status == "unparseable" and len(sandbox.tasks) == 1


@native
@installed
def test_answers_are_checked_by_the_family():
    (legs, *_), (puzzle, *_) = problems("leg_counting"), problems("puzzle24")
    for problem, text, status in (
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
        verdict = grade(problem, text)
        assert (verdict.status, verdict.value) == (status, float(status == "right")), (text[:60], verdict)


@native
@installed
def test_task_of_another_version_masks_the_sample():
    (problem, *_) = problems("leg_counting")
    problem.extra["index"] += 1
    verdict = grade(problem, f"\\boxed{{{problem.answer}}}")
    assert verdict.masked and "another task" in verdict.reason
