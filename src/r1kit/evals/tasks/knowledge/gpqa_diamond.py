"""GPQA Diamond: 198 questions of experts, four options. The data is gated and never shown in the clear."""

from __future__ import annotations

from string import ascii_uppercase

from r1kit.evals.task import Row, Task, make_problem, text, then
from r1kit.evals.tasks.wording import LETTER, lettered, shuffled
from r1kit.types import Problem


def read(row: Row) -> Problem:
    """Read a row of gpqa_diamond.csv. The order of the options depends on the question only."""
    right = text(row, "Correct Answer")
    question = text(row, "Question")
    options = shuffled(question, [right, *(text(row, f"Incorrect Answer {number}") for number in (1, 2, 3))])
    letter = ascii_uppercase[options.index(right)]
    domain = str(row.get("High-level domain") or "")
    return make_problem(lettered(question, options), letter, family=domain, options=options)


TASK = Task(
    name="gpqa_diamond",
    title="GPQA Diamond",
    n=198,
    k=64,
    metric="pass@1",
    read=read,
    prompt=then(LETTER),
    verifier="choice",
    licence="CC BY 4.0, gated",
    source="Idavidrein/gpqa:gpqa_diamond",
    split="train",
    where="accept the conditions at https://huggingface.co/datasets/Idavidrein/gpqa and log in with `hf auth login`, "
    "or download gpqa_diamond.csv there",
    remarks="one frozen order of the options; simple-evals shuffles in each repetition",
)
