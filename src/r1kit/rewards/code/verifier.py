"""The verifiers `code`, a program judged by its tests, and `cruxeval`, a predicted input or output of a program."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from r1kit.rewards import code, services
from r1kit.rewards.checks.base import Row, Verifier, gold_answer
from r1kit.rewards.code import cruxeval
from r1kit.rewards.code.program import extract
from r1kit.rewards.reply import Reply
from r1kit.rewards.verdict import Verdict
from r1kit.types import Problem


def _read(problem: Problem) -> dict[str, Any]:
    """Return the keyword arguments of `code.grade_program`."""
    extra = problem.extra
    if extra.get("language") not in (None, "python", "cpp"):
        raise ValueError(f"language = {extra['language']!r}: must be python or cpp, or absent to use the fence's mark")
    names = ("mode", "function", "language")
    return {"tests": extra["tests"], "problem": problem.question, **{name: extra.get(name) for name in names}}


def _judge(gold: dict[str, Any], reply: Reply) -> Verdict:
    language = gold["language"] or _fence_language(gold, reply)
    sandbox = services.native_sandbox() if language == "cpp" else services.sandbox()
    return code.grade_program(
        reply.text, **{**gold, "language": language}, sandbox=sandbox, think_open=reply.think_open
    )


def _fence_language(gold: dict[str, Any], reply: Reply) -> str:
    """Return the language that the response's fence names; tests of another mode than stdin are for Python only."""
    marked = code.language_of(reply.text, reply.think_open)
    return marked if marked == "python" or code.mode_of(gold["tests"], gold["mode"]) == "stdin" else "python"


def _from_row(row: Row) -> dict[str, Any]:
    return {
        "mode": row.get("mode"),
        "function": row.get("function") or row.get("entry_point"),
        "tests": row.get("tests", row.get("gold")),
        "language": row.get("language"),
    }


VERIFIER = Verifier(_read, _judge, from_row=_from_row, service="sandbox")


# -- cruxeval --------------------------------------------------------------------------------------------------------


def _read_prediction(problem: Problem) -> dict[str, Any]:
    """Return the keyword arguments of `cruxeval.grade`."""
    extra = problem.extra
    predict, program = extra.get("predict", "output"), extra.get("program", "")
    if predict not in ("output", "input") or (predict == "input" and not program):
        raise ValueError(f'predict = {predict!r}: must be "output", or "input" together with the program')
    return {"predict": predict, "output": extra.get("output") or gold_answer(problem), "program": program}


def _judge_prediction(gold: dict[str, Any], reply: Reply) -> Verdict:
    sandbox = services.sandbox() if gold["predict"] == "input" else None
    return cruxeval.grade(reply.text, **gold, sandbox=sandbox, think_open=reply.think_open)


def _prediction_from_row(row: Row) -> dict[str, Any]:
    """Read the output from gold, as a literal or a JSON value; to predict an input, read the program too."""
    gold, problem = row.get("gold"), row.get("problem")
    row = {**row, **gold} if isinstance(gold, Mapping) and {"code", "output"} <= gold.keys() else row
    output = row["output"] if "output" in row else row["gold"]
    program = row.get("program") or row.get("code") or (extract(problem) if isinstance(problem, str) else None)
    predict = row.get("predict") or row.get("mode")
    return {"predict": predict, "output": output if isinstance(output, str) else repr(output), "program": program}


CRUXEVAL = Verifier(_read_prediction, _judge_prediction, from_row=_prediction_from_row, service="sandbox")
