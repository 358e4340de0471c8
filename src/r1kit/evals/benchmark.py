"""Evaluate a model on benchmarks: sample every problem k times, score the samples and summarize the scores.

A benchmark needs no code: name a file, a hub dataset or `world:NAME` under `benchmarks` in a recipe, or give it to
`r1kit eval`. `data/problems.py` reads the common formats; `data/worlds/NAME.py` generates the problems of a world.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from r1kit.config import Evaluate, PromptSource, Template
from r1kit.console import heartbeat, progress
from r1kit.data.problems import load_problems
from r1kit.data.prompt import Prompt, make_prompts
from r1kit.engine.base import Engine, SamplingParams
from r1kit.engine.factory import load_engine
from r1kit.evals.filters import readability
from r1kit.evals.metrics import ProblemResult, Summary, summarize
from r1kit.evals.votes import group_answers
from r1kit.hashing import derive_seed
from r1kit.rewards.score import RewardError
from r1kit.rewards.workers.pool import open_sandbox_for
from r1kit.rollout.sample import sample_completions, sampling_params
from r1kit.rollout.score import score_group
from r1kit.types import Completion, Problem, Score

CHUNK_COMPLETIONS = 4096  # sampled between two updates of the progress bar


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The results of an evaluation."""

    benchmarks: dict[str, Summary]  # by benchmark name
    samples: list[dict[str, Any]]  # the rows of samples.jsonl, one for each completion


def load_benchmarks(benchmarks: Mapping[str, Sequence[PromptSource]]) -> dict[str, list[Problem]]:
    """Return the problems of every benchmark."""
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
    """Evaluate the engine's model. pass@1 is the mean over `samples`; cons@k and pass@k use k = `samples`.

    Raises:
        RewardError: No completion of a benchmark could be graded.
    """
    summaries, rows = {}, []
    total = sum(len(problems) for problems in benchmarks.values())
    chunk = max(1, CHUNK_COMPLETIONS // samples)
    with progress(f"evaluate {samples} x {total}", total) as bar:
        for name, problems in benchmarks.items():
            results: list[ProblemResult] = []
            for start in range(0, len(problems), chunk):
                prompts = make_prompts(problems[start : start + chunk], template, tokenizer)
                groups = sample_completions(engine, prompts, samples, params)
                with heartbeat(f"grading the completions of {name}"):
                    for prompt, completions in zip(prompts, groups, strict=True):
                        scores = score_group(prompt, completions)
                        results.append(_result(prompt, completions, scores))
                        rows += [_row(name, prompt.problem, *pair) for pair in zip(completions, scores, strict=True)]
                bar.advance(len(prompts))
            if not any(result.correct for result in results):
                reasons = (row["reason"] for row in rows if row["benchmark"] == name)
                reason = next(reasons, "the benchmark has no problems")
                raise RewardError(f"benchmark {name}: no completion could be graded; the first reason: {reason}")
            summaries[name] = summarize(results, samples)
    return Evaluation(summaries, rows)


def _result(prompt: Prompt, completions: Sequence[Completion], scores: Sequence[Score]) -> ProblemResult:
    """Return the result of one problem. Completions that could not be graded are only counted."""
    problem = prompt.problem
    graded = [(c, s) for c, s in zip(completions, scores, strict=True) if not s.masked]
    read = [readability(prompt, completion) for completion, _ in graded]
    return ProblemResult(
        problem_id=problem.id,
        level=problem.level,
        family=problem.family,
        language=problem.language,
        correct=tuple(s.parts["accuracy"] == 1 for _, s in graded),
        answers=group_answers(problem, [s.extracted if s.readable else None for _, s in graded]),
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
    """Load a checkpoint and evaluate it by the config of an evaluate stage."""
    benchmarks = load_benchmarks(config.benchmarks)
    open_sandbox_for(problem for problems in benchmarks.values() for problem in problems)
    engine, tokenizer = load_engine(model_dir, device, dtype, max_concurrent)
    params = sampling_params(config, derive_seed(seed, "evaluate"), config.max_completion_length)
    return evaluate(engine, tokenizer, benchmarks, template=config.template, samples=config.samples, params=params)
