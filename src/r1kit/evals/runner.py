"""Asking a model every problem of a benchmark k times, and grading what it says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from r1kit.artifact import derive_seed
from r1kit.config import Evaluate, PromptSource, Sampling, Template
from r1kit.data.chat import opens_think, render_prompt
from r1kit.data.prompts import load_problems
from r1kit.engine.base import Engine, Finished, Request, SamplingParams
from r1kit.evals.filters import reading
from r1kit.evals.metrics import ProblemResult, summarise
from r1kit.log import progress
from r1kit.rewards.base import Request as Grading
from r1kit.rewards.base import RewardError, canonical_answer
from r1kit.rewards.scoring import Scorer, open_sandbox_for, score_here
from r1kit.types import Completion, Problem, Score

FORMAT_AND_ACCURACY = {"accuracy": 1.0, "format": 1.0}
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


def ask(
    engine: Engine,
    tokenizer: PreTrainedTokenizerBase,
    problems: Sequence[Problem],
    template: Template,
    samples: int,
    params: SamplingParams,
    finished: Finished | None = None,
) -> list[list[Completion]]:
    """`samples` completions of every problem, grouped by problem. A problem asked twice is answered anew.

    finished: told of each completion once it is whole.
    """
    asked: Counter[str] = Counter()
    requests = []
    for problem in problems:
        first_sample = asked[problem.id] * samples
        requests.append(Request(problem.id, prompt_ids(problem, template, tokenizer), samples, first_sample))
        asked[problem.id] += 1
    flat = engine.generate(requests, params, finished)
    return [flat[i : i + samples] for i in range(0, len(flat), samples)]


def prompt_ids(problem: Problem, template: Template, tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """The tokens of a problem's prompt. A template writes its own special tokens; plain text has none."""
    prompt = render_prompt(problem.question, template, tokenizer)
    return tuple(tokenizer.encode(prompt, add_special_tokens=False))


def grade_group(
    problem: Problem,
    group: Sequence[Completion],
    template: Template,
    tokenizer: PreTrainedTokenizerBase,
    weights: Mapping[str, float] = FORMAT_AND_ACCURACY,
    score_many: Scorer = score_here,
) -> list[Score]:
    """What every completion of one problem earns."""
    asked = grading(problem, template, tokenizer, weights)
    return score_many([asked(completion) for completion in group])


def grading(
    problem: Problem, template: Template, tokenizer: PreTrainedTokenizerBase, weights: Mapping[str, float]
) -> Callable[[Completion], Grading]:
    """What is to be asked of the rewards about each completion of one problem."""
    think_open = opens_think(render_prompt(problem.question, template, tokenizer))
    answer_tags = template == "r1-zero"
    return lambda one: Grading(
        problem, one.text, weights, think_open, answer_tags, truncated=one.finish_reason == "length"
    )


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


def sampling_params(config: Sampling, seed: int, max_tokens: int) -> SamplingParams:
    """What a recipe's sampling keys mean to an engine."""
    return SamplingParams(seed, max_tokens, config.temperature, config.top_p, config.top_k)


def evaluate_model(
    model_dir: Path, config: Evaluate, seed: int, device: str, dtype: str, max_concurrent: int
) -> Evaluation:
    """Load a checkpoint and evaluate it by an evaluate stage's settings."""
    benchmarks = load_benchmarks(config.benchmarks)
    open_sandbox_for(problem for problems in benchmarks.values() for problem in problems)
    engine, tokenizer = load_engine(model_dir, device, dtype, max_concurrent)
    params = sampling_params(config, derive_seed(seed, "evaluate"), config.max_completion_length)
    return evaluate(engine, tokenizer, benchmarks, template=config.template, samples=config.samples, params=params)


def stream_samples(
    model_dir: Path,
    question: str,
    template: Template,
    sampling: Sampling,
    n: int,
    max_completion_length: int,
    seed: int,
    device: str,
    dtype: str,
) -> Iterator[str]:
    """The text of `n` answers to one question, piece by piece as it is written; answers are parted by a blank line."""
    engine, tokenizer = load_engine(model_dir, device, dtype, max_concurrent=1)
    problem = Problem(id="question", question=question, answer="")
    params = sampling_params(sampling, seed, max_completion_length)
    for index in range(n):
        pieces: list[int] = []
        shown = ""
        if index:
            yield "\n\n"
        request = Request(problem.id, prompt_ids(problem, template, tokenizer), 1, index)
        for delta in engine.stream([request], params):
            pieces += delta.token_ids
            text = tokenizer.decode(pieces, skip_special_tokens=True)
            if not text.endswith("\ufffd"):  # a character whose bytes are not all there yet
                yield text[len(shown) :]
                shown = text


def load_engine(
    model_dir: Path, device: str, dtype: str, max_concurrent: int
) -> tuple[Engine, PreTrainedTokenizerBase]:
    """The native engine over a checkpoint directory, and its tokenizer."""
    import torch

    from r1kit.engine.native import NativeEngine
    from r1kit.model.hf import load_model, load_tokenizer

    tokenizer = load_tokenizer(model_dir)
    model = load_model(model_dir, getattr(torch, dtype), device)
    return NativeEngine(model, tokenizer, max_concurrent), tokenizer
