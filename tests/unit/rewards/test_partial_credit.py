"""Accuracy in RL, in evaluation and for choices without tags: one rule in each place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerBase

from r1kit.config import RL, Evaluate, Prompting
from r1kit.data.prompt import Prompt
from r1kit.engine.base import SamplingParams
from r1kit.engine.scripted import ScriptedEngine
from r1kit.evals.benchmark import evaluate
from r1kit.rewards.score import ScoreRequest, score_with_verdict
from r1kit.stages.context import StageContext
from r1kit.stages.rl_prompts import RLPrompts
from r1kit.stages.rl_rewards import RLRewards
from r1kit.types import Completion, Problem

TWO = {"constraints": ["no_comma", ["number_words", {"num_words": 4, "relation": "at least"}]]}
IFEVAL = Problem("i", "Say it.", "", "ifeval", extra=TWO)
HALF = "no comma here"  # one constraint of two
FUZZY = Problem("f", "Who?", "the old man", "fuzzy")
OPTIONS = ["red", "a green one", "blue"]
CHOICE = Problem("c", "Which?", "B", "choice", extra={"options": OPTIONS})


def accuracy(problem: Problem, text: str, **changes: object) -> float:
    score, _ = score_with_verdict(ScoreRequest(problem, text, {"accuracy": 1.0}, **changes))
    return score.parts["accuracy"]


def test_a_share_counts_with_partial_credit_only() -> None:
    assert (accuracy(IFEVAL, HALF), accuracy(IFEVAL, HALF, partial_credit=True)) == (0, 0.5)
    assert (
        accuracy(IFEVAL, "no comma here either") == accuracy(IFEVAL, "no comma here either", partial_credit=True) == 1
    )
    share = accuracy(FUZZY, "<answer>the very old man</answer>", partial_credit=True)
    assert 0.8 <= share < 1 == accuracy(FUZZY, "<answer>the very old man</answer>"), "right from 0.8 on"


@pytest.mark.parametrize(("changes", "expected"), [({}, 0.0), ({"partial_credit": True}, 0.5)])
def test_rl_and_evaluation_count_alike(
    tmp_path: Path, tokenizer: PreTrainedTokenizerBase, changes: dict[str, bool], expected: float
) -> None:
    (tmp_path / "p.jsonl").write_text('{"question": "q", "answer": "1"}\n')
    rl = RL(kind="rl", model="m", prompts=[str(tmp_path / "p.jsonl")], rewards={"accuracy": 1.0}, **changes)
    context = StageContext("z", tmp_path, 3, "float32", "cpu", 8, {"m": tmp_path})
    completion = Completion("i", 0, (1, 2), (0.0, 0.0), HALF, "stop")
    [score] = RLRewards(rl, context, RLPrompts(rl, 0)).score(Prompt(IFEVAL, "", ()), [completion])
    config = Evaluate(kind="evaluate", model="m", benchmarks={"b": ["world:logic"]}, **changes)
    engine = ScriptedEngine(tokenizer, lambda prompt_id, sample: HALF)
    style = Prompting(template="none")
    evaluation = evaluate(
        engine, tokenizer, {"b": [IFEVAL]}, style=style, samples=1, params=SamplingParams(0, 99),
        partial_credit=config.partial_credit,
    )  # fmt: skip
    assert score.parts["accuracy"] == evaluation.benchmarks["b"]["pass@1"] == expected
    assert rl.partial_credit == config.partial_credit == bool(changes)


@pytest.mark.parametrize(
    "text",
    [
        "B",
        "B. a green one",
        "(B) a green one",
        "a green one",
        "<think>Red or green?</think>\nB. a green one",
        "B. a green one\n\nGrass has this colour, unlike A.",
        "The sky is blue and grass is green.\n\nB. a green one",
    ],
)
def test_choice_may_stand_alone_where_the_prompt_asks_for_no_tags(text: str) -> None:
    assert accuracy(CHOICE, text, answer_tags=False) == 1
    assert accuracy(CHOICE, text, answer_tags=True) == 0, "R1-Zero's template asks for tags"
    assert accuracy(replace(CHOICE, answer="C"), text, answer_tags=False) == 0
    assert accuracy(CHOICE, text, answer_tags=False, truncated=True) == 0


@pytest.mark.parametrize(
    "text", ["", "I do not know.", "A. red\nB. a green one", "A green thing", "B or C", "<think>B. a green one"]
)
def test_what_names_no_option_or_several_is_no_choice(text: str) -> None:
    assert accuracy(CHOICE, text, answer_tags=False) == 0


def test_marked_answer_comes_before_one_that_stands_alone() -> None:
    assert accuracy(CHOICE, "A. red\nThe answer is B.", answer_tags=False) == 1
