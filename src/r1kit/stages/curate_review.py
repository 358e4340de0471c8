"""Review the completions of one prompt in a curate stage: which are fit, which of two is better, which are safe."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal

from r1kit.config import Curate, Service
from r1kit.console import warn
from r1kit.data.examples import scored_parts
from r1kit.data.pairs import Judge, ask_judge, clear_pair
from r1kit.data.prompt import Prompt
from r1kit.data.worlds import instructions, oracle
from r1kit.evals.curation import Review
from r1kit.evals.filters import Reason, has_think_tag, is_repetitive, why_unreadable, why_unusable
from r1kit.rewards import services
from r1kit.rewards.judge import curation as judge_prompts
from r1kit.rewards.judge.client import Client
from r1kit.rewards.judge.endpoint import Endpoint, EndpointError
from r1kit.rewards.score import ScoreRequest
from r1kit.rewards.workers.pool import RewardPool, Scorer, needs_processes, open_sandbox_for, score_here
from r1kit.rollout.score import ACCURACY_AND_FORMAT, score_group
from r1kit.stages.context import StageContext
from r1kit.types import Completion, Problem

# (a prompt, its completions) -> reviews, which cover every completion
ReviewFunction = Callable[[Prompt, Sequence[Completion]], Iterator[Review]]
# a completion and its response, which opens its own think tag
Answer = tuple[Completion, str]
# (problem, response, its final answer) -> the response rewritten
Rewriter = Callable[[Problem, str, str], str]
ORACLES: Mapping[object, Rewriter] = {"oracle:sprout": oracle.rewrite, "oracle:rules": instructions.rewrite}


@dataclass(frozen=True, slots=True)
class Reviewer:
    """Reviews the completions of a prompt: yields reviews that cover every completion."""

    review: ReviewFunction
    threads: int = 0  # in which to call it, as it waits for endpoints or worker processes; 0 for the calling one

    def __call__(self, prompt: Prompt, completions: Sequence[Completion]) -> Iterator[Review]:
        """Yield the reviews."""
        return self.review(prompt, completions)


@contextmanager
def open_reviewer(config: Curate, context: StageContext, problems: Sequence[Problem]) -> Iterator[Reviewer]:
    """Yield the reviewer for what the stage makes. Replies of endpoints are cached in the stage's directory."""
    cache = context.files.endpoint_cache
    if config.makes == "records":
        open_sandbox_for(problems)
    judge = Endpoint.from_service(config.judge, cache) if isinstance(config.judge, Service) else None
    rewriter = Endpoint.from_service(config.rewriter, cache) if isinstance(config.rewriter, Service) else None
    if config.makes != "records":
        client = Client(judge) if judge else None
        review = _review_pairs(client) if config.makes == "pairs" else _review_safety(client)
        yield Reviewer(review, judge.max_concurrent if judge else 0)
        return
    rewrite = _asks(Client(rewriter)) if rewriter else ORACLES.get(config.rewriter)
    if rewriter or needs_processes((), {problem.verifier for problem in problems}):
        settings = services.Settings.from_dict(context.grading)
        settings = replace(settings, judge=judge or settings.judge)
        threads = context.reward_workers + sum(e.max_concurrent for e in (rewriter, settings.judge) if e)
        with RewardPool(context.reward_workers, settings=settings) as pool:
            yield Reviewer(_review_records(rewrite, pool.score_many), threads)
    else:
        yield Reviewer(_review_records(rewrite, score_here))


def _asks(client: Client) -> Rewriter:
    return lambda problem, response, answer: judge_prompts.rewrite(client, problem, response, answer)


# -- records ------------------------------------------------------------------------------------------------------


def _review_records(rewrite: Rewriter | None, score_many: Scorer) -> ReviewFunction:
    """Review each completion by itself: right, well formed, then rewritten, then readable."""

    def review(prompt: Prompt, completions: Sequence[Completion]) -> Iterator[Review]:
        problem = prompt.problem
        scores = score_group(prompt, completions, score_many=score_many)
        for completion, score in zip(completions, scores, strict=True):
            row = _review(completion, _response(prompt, completion), why_unusable(completion, score, prompt.think_tags))
            if completion.spans:
                row["episode"] = _episode(prompt, completion)
            if row["reason"]:
                row["why"] = score.reason
            elif rewrite is not None:
                _rewrite(row, problem, score.extracted or "", rewrite, score_many)
            if not row["reason"]:
                row["reason"] = why_unreadable(row["response"], problem.language, problem.extra.get("languages", ()))
            yield row

    return review


def _episode(prompt: Prompt, completion: Completion) -> list[Mapping[str, str]]:
    """Return the messages of an episode; the first opens its own think tag."""
    first, *others = completion.spans
    messages = [{"role": span.role, "content": span.text} for span in others]
    return [{"role": first.role, "content": prompt.full_response(first.text)}, *messages]


def _rewrite(row: Review, problem: Problem, answer: str, rewrite: Rewriter, score_many: Scorer) -> None:
    """Replace the response by a rewritten one, or set the reason if rewriting failed or made it wrong.

    The rewritten one has think tags if the original has them. It may add them, as "oracle:rules" does.
    """
    original = row["response"]
    try:
        text = rewrite(problem, original, answer)
    except EndpointError as error:
        warn(f"{error}")
        row.update({"reason": "rewriter", "why": str(error)})
        return
    (score,) = score_many([ScoreRequest(problem, text, ACCURACY_AND_FORMAT)])
    in_format = score.parts["format"] == 1 or not has_think_tag(original + text)
    if score.masked or score.parts["accuracy"] < 1 or not in_format:
        row.update({"reason": "rewriter", "why": f"spoiled: {score.reason or 'format'}", "rewritten": text})
    else:
        row.update({"response": text, "original": original})


# -- pairs and labels ---------------------------------------------------------------------------------------------


def _review_pairs(client: Client | None) -> ReviewFunction:
    """Compare completions two by two, in the order they were sampled (data.pairs). Without a client, by the oracle."""

    def review(prompt: Prompt, completions: Sequence[Completion]) -> Iterator[Review]:
        problem = prompt.problem

        def judge(question: str, one: str, other: str, query: int) -> float:
            if client is None:
                return oracle.compare(problem, one, other)
            return judge_prompts.compare(client, question, one, other, query)

        fit: list[Answer] = []
        for completion in completions:
            response = _response(prompt, completion)
            if reason := _why_incomplete(completion) or ("" if scored_parts("", response, "summary") else "format"):
                yield _review(completion, response, reason)
            else:
                fit.append((completion, response))
        for first, second in zip(fit[::2], fit[1::2], strict=False):
            yield _compare(problem.question, first, second, judge)
        if len(fit) % 2:
            yield _review(*fit[-1], "surplus")

    return review


def _compare(question: str, first: Answer, second: Answer, judge: Judge) -> Review:
    (completion, chosen), (other, rejected) = first, second
    sample, tokens = completion.sample, len(completion.token_ids) + len(other.token_ids)
    try:
        difference = ask_judge(question, chosen, rejected, judge)
    except (EndpointError, judge_prompts.NoVerdict) as error:
        return {
            "sample": sample,
            "samples": 2,
            "tokens": tokens,
            "chosen": chosen,
            "rejected": rejected,
            "reason": "ungraded",
            "why": str(error),
        }
    pair = clear_pair(question, chosen, rejected, difference)
    if pair:
        chosen, rejected = pair.chosen, pair.rejected
    return {
        "sample": sample,
        "samples": 2,
        "tokens": tokens,
        "chosen": chosen,
        "rejected": rejected,
        "difference": abs(difference),
        "reason": "" if pair else "unclear",
    }


def _review_safety(client: Client | None) -> ReviewFunction:
    """Label each completion as safe or unsafe."""

    def review(prompt: Prompt, completions: Sequence[Completion]) -> Iterator[Review]:
        for completion in completions:
            response = _response(prompt, completion)
            row = _review(completion, response, _why_incomplete(completion))
            if not row["reason"]:
                try:
                    row["safe"] = _is_safe(prompt.problem, response, client)
                except (EndpointError, judge_prompts.NoVerdict) as error:
                    row.update({"reason": "ungraded", "why": str(error)})
            yield row

    return review


def _is_safe(problem: Problem, response: str, client: Client | None) -> bool:
    if client is None:
        return oracle.is_safe(problem, response)
    return judge_prompts.is_safe(client, problem.question, response)


# -- shared -------------------------------------------------------------------------------------------------------


def _response(prompt: Prompt, completion: Completion) -> str:
    return prompt.full_response(completion.text).lstrip()


def _why_incomplete(completion: Completion) -> Reason | Literal[""]:
    if completion.finish_reason == "length":
        return "truncated"
    return "repetition" if is_repetitive(completion.sampled_ids) else ""


def _review(completion: Completion, response: str, reason: str) -> Review:
    return {
        "sample": completion.sample,
        "samples": 1,
        "tokens": len(completion.token_ids),
        "response": response,
        "reason": reason,
    }
