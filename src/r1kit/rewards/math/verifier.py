"""The verifier `math`: a final answer in mathematics, judged by value (see `check`)."""

from __future__ import annotations

import re

from r1kit.rewards.checks.base import Verifier, gold_answer, verdict_of
from r1kit.rewards.math.check import MAX_DIGITS, canonical, check_prose, check_stated, equivalent, is_number
from r1kit.rewards.reply import Reply
from r1kit.rewards.verdict import Verdict
from r1kit.types import Problem

MAX_GOLD_CHARACTERS = 20_000


def _read(problem: Problem) -> str:
    """Return the gold answer. It may be a complete solution that ends in a box, so only extreme sizes are refused."""
    gold = gold_answer(problem)
    if len(gold) > MAX_GOLD_CHARACTERS or re.search(rf"\d{{{MAX_DIGITS + 1}}}", gold):
        raise ValueError(f"the gold answer has over {MAX_GOLD_CHARACTERS} characters or {MAX_DIGITS} digits in a row")
    return gold


def _judge(gold: str, reply: Reply) -> Verdict:
    if not reply.free_form:
        answers = reply.answers
        return verdict_of(check_stated(gold, answers, reply.boxes), answers[-1]) if answers else reply.no_answer()
    if reply.body is None:
        return reply.no_answer()
    return verdict_of(*check_prose(gold, reply.body if reply.parts.answer is None else reply.parts.summary))


def _may_use_sandbox(problem: Problem) -> bool:
    return not is_number(problem.answer)  # sympy runs in the sandbox; comparing with a number never needs it


VERIFIER = Verifier(_read, _judge, lambda gold, answer: canonical(answer), equivalent, may_use_sandbox=_may_use_sandbox)
