"""The table of judges. To add one: a file that defines `JUDGE` (see base.py), and a line here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from r1kit.errors import UserError
from r1kit.evals.judging import alpaca_eval, arena_hard, frames, simpleqa
from r1kit.evals.judging.base import NO_REPLY, Judge, Row, ask
from r1kit.rewards import services
from r1kit.rewards.reply import Reply
from r1kit.rewards.verdict import Verdict
from r1kit.types import Problem

JUDGES: Mapping[str, Judge] = {  # by grader
    "simpleqa": simpleqa.JUDGE,
    "frames": frames.JUDGE,
    "arena_hard": arena_hard.JUDGE,
    "alpaca_eval": alpaca_eval.JUDGE,
}
PAIRWISE = ("arena_hard", "alpaca_eval")  # compare with `Problem.answer`, the baseline's; else a program does
NEED_JUDGE = tuple(name for name in JUDGES if name not in PAIRWISE)


def require_judge_for(problems: Iterable[Problem]) -> None:
    """Raise UserError if a language model has to grade one of these problems and this process has none."""
    needing = next((p for p in problems if p.verifier in NEED_JUDGE), None)
    if needing is not None and services.settings().judge is None:
        raise UserError(
            f"grader {needing.verifier}: a language model grades this benchmark: give --judge-url and --judge-model, "
            'in a recipe judge = { base_url = "https://HOST/v1", model = "NAME" } at its top, or leave the '
            "benchmark out"
        )


def judge_of(problem: Problem) -> Judge | None:
    """Return the judge that grades a problem here; None if a rule or the benchmark's own program does."""
    if problem.verifier in PAIRWISE and not (services.settings().judge and problem.answer):
        return None
    return JUDGES.get(problem.verifier)


def judge_all(cases: Sequence[tuple[Problem, Reply]]) -> list[Verdict]:
    """Return the verdicts on replies to problems of `judge_of`, in order. The judge sees no thinking."""
    verdicts: dict[int, Verdict] = {}
    for name, judge in JUDGES.items():
        own = [i for i, (problem, _) in enumerate(cases) if problem.verifier == name]
        bodies = {i: body for i in own if (body := cases[i][1].body)}
        verdicts |= {i: Verdict(0.0, None, f"{judge.lost}; no answer", "unparseable") for i in own if i not in bodies}
        asked = [(cases[i][0], body) for i, body in bodies.items()]
        verdicts |= zip(bodies, ask(services.judge(), judge, asked) if asked else [], strict=True)
    return [verdicts[i] for i in range(len(cases))]


def judge_facts(problems: Sequence[Problem]) -> dict[str, Any]:
    """Return who judges, with the hash of the prompt and the paper's judge; {} if no judge does."""
    judge, endpoint = judge_of(problems[0]) if problems else None, services.settings().judge
    if judge is None or endpoint is None:
        return {}
    return {"judge": {"model": endpoint.model, "prompt": judge.prompt_hash, "paper": judge.paper}}


def judge_numbers(problems: Sequence[Problem], rows: Sequence[Row]) -> dict[str, float]:
    """Return the metrics that a benchmark's judge gives besides pass@1; {} without a judge."""
    judge = judge_of(problems[0]) if problems else None
    replied = [row for row in rows if not str(row["reason"]).startswith(NO_REPLY)]
    return judge.numbers(replied) if judge and replied else {}
