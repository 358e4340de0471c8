"""OlympiadBench: the open-ended text problems of mathematics in English."""

from __future__ import annotations

from r1kit.evals.task import Row, Task, make_problem, text, then, value
from r1kit.evals.tasks.wording import BOXED
from r1kit.types import Problem


def read(row: Row) -> Problem | None:
    """Read a row; those with pictures, with an error bound or without a final answer are left out."""
    answers = value(row, "final_answer", "answer")
    answers = [answers] if isinstance(answers, str) else list(answers)
    if not answers or row.get("error") or any(key.startswith("image") and row[key] for key in row):
        return None
    context = f"{row['context']}\n\n" if row.get("context") else ""
    gold = ", ".join(str(answer).strip().strip("$") for answer in answers)
    return make_problem(context + text(row, "question"), gold, family=str(row.get("subfield") or ""))


TASK = Task(
    name="olympiadbench",
    title="OlympiadBench (OE_TO_maths_en_COMP)",
    n=674,
    k=8,
    metric="pass@1",
    read=read,
    prompt=then(BOXED),
    verifier="math",
    licence="Apache-2.0",
    source="Hothan/OlympiadBench:OE_TO_maths_en_COMP",
    split="train",
    remarks="not in the paper; answers with an error bound are left out",
)
