"""MMLU-Redux: MMLU with corrected answers, by Zero-Eval's reading and in its JSON format."""

from __future__ import annotations

from string import ascii_uppercase

from r1kit.evals.task import Row, Task, make_problem, text, then, value
from r1kit.evals.tasks.wording import JSON_ANSWER, lettered
from r1kit.types import Problem


def read(row: Row) -> Problem | None:
    """Keep rows without an error, and those whose wrong answer has a correction that is a letter."""
    kind = text(row, "error_type")
    correction = str(row.get("correct_answer") or "").strip().upper()
    options = [str(option) for option in value(row, "choices")]
    if kind == "ok":
        letter = ascii_uppercase[int(text(row, "answer"))]
    elif kind == "wrong_groundtruth" and correction in [*ascii_uppercase[: len(options)]]:
        letter = correction
    else:
        return None
    question = lettered(f"## Question\n\n{text(row, 'question')}\n\n## Choices", options)
    subject = str(row.get("subject") or row.get("file") or "")
    return make_problem(question, letter, family=subject, options=options)


TASK = Task(
    name="mmlu_redux",
    title="MMLU-Redux",
    n=2_778,
    k=4,
    metric="pass@1",
    read=read,
    prompt=then(JSON_ANSWER),
    verifier="zero_eval",
    licence="CC BY 4.0",
    source="edinburgh-dawg/mmlu-redux",
    every_config=True,
    remarks="Zero-Eval keeps 2,778 of the 3,000 questions of version 1; other harnesses patch and keep all",
)
