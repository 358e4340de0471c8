"""Graders of benchmarks: those of `rewards.verifiers`, and those that only benchmarks use."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from r1kit.evals.judging.judges import JUDGES, PAIRWISE, judge_all, judge_of, require_judge_for
from r1kit.evals.scoring.drop import best_score
from r1kit.evals.scoring.ifeval_checks import strict
from r1kit.evals.scoring.zero_eval import extract_answer
from r1kit.rewards.checks.base import ScoreRequest, Verifier, gold_answer
from r1kit.rewards.checks.ifeval import Constraint
from r1kit.rewards.reply import Reply
from r1kit.rewards.score import ACCURACY, score_with_verdict
from r1kit.rewards.verdict import Verdict
from r1kit.rewards.verifiers import verifier_named
from r1kit.rewards.workers.pool import Scorer
from r1kit.types import Problem, Score

HARNESS = "harness"  # a benchmark's own program grades later
GRADED_LATER = "graded by the benchmark's own program"
_ANSWER_LINE = re.compile(r"answer[ \t]*\*{0,3}[ \t]*[:：]\*{0,3}\s*(?!answer\b)([^\n]+)", re.IGNORECASE)

# How a grader finds the answer in the text after the last `</think>`, for the protocol.
RULES = {
    "math": r"last \boxed{}, else <answer>, ####, or the last 'answer is'",
    "choice": "last stated letter or option",
    "code": "last block of code that has what the tests need",
    **dict.fromkeys(("ifeval", "ifeval_strict"), "the complete text"),
    "drop_f1": "last line with 'Answer:'",
    "zero_eval": 'the value of "answer" in the first JSON object',
    "judge": "the complete text",
    HARNESS: "the complete text, by the benchmark's own program",
    **dict.fromkeys(JUDGES, "the complete text, by a judge"),
    **dict.fromkeys(PAIRWISE, "the complete text, by a judge or the benchmark's own program"),
}


def _judge_drop(golds: Sequence[Sequence[str]], reply: Reply) -> Verdict:
    """Judge the last line with "Answer:": the value is F1, and right means an exact match."""
    lines = _ANSWER_LINE.findall(reply.body or "")
    answer = lines[-1].strip(" *") if lines else ""
    if not answer:
        return reply.no_answer()
    em, f1 = best_score([answer], golds)
    return Verdict(f1, answer, f"F1 {f1:.2f}", "right" if em else "wrong")


def _judge_json(letter: str, reply: Reply) -> Verdict:
    """Judge the letter in a JSON object, as Zero-Eval does: the letter alone, or with a bracket."""
    answer = extract_answer(reply.body or "")
    if answer is None or not answer.strip():
        return reply.no_answer()
    is_right = answer.strip() == letter or f"{letter})" in answer
    reason = "right" if is_right else f"chose {answer.strip()[:80]!r}, not {letter}"
    return Verdict(float(is_right), answer, reason, "right" if is_right else "wrong")


def _judge_instructions(constraints: Sequence[Constraint], reply: Reply) -> Verdict:
    """Judge whether a reply follows all of its instructions, by the checks of IFEval's authors."""
    if not reply.body:
        return reply.no_answer()
    kept = strict(reply.body, constraints)
    broken = [name for (name, _), is_kept in zip(constraints, kept, strict=True) if not is_kept]
    reason = f"broken: {', '.join(broken)}" if broken else f"all {len(constraints)} instructions followed"
    return Verdict(float(not broken), reply.body, reason, "wrong" if broken else "right")


def _judge_later(gold: str, reply: Reply) -> Verdict:
    """Leave the grade open."""
    return Verdict(0.0, reply.body, GRADED_LATER, "infra_error")


GRADERS: dict[str, Verifier[Any]] = {
    "drop_f1": Verifier(lambda problem: problem.extra["alternatives"], _judge_drop),
    "zero_eval": Verifier(gold_answer, _judge_json),
    "ifeval_strict": Verifier(verifier_named("ifeval").read, _judge_instructions),
    **dict.fromkeys((HARNESS, *JUDGES), Verifier(lambda problem: "", _judge_later)),  # judges: `_scores` asks them
}


def grader_named(name: str) -> Verifier[Any]:
    """Return a grader. RewardError lists the allowed names when there is none."""
    return GRADERS.get(name) or verifier_named(name)


def require_graders(problems: Iterable[Problem]) -> None:
    """Raise UserError before anything is sampled if no grader for a problem exists."""
    require_judge_for(problems)


def rules_of(problems: Iterable[Problem]) -> str:
    """Return how the answers to these problems are found in a completion."""
    names = dict.fromkeys(problem.verifier for problem in problems)
    return "; ".join(RULES.get(name, f"as verifier {name}") for name in names)


def graded_here_or_by(score_many: Scorer) -> Scorer:
    """Return a scorer that grades by GRADERS in this process, and leaves all other requests to `score_many`."""

    def score(requests: Sequence[ScoreRequest]) -> list[Score]:
        others = iter(score_many([request for request in requests if request.problem.verifier not in GRADERS]))
        judged = [request for request in requests if judge_of(request.problem)]
        verdicts = iter(judge_all([(request.problem, request.reply) for request in judged]))
        scores = []
        for request in requests:
            if request.problem.verifier not in GRADERS:
                scores.append(next(others))
            else:
                scores.append(_score(request, next(verdicts) if judge_of(request.problem) else None))
        return scores

    return score


def _score(request: ScoreRequest, verdict: Verdict | None) -> Score:
    """Score one completion. The accuracy is the grader's value, a share where it gives one.

    Args:
        request: The completion.
        verdict: A judge's verdict; None to grade by the rule in GRADERS.
    """
    weights = {name: weight for name, weight in request.weights.items() if name != ACCURACY}
    score, _ = score_with_verdict(replace(request, weights=weights))
    grader = GRADERS[request.problem.verifier]
    verdict = verdict or grader.judge(grader.read(request.problem), request.reply)
    total = score.total + request.weights.get(ACCURACY, 0.0) * verdict.value
    parts = {name: verdict.value if name == ACCURACY else score.parts[name] for name in request.weights}
    return Score(total, parts, verdict.extracted, verdict.reason, verdict.masked, verdict.status != "unparseable")
