"""CLUEWSC2020: whether a Chinese pronoun refers to a noun."""

from __future__ import annotations

from r1kit.evals.task import Row, Task, make_problem, text, value
from r1kit.types import Problem


def read(row: Row) -> Problem:
    """Read a row of the original files: "true" means that the pronoun refers to the noun."""
    target = value(row, "target")
    place = int(target["span2_index"]) + 1
    asked = f"句子中的“{target['span2_text']}”（第 {place} 个字）指的是“{target['span1_text']}”吗？"
    letter = "A" if text(row, "label").lower() == "true" else "B"
    return make_problem(f"{text(row, 'text')}\n\n{asked}\n\nA. 是\nB. 否", letter, options=["是", "否"])


def prompt(problem: Problem) -> str:
    """Ask for a last line with a letter."""
    return f"{problem.question}\n\n请先思考，最后一行只写“答案：A”或“答案：B”。"


TASK = Task(
    name="cluewsc",
    title="CLUEWSC2020",
    n=304,
    k=4,
    metric="pass@1",
    read=read,
    prompt=prompt,
    verifier="choice",
    licence="for research, without a clear licence",
    where="download the dev set of https://github.com/CLUEbenchmark/CLUEWSC2020 and name it .jsonl",
    remarks="the paper does not name the split",
)
