"""DROP: questions about a passage, often with a little arithmetic; the metric is the F1 of words and numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from r1kit.errors import UserError
from r1kit.evals.task import Row, Task, make_problem, text, value
from r1kit.types import Problem

INSTRUCTION = (
    "Think step by step. The last line of your response must be "
    '"Answer: ANSWER", where ANSWER is a number, a date or words of the passage, as short as possible.'
)
# Own examples, so that few-shot prompts are the same everywhere; the paper's are three of the training set at random.
EXAMPLES = (
    (
        "The ferry to Holm carried 412 passengers on Friday and 538 on Saturday. On Sunday a storm closed the line.",
        "How many more passengers did the ferry carry on Saturday than on Friday?",
        "On Saturday there were 538 and on Friday 412. 538 - 412 = 126.",
        "126",
    ),
    (
        "Lindby sold the mill in 1871. Nine years later the new owner, Ada Brook, gave it to the parish.",
        "Who gave the mill to the parish?",
        "The passage says that the new owner, Ada Brook, gave it away.",
        "Ada Brook",
    ),
    (
        "The Reds led 14-3 at half time. After the break, the Blues scored two field goals of three points each.",
        "Which team scored first after half time?",
        "After the break, the passage names only field goals of the Blues.",
        "Blues",
    ),
)
SHOTS = range(len(EXAMPLES) + 1)


def read(row: Row) -> Problem:
    """Read a row of simple-evals' files (context, ref_text) or of ucinlp/drop (passage, question, answers_spans)."""
    if "context" in row:
        passage, _, question = text(row, "context").rpartition("\nQuestion:")
        question = question.removesuffix("Answer:").strip()
        golds = [gold for gold in text(row, "ref_text").split("|") if gold.strip()]
        alternatives: list[Any] = [[gold] for gold in golds]
    else:
        passage, question = text(row, "passage"), text(row, "question")
        spans = [str(span) for span in value(row, "answers_spans")["spans"]]
        alternatives = [spans]
    passage = passage.removeprefix("Passage:").strip()
    cluster = str(row.get("section_id") or passage[:80])
    asked = f"Passage: {passage}\n\nQuestion: {question}"
    return make_problem(asked, alternatives[0][0], alternatives=alternatives, cluster=cluster)


def prompt(problem: Problem, shots: int = 3) -> str:
    """Return the question with instructions, after `shots` examples."""
    if not shots:
        return f"{problem.question}\n\n{INSTRUCTION}"
    examples = "\n\n".join(
        f"Passage: {passage}\n\nQuestion: {question}\n\n{thoughts}\nAnswer: {answer}"
        for passage, question, thoughts, answer in EXAMPLES[:shots]
    )
    return f"{INSTRUCTION}\n\n# Examples\n\n{examples}\n\n# Your task\n\n{problem.question}"


def vary(task: Task, shots: str) -> Task:
    """Return the task with another number of examples."""
    number = shots.removesuffix("-shot")
    if not number.isdecimal() or int(number) not in SHOTS:
        raise UserError(f"{task.name}:{shots}: must be {task.variants}")
    return replace(task, prompt=lambda problem: prompt(problem, int(number)))


TASK = Task(
    name="drop",
    title="DROP",
    n=9_536,
    k=1,
    metric="pass@1",
    read=read,
    prompt=prompt,
    verifier="drop_f1",
    licence="CC BY-SA 4.0",
    source="ucinlp/drop",
    split="validation",
    remarks="pass@1 is the mean F1. 3-shot with our own examples; the paper's are random rows of the training set",
    variants="0-shot, 1-shot, 2-shot or 3-shot (default)",
    vary=vary,
)
