"""Ask a model every problem of a benchmark k times, and summarise the scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from r1kit.config import Evaluate, PromptSource, Template
from r1kit.console import progress
from r1kit.data.problems import load_problems
from r1kit.data.template import opens_think, render_prompt
from r1kit.engine.base import Engine, SamplingParams
from r1kit.engine.factory import load_engine
from r1kit.evals.filters import reading
from r1kit.evals.metrics import ProblemResult, summarise
from r1kit.hashing import derive_seed
from r1kit.rewards.score import RewardError, canonical_answer
from r1kit.rewards.workers.pool import open_sandbox_for
from r1kit.rollout.ask import ask, sampling_params
from r1kit.rollout.score import grade_group
from r1kit.types import Completion, Problem, Score

# Problems asked between two movements of the progress bar.
CHUNK_COMPLETIONS = 4096


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What was measured, and every sample it was measured on."""

    benchmarks: dict[str, dict[str, Any]]  # name -> summary
    samples: list[dict[str, Any]]  # the rows of samples.jsonl


def load_benchmarks(benchmarks: Mapping[str, Sequence[PromptSource]]) -> dict[str, list[Problem]]:
    return {name: load_problems(sources) for name, sources in benchmarks.items()}


def evaluate(
    engine: Engine,
    tokenizer: PreTrainedTokenizerBase,
    benchmarks: Mapping[str, Sequence[Problem]],
    *,
    template: Template,
    samples: int,
    params: SamplingParams,
) -> Evaluation:
    """Every problem asked `samples` times. pass@1 is the mean over `samples`, cons@k and pass@k use all k."""
    summaries, rows = {}, []
    total = sum(len(problems) for problems in benchmarks.values())
    with progress(f"evaluate {samples} x {total}", total) as bar:
        for name, problems in benchmarks.items():
            results: list[ProblemResult] = []
            chunk = max(1, CHUNK_COMPLETIONS // samples)
            for start in range(0, len(problems), chunk):
                asked = problems[start : start + chunk]
                for problem, group in zip(asked, ask(engine, tokenizer, asked, template, samples, params), strict=True):
                    scores = grade_group(problem, group, template, tokenizer)
                    think_open = opens_think(render_prompt(problem.question, template, tokenizer))
                    results.append(_result(problem, group, scores, think_open))
                    rows += [_row(name, problem, *pair) for pair in zip(group, scores, strict=True)]
                bar.advance(len(asked))
            if not any(result.correct for result in results):
                why = next((row["reason"] for row in rows if row["benchmark"] == name), "it has no problem")
                raise RewardError(f"benchmark {name}: not one answer could be graded; the first time it was: {why}")
            summaries[name] = summarise(results, samples)
    return Evaluation(summaries, rows)


def _result(problem: Problem, group: Sequence[Completion], scores: Sequence[Score], think_open: bool) -> ProblemResult:
    """What the samples of one problem came to. One whose grading failed says nothing about the model."""
    graded = [(c, s) for c, s in zip(group, scores, strict=True) if not s.masked]
    read = [reading(problem, c, think_open) for c, _ in graded]
    return ProblemResult(
        problem_id=problem.id,
        level=problem.level,
        family=problem.family,
        language=problem.language,
        correct=tuple(s.parts["accuracy"] == 1 for _, s in graded),
        answers=tuple(canonical_answer(problem, s.extracted) for _, s in graded),
        well_formed=tuple(s.parts["format"] == 1 for _, s in graded),
        lengths=tuple(len(c.token_ids) for c, _ in graded),
        truncated=tuple(c.finish_reason == "length" for c, _ in graded),
        ungraded=len(scores) - len(graded),
        readable=tuple(readable for readable, _ in read),
        consistency=tuple(share for _, share in read if share is not None),
    )


def _row(benchmark: str, problem: Problem, completion: Completion, score: Score) -> dict[str, Any]:
    return {
        "benchmark": benchmark,
        "prompt_id": problem.id,
        "sample": completion.sample,
        "question": problem.question,
        "answer": problem.answer,
        "completion": completion.text,
        "extracted": score.extracted,
        "correct": None if score.masked else score.parts["accuracy"] == 1,
        "format": None if score.masked else score.parts["format"] == 1,
        "reason": score.reason,
        "tokens": len(completion.token_ids),
        "level": problem.level,
        "family": problem.family,
        "language": problem.language,
    }


def evaluate_model(
    model_dir: Path, config: Evaluate, seed: int, device: str, dtype: str, max_concurrent: int
) -> Evaluation:
    """Load a checkpoint and evaluate it by an evaluate stage's settings."""
    benchmarks = load_benchmarks(config.benchmarks)
    open_sandbox_for(problem for problems in benchmarks.values() for problem in problems)
    engine, tokenizer = load_engine(model_dir, device, dtype, max_concurrent)
    params = sampling_params(config, derive_seed(seed, "evaluate"), config.max_completion_length)
    return evaluate(engine, tokenizer, benchmarks, template=config.template, samples=config.samples, params=params)
