"""FRAMES: questions that need several Wikipedia articles; all of them stand in the prompt (oracle prompt)."""

from __future__ import annotations

import json

from r1kit.data.store import DataError
from r1kit.evals.task import Row, Task, make_problem, text
from r1kit.types import Problem

MAX_CHARACTERS = 400_000  # of all articles together, about 100,000 tokens


def read(row: Row) -> Problem:
    """Read a row of google/frames-benchmark with the field `wiki_items`, a list of {title, text}."""
    items = row.get("wiki_items")
    items = json.loads(items) if isinstance(items, str) else items
    if not items:
        raise DataError("must have wiki_items, a list of {title, text}: the public file has only links to the articles")
    articles = [(str(item["title"]), str(item["text"])) for item in items]
    family = str(row.get("reasoning_types") or "").partition("|")[0].strip()
    return make_problem(text(row, "Prompt", "question"), text(row, "Answer"), family=family, articles=articles)


def prompt(problem: Problem) -> str:
    """Return the articles, each cut in proportion if all are too long, and the question."""
    articles = problem.extra["articles"]
    share = min(1.0, MAX_CHARACTERS / sum(len(body) for _, body in articles))
    shown = "\n\n".join(f"{title}\n{body[: int(share * len(body))]}" for title, body in articles)
    return (
        f"Here are some articles:\n\n{shown}\n\nAnswer the question with their help.\n\n"
        f"Question: {problem.question}\n\n"
        'Think step by step, and finish with a sentence that begins with "Therefore, the answer is".'
    )


TASK = Task(
    name="frames",
    title="FRAMES",
    n=824,
    k=1,
    metric="pass@1",
    read=read,
    prompt=prompt,
    verifier="frames",
    licence="Apache-2.0; the articles CC BY-SA",
    where="download google/frames-benchmark from https://huggingface.co/datasets/google/frames-benchmark, and add to "
    "each row the texts of its articles as wiki_items, a list of {title, text} (iic/frames at ModelScope has them)",
    remarks="articles of more than 400,000 characters together are cut in proportion",
)
