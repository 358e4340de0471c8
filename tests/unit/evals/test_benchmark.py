"""Evaluating a model on benchmarks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerBase

from r1kit.config import Prompting, PromptSource
from r1kit.engine.base import SamplingParams
from r1kit.engine.scripted import ScriptedEngine
from r1kit.evals import benchmark
from r1kit.evals.benchmark import Evaluation, evaluate, load_benchmarks
from r1kit.rewards.score import RewardError
from r1kit.types import Problem

SUM = Problem("sum", "1+1?", "2", level=1, family="sums")
UNGRADABLE = Problem("bad", "Which?", "B", verifier="choice")  # has no options


def answer(prompt_id: str, sample: int) -> str:
    """The first sample is 2 and the second is 3."""
    return f"<think>so</think> \\boxed{{{2 + sample}}}"


def evaluated(
    tokenizer: PreTrainedTokenizerBase,
    saved: Path | None = None,
    script: Callable[[str, int], str] = answer,
    **benchmarks: list[Problem],
) -> Evaluation:
    """Evaluate a model with scripted completions, two for each problem."""
    style, params = Prompting(template="none"), SamplingParams(0, 500)
    engine = ScriptedEngine(tokenizer, script)
    return evaluate(engine, tokenizer, benchmarks, style=style, samples=2, params=params, saved=saved)


@pytest.mark.slow
def test_evaluation_has_a_summary_and_a_row_per_completion(tokenizer: PreTrainedTokenizerBase) -> None:
    evaluation = evaluated(tokenizer, sums=[SUM], more=[SUM])
    assert list(evaluation.benchmarks) == ["sums", "more"]
    summary = evaluation.benchmarks["sums"]
    assert (summary["pass@1"], summary["cons@2"], summary["pass@2"], summary["format_rate"]) == (0.5, 0.5, 1.0, 1.0)
    rows = [row for row in evaluation.samples if row["benchmark"] == "sums"]
    assert [(row["sample"], row["extracted"], row["correct"], row["family"]) for row in rows] == [
        (0, "2", True, "sums"),
        (1, "3", False, "sums"),
    ]
    problem = next(row for row in evaluation.problems if row["benchmark"] == "sums")
    assert (problem["prompt_id"], problem["level"], problem["family"]) == (SUM.id, SUM.level, "sums")
    assert {"cons@1": 0.5, **summary} | problem["values"] == {"cons@1": 0.5, **summary}, "of a single problem"


def test_completions_without_a_grade_are_left_out(tokenizer: PreTrainedTokenizerBase) -> None:
    evaluation = evaluated(tokenizer, both=[SUM, UNGRADABLE])
    summary = evaluation.benchmarks["both"]
    assert (summary["pass@1"], summary["ungraded"], summary["format_rate"]) == (0.5, 2, 1.0)
    assert [row["correct"] for row in evaluation.samples] == [True, False, None, None]
    assert "options" in evaluation.samples[2]["reason"]
    assert [row["prompt_id"] for row in evaluation.problems] == [SUM.id]


def test_benchmark_without_any_grade_is_an_error(tokenizer: PreTrainedTokenizerBase) -> None:
    with pytest.raises(RewardError, match=r"benchmark none: no completion could be graded; .*options"):
        evaluated(tokenizer, none=[UNGRADABLE])


def test_interrupted_evaluation_continues_after_the_blocks_that_are_saved(
    tokenizer: PreTrainedTokenizerBase, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    problems = [Problem(f"p{i}", f"{i}+1?", str(i + 1), family="sums") for i in range(5)]
    benchmarks = {"sums": problems, "bad / name": [UNGRADABLE, SUM]}
    expected = evaluated(tokenizer, **benchmarks)
    monkeypatch.setattr(benchmark, "BLOCK_COMPLETIONS", 4)
    assert evaluated(tokenizer, **benchmarks) == expected
    sampled: list[str] = []

    def fail_at(prompt_id: str) -> Callable[[str, int], str]:
        def script(asked: str, sample: int) -> str:
            if asked == prompt_id:
                raise KeyboardInterrupt
            sampled.append(asked)
            return answer(asked, sample)

        return script

    for prompt_id in ("p3", "p4", "sum"):
        with pytest.raises(KeyboardInterrupt):
            evaluated(tokenizer, tmp_path, fail_at(prompt_id), **benchmarks)
    assert evaluated(tokenizer, tmp_path, fail_at("none"), **benchmarks) == expected
    sampled_once = {"p0", "p1", "p3", "p4", "sum"}  # in blocks without an interruption, or last in theirs
    assert all(sampled.count(prompt_id) == 2 for prompt_id in sampled_once)


def test_load_benchmarks_reads_every_source() -> None:
    sources = [PromptSource(source=f"world:{name}", split="held_out", limit=3) for name in ("arithmetic", "logic")]
    loaded = load_benchmarks({"both": sources})
    assert [problem.family for problem in loaded["both"]] == ["arithmetic"] * 3 + ["logic"] * 3
