"""Evaluate a model on benchmarks: sample every problem k times, score the samples and summarize the scores.

A benchmark needs no code: name a file, a hub dataset or `world:NAME` under `benchmarks` in a recipe, or give it to
`r1kit eval`. `data/problems.py` reads the common formats; `data/worlds/NAME.py` generates the problems of a world.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

from pydantic import TypeAdapter
from transformers import PreTrainedTokenizerBase

from r1kit.config import Evaluate, Prompting, PromptSource
from r1kit.console import heartbeat, progress
from r1kit.data.prompt import Prompt, make_prompts
from r1kit.data.store import read_rows, write_jsonl
from r1kit.data.template import use_chat_template
from r1kit.engine.base import Engine, EngineChoice, SamplingParams
from r1kit.engine.factory import NATIVE, load_engine
from r1kit.evals.endpoint import EndpointModel
from r1kit.evals.filters import readability
from r1kit.evals.graders import GRADED_LATER, graded_here_or_by, grader_named, require_graders
from r1kit.evals.lengths import thinking_tokens
from r1kit.evals.metrics import ProblemResult, Summary, problem_values, summarize
from r1kit.evals.named.harness import refuse_agents, write_answers
from r1kit.evals.named.sources import problems_of, task_of
from r1kit.evals.protocol import Setting, setting_of, with_protocol
from r1kit.evals.task import Task
from r1kit.evals.votes import group_answers
from r1kit.files import write_json
from r1kit.hashing import derive_seed
from r1kit.rewards import services
from r1kit.rewards.judge.endpoint import Endpoint
from r1kit.rewards.score import RewardError
from r1kit.rewards.workers.pool import RewardPool, Scorer, needs_processes, open_sandbox_for, require_judge, score_here
from r1kit.rollout.episodes import in_environment, with_tools
from r1kit.rollout.sample import sample_completions, sampling_params
from r1kit.rollout.score import ACCURACY_AND_FORMAT, score_groups
from r1kit.types import Completion, Problem, Score

BLOCK_COMPLETIONS = 1024  # sampled, graded and saved together


@dataclass(frozen=True, slots=True)
class _Graded:
    """One problem with its graded completions."""

    result: ProblemResult
    rows: list[dict[str, Any]]  # of samples.jsonl


_GRADED = TypeAdapter(_Graded)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The results of an evaluation."""

    benchmarks: dict[str, Summary]  # by benchmark name
    samples: list[dict[str, Any]]  # the rows of samples.jsonl, one for each completion
    problems: list[dict[str, Any]]  # the rows of problems.jsonl, one for each problem with a grade
    answered: Mapping[str, tuple[Task, Sequence[Problem]]] = field(default_factory=dict)  # for their own programs

    def publish(self, model: str, folder: Path, **facts: str) -> None:
        """Write results.json, with these facts, problems.jsonl, samples.jsonl, and what other programs grade."""
        for name, (task, problems) in self.answered.items():
            rows = [row for row in self.samples if row["benchmark"] == name]
            self.benchmarks[name]["harness"] = write_answers(task, problems, rows, model, folder)
        write_jsonl(folder / "samples.jsonl", self.samples)
        write_jsonl(folder / "problems.jsonl", self.problems)
        write_json(folder / "results.json", {"model": model, **facts, "benchmarks": self.benchmarks})


def load_benchmarks(benchmarks: Mapping[str, Sequence[PromptSource]]) -> dict[str, list[Problem]]:
    """Return the problems of every benchmark."""
    return {name: problems_of(sources) for name, sources in benchmarks.items()}


def evaluate(
    engine: Engine | EndpointModel,
    tokenizer: PreTrainedTokenizerBase | None,
    benchmarks: Mapping[str, Sequence[Problem]],
    *,
    style: Prompting,
    samples: int,
    params: SamplingParams,
    partial_credit: bool = False,
    rewards: Sequence[str] = (),
    score_many: Scorer = score_here,
    saved: Path | None = None,
    settings: Mapping[str, Setting] | None = None,
) -> Evaluation:
    """Evaluate the engine's model. pass@1 is the mean over `samples`; cons@k and pass@k use k = `samples`.

    Args:
        engine: The engine, or a model behind an endpoint.
        tokenizer: The model's tokenizer; an endpoint has its own.
        benchmarks: Name -> problems.
        style: How problems become prompts.
        samples: Completions per problem.
        params: Sampling parameters and seed.
        partial_credit: Whether pass@1 counts an answer that is right in part; see `config.Scoring`.
        rewards: Other rewards to report.
        score_many: Where completions are scored: in this process, or in a `RewardPool`.
        saved: A directory for blocks of graded completions. The same call again continues after them.
        settings: Name -> `style`, `samples` and `params` of benchmarks that have their own.

    Raises:
        RewardError: No completion of a benchmark could be graded.
    """
    summaries, rows, by_problem = {}, [], list[dict[str, Any]]()
    own = {name: Setting(style, samples, params) for name in benchmarks} | dict(settings or {})
    total = sum(len(problems) for problems in benchmarks.values())
    weights = ACCURACY_AND_FORMAT | dict.fromkeys(rewards, 0.0)

    def grade(name: str, problems: Sequence[Problem]) -> Iterator[_Graded]:
        prompts, groups = _sample(engine, tokenizer, problems, own[name])
        with heartbeat(f"grading the completions of {name}"):
            all_scores = score_groups(prompts, groups, weights, graded_here_or_by(score_many), partial_credit)
            for prompt, completions, scores in zip(prompts, groups, all_scores, strict=True):
                thinking = [thinking_tokens(prompt, completion, tokenizer) for completion in completions]
                yield _graded(name, prompt, completions, scores, thinking)

    counts = "/".join(str(number) for number in dict.fromkeys(setting.samples for setting in own.values()))
    with progress(f"evaluate {counts} x {total}", total) as bar:
        for number, (name, problems) in enumerate(benchmarks.items()):
            done: list[_Graded] = []
            size = max(1, BLOCK_COMPLETIONS // own[name].samples)  # problems of a block
            for start in range(0, len(problems), size):
                block = problems[start : start + size]
                file = f"benchmark_{number:03d}_{start:06d}.jsonl"
                done += _once(saved and saved / file, partial(grade, name, block))
                bar.advance(len(block))
            results, own_rows = [graded.result for graded in done], [row for graded in done for row in graded.rows]
            summaries[name] = with_protocol(_summary(name, results, own_rows), own[name], problems, results, own_rows)
            rows += own_rows
            by_problem += _problem_rows(name, results, own[name].samples)
    return Evaluation(summaries, rows, by_problem, _written(own, benchmarks))


def _written(
    settings: Mapping[str, Setting], benchmarks: Mapping[str, Sequence[Problem]]
) -> dict[str, tuple[Task, Sequence[Problem]]]:
    """Return the benchmarks whose answers are written for their own programs."""
    tasks = {name: (setting.task, benchmarks[name]) for name, setting in settings.items()}
    return {n: (task, each) for n, (task, each) in tasks.items() if task and task.harness and task.harness.write}


def _sample(
    engine: Engine | EndpointModel,
    tokenizer: PreTrainedTokenizerBase | None,
    problems: Sequence[Problem],
    setting: Setting,
) -> tuple[list[Prompt], list[list[Completion]]]:
    """Return the prompts of problems, and the completions of each."""
    if isinstance(engine, EndpointModel):
        return engine.sample(problems, setting.style, setting.samples, setting.params)
    assert tokenizer is not None, "an engine samples from prompts that a tokenizer has encoded"
    prompts = make_prompts(with_tools(engine, problems), setting.style, tokenizer)
    return prompts, sample_completions(engine, prompts, setting.samples, setting.params)


def _summary(name: str, results: Sequence[ProblemResult], rows: Sequence[Mapping[str, Any]]) -> Summary:
    """Return the metrics of one benchmark; without grades only if its own program grades. RewardError otherwise."""
    if any(result.correct for result in results):
        return summarize(results, len(rows) // len(results))
    if rows and all(row["reason"] == GRADED_LATER for row in rows):
        tokens, cut = (fmean(row[key] for row in rows) for key in ("tokens", "truncated"))
        return {"problems": len(results), "samples": len(rows) // len(results), "mean_tokens": tokens, "truncated": cut}
    reason = next((row["reason"] for row in rows), "the benchmark has no problems")
    raise RewardError(f"benchmark {name}: no completion could be graded; the first reason: {reason}")


def _once(path: Path | None, grade: Callable[[], Iterator[_Graded]]) -> list[_Graded]:
    """Return the block that is saved at `path`, or grade it and save it there."""
    if path is not None and path.exists():
        return [_GRADED.validate_python(row) for row in read_rows(path)]
    block = list(grade())
    if path is not None:
        write_jsonl(path, (_GRADED.dump_python(graded, mode="json") for graded in block))
    return block


def _graded(
    benchmark: str, prompt: Prompt, completions: Sequence[Completion], scores: Sequence[Score], thinking: Sequence[int]
) -> _Graded:
    rows = [_row(benchmark, prompt, *each) for each in zip(completions, scores, thinking, strict=True)]
    return _Graded(_result(prompt, completions, scores, thinking), rows)


def _result(
    prompt: Prompt, completions: Sequence[Completion], scores: Sequence[Score], thinking: Sequence[int]
) -> ProblemResult:
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
        lengths=tuple(c.length for c, _ in graded),
        truncated=tuple(c.finish_reason == "length" for c, _ in graded),
        ungraded=len(scores) - len(graded),
        readable=tuple(readable for readable, _ in read),
        consistency=tuple(share for _, share in read if share is not None),
        credit=tuple(s.parts["accuracy"] for _, s in graded),
        rewards={name: tuple(s.parts[name] for _, s in graded) for name in _other_rewards(scores)},
        thinking=tuple(tokens for tokens, s in zip(thinking, scores, strict=True) if not s.masked),
        extracts=grader_named(problem.verifier).extracts,
    )


def _problem_rows(benchmark: str, results: Sequence[ProblemResult], k: int) -> Iterator[dict[str, Any]]:
    for r in (result for result in results if result.correct):
        about = {"level": r.level, "family": r.family, "language": r.language}
        yield {"benchmark": benchmark, "prompt_id": r.problem_id, **about, "values": problem_values(r, k)}


def _other_rewards(scores: Sequence[Score]) -> list[str]:
    """Return the names of the rewards besides accuracy and format."""
    return [name for name in dict.fromkeys(name for s in scores for name in s.parts) if name not in ACCURACY_AND_FORMAT]


def _row(benchmark: str, prompt: Prompt, completion: Completion, score: Score, thinking: int) -> dict[str, Any]:
    problem, credit = prompt.problem, score.parts["accuracy"]
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
        "tokens": completion.length,
        "thinking_tokens": thinking,
        "truncated": completion.finish_reason == "length",
        "think_open": prompt.think_open,
        **({"answer_tags": True} if prompt.answer_tags else {}),
        "level": problem.level,
        "family": problem.family,
        "language": problem.language,
        **({"spans": [[span.role, span.text] for span in completion.spans]} if completion.spans else {}),
        **({"credit": credit} if 0 < credit < 1 else {}),
        **({"rewards": others} if (others := {name: score.parts[name] for name in _other_rewards([score])}) else {}),
    }


def evaluate_model(
    model: Path | Endpoint,
    config: Evaluate,
    seed: int,
    device: str,
    dtype: str,
    max_concurrent: int,
    kv_cache_tokens: int | None = None,
    reward_workers: int = 1,
    saved: Path | None = None,
    engine_choice: EngineChoice = NATIVE,
) -> Evaluation:
    """Evaluate a checkpoint, or a model behind an endpoint, by the config of an evaluate stage.

    `saved` is that of `evaluate`; `engine_choice` is the recipe's `engine`.
    """
    tasks = {name: task_of(sources[0]) for name, sources in config.benchmarks.items()}
    own_seed, sources = derive_seed(seed, "evaluate"), config.benchmarks
    settings = {name: setting_of(config, own_seed, task, sources[name]) for name, task in tasks.items()}
    refuse_agents(tasks)
    benchmarks = load_benchmarks(config.benchmarks)
    problems = [problem for group in benchmarks.values() for problem in group]
    require_graders(problems)
    require_judge(problems)
    open_sandbox_for(problems)
    engine: Engine | EndpointModel
    tokenizer: PreTrainedTokenizerBase | None
    if isinstance(model, Endpoint):
        engine, tokenizer = EndpointModel(model), None
    else:
        loaded, tokenizer = load_engine(model, device, dtype, max_concurrent, kv_cache_tokens, engine_choice)
        use_chat_template(tokenizer, config.template)  # not that of a benchmark: the paper's numbers need the model's
        engine = in_environment(loaded, config.environment, services.settings())
        for name, setting in settings.items():  # a template that the model lacks fails before anything is sampled
            make_prompts(with_tools(engine, benchmarks[name][:1]), setting.style, tokenizer)
    judged = {problem.verifier for problem in problems} & {"judge"}
    with _scorer(config.rewards, judged, reward_workers) as score_many:
        evaluation = evaluate(
            engine,
            tokenizer,
            benchmarks,
            style=config,
            samples=config.samples,
            params=sampling_params(config, own_seed, config.max_completion_length),
            partial_credit=config.partial_credit,
            rewards=config.rewards,
            score_many=score_many,
            saved=saved,
            settings=settings,
        )
    if isinstance(engine, EndpointModel):
        engine.report_usage()
    return evaluation


@contextmanager
def _scorer(rewards: Sequence[str], judged: Collection[str], workers: int) -> Iterator[Scorer]:
    """Yield the function that scores completions: the user's own functions and a judge need worker processes."""
    if not needs_processes(rewards, judged):
        yield score_here
        return
    with RewardPool(workers, settings=services.settings()) as pool:
        yield pool.score_many
