"""What a curate stage asks of the answers to one prompt: are they fit, which is better, which are safe?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from r1kit.config import Curate, Service
from r1kit.console import say
from r1kit.data.examples import scored_parts
from r1kit.data.pairs import ask_judge, clear_pair
from r1kit.data.worlds import oracle
from r1kit.evals.filters import repeats, unreadable, unusable
from r1kit.rewards import services
from r1kit.rewards.judge import curation as ask_model
from r1kit.rewards.judge.client import Client
from r1kit.rewards.judge.endpoint import Endpoint, EndpointError
from r1kit.rewards.score import ScoreRequest
from r1kit.rewards.workers.pool import RewardPool, Scorer, needs_processes, open_sandbox_for, score_here
from r1kit.rollout.score import FORMAT_AND_ACCURACY, grade_group
from r1kit.stages.context import StageContext
from r1kit.types import Completion, Problem

# (completion, the same as a response that opens its own think tag) of one prompt -> rows, see evals.curation.
Answers = Sequence[tuple[Completion, str]]
Examiner = Callable[[Problem, Answers, PreTrainedTokenizerBase], Iterator[dict[str, Any]]]
# (problem, response, its final answer) -> the response rewritten
Rewriter = Callable[[Problem, str, str], str]


@contextmanager
def examiner(config: Curate, context: StageContext, problems: Sequence[Problem]) -> Iterator[Examiner]:
    """The examination that a recipe asks for. What an endpoint says is kept beside the stage, and asked for once."""
    cache = context.dir / "endpoint"
    if config.makes == "records":
        open_sandbox_for(problems)
    judge = _endpoint(config.judge, cache) if isinstance(config.judge, Service) else None
    if config.makes != "records":
        client = Client(judge) if judge else None
        yield _pairs(client) if config.makes == "pairs" else _labels(client)
    elif needs_processes((), {problem.verifier for problem in problems}):  # programs, or what only a judge can tell
        settings = services.Settings.from_dict(context.grading)
        settings = replace(settings, judge=judge or settings.judge)
        with RewardPool(context.reward_workers, settings=settings) as pool:
            yield _records(config, _rewriter(config, cache), pool.score_many)
    else:
        yield _records(config, _rewriter(config, cache), score_here)


def _endpoint(place: Service, cache: Path) -> Endpoint:
    return Endpoint.from_service(place, cache)


def _rewriter(config: Curate, cache: Path) -> Rewriter | None:
    if not isinstance(config.rewriter, Service):
        return oracle.rewrite if config.rewriter else None
    client = Client(_endpoint(config.rewriter, cache))
    return lambda problem, response, answer: ask_model.rewrite(client, problem, response, answer)


# -- records ------------------------------------------------------------------------------------------------------


def _records(config: Curate, rewrite: Rewriter | None, score_many: Scorer) -> Examiner:
    def examine(problem: Problem, answers: Answers, tokenizer: PreTrainedTokenizerBase) -> Iterator[dict[str, Any]]:
        completions = [one for one, _ in answers]
        scores = grade_group(problem, completions, config.template, tokenizer, score_many=score_many)
        for (completion, response), graded in zip(answers, scores, strict=True):
            row = {"sample": completion.sample, "samples": 1, "tokens": len(completion.token_ids)}
            row |= {"response": response, "reason": unusable(completion, graded)}
            if row["reason"]:
                row["why"] = graded.reason
            elif rewrite is not None:
                row |= _rewritten(problem, response, graded.extracted or "", rewrite, score_many)
            if not row["reason"]:
                row["reason"] = unreadable(row["response"], problem.language, problem.extra.get("languages", ()))
            yield row

    return examine


def _rewritten(problem: Problem, response: str, answer: str, rewrite: Rewriter, score_many: Scorer) -> dict[str, Any]:
    """The row's new response beside its original, or why there is none. What was right must still be right."""
    try:
        text = rewrite(problem, response, answer)
    except EndpointError as error:
        say(f"warning: {error}")
        return {"reason": "rewriter", "why": str(error)}
    (again,) = score_many([ScoreRequest(problem, text, FORMAT_AND_ACCURACY)])
    if again.masked or min(again.parts.values()) < 1:
        return {"reason": "rewriter", "why": f"spoiled: {again.reason or 'format'}", "rewritten": text}
    return {"response": text, "original": response}


# -- pairs and labels ---------------------------------------------------------------------------------------------


def _pairs(client: Client | None) -> Examiner:
    """Answers two by two, in the order they were sampled; see data.pairs. Without a client the oracle judges."""

    def examine(problem: Problem, answers: Answers, _: PreTrainedTokenizerBase) -> Iterator[dict[str, Any]]:
        def judge(question: str, one: str, other: str, query: int) -> float:
            if client is None:
                return oracle.compare(problem, one, other)
            return ask_model.compare(client, question, one, other, query)

        fit = []
        for completion, response in answers:
            if reason := _unfinished(completion) or ("" if scored_parts("", response, "summary") else "format"):
                yield _single(completion, response, reason)
            else:
                fit.append((completion, response))
        for (first, one), (second, other) in zip(fit[::2], fit[1::2], strict=False):
            row = {"sample": first.sample, "samples": 2, "tokens": len(first.token_ids) + len(second.token_ids)}
            try:
                difference = ask_judge(problem.question, one, other, judge)
            except (EndpointError, ask_model.NoVerdict) as error:
                yield {**row, "chosen": one, "rejected": other, "reason": "ungraded", "why": str(error)}
                continue
            pair = clear_pair(problem.question, one, other, difference)
            chosen, rejected = (pair.chosen, pair.rejected) if pair else (one, other)
            row |= {"chosen": chosen, "rejected": rejected, "difference": abs(difference)}
            yield {**row, "reason": "" if pair else "unclear"}
        if len(fit) % 2:
            yield _single(*fit[-1], "surplus")

    return examine


def _labels(client: Client | None) -> Examiner:
    """Every answer by itself: safe or not."""

    def examine(problem: Problem, answers: Answers, _: PreTrainedTokenizerBase) -> Iterator[dict[str, Any]]:
        for completion, response in answers:
            row = _single(completion, response, _unfinished(completion))
            if not row["reason"]:
                try:
                    row["safe"] = _is_safe(problem, response, client)
                except (EndpointError, ask_model.NoVerdict) as error:
                    row |= {"reason": "ungraded", "why": str(error)}
            yield row

    return examine


def _is_safe(problem: Problem, response: str, client: Client | None) -> bool:
    if client is None:
        return oracle.is_safe(problem, response)
    return ask_model.is_safe(client, problem.question, response)


def _unfinished(completion: Completion) -> str:
    if completion.finish_reason == "length":
        return "truncated"
    return "repetition" if repeats(completion.token_ids) else ""


def _single(completion: Completion, response: str, reason: str) -> dict[str, Any]:
    row = {"sample": completion.sample, "samples": 1, "tokens": len(completion.token_ids)}
    return {**row, "response": response, "reason": reason}
