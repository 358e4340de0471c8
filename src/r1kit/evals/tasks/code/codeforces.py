"""Codeforces: r1kit runs the tests of contests; the rating comes from the standings of human contestants."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from r1kit.evals.task import Answer, Harness, Row, Task, make_problem, number, text, value
from r1kit.files import write_json
from r1kit.types import Problem


def read(row: Row) -> Problem | None:
    """Read a row of open-r1/codeforces; None for problems with several right outputs, which need a checker."""
    if row.get("generated_checker") or not row.get("official_tests"):
        return None
    tests = value(row, "official_tests")
    parts = [f"# {text(row, 'title')}", text(row, "description")]
    sections = {"Input": "input_format", "Output": "output_format", "Note": "note"}
    parts += [f"## {title}\n\n{row[field]}" for title, field in sections.items() if row.get(field)]
    for example in row.get("examples") or []:
        parts.append(f"## Example\n\nInput:\n{example['input']}\n\nOutput:\n{example['output']}")
    parts.append(f"Limits: {row.get('time_limit') or 2} seconds, {row.get('memory_limit') or 256} megabytes")
    return make_problem(
        "\n\n".join(parts),
        "",
        level=number(row, "rating") // 100,
        family=text(row, "contest_id"),
        tests=[{"input": test["input"], "output": test["output"]} for test in tests],
        mode="stdin",
        key=f"{text(row, 'contest_id')}{text(row, 'index')}",
    )


def prompt(problem: Problem) -> str:
    """Ask for a complete program."""
    return (
        f"{problem.question}\n\nWrite a complete program that solves this problem: it reads the input from stdin and "
        "writes the output to stdout. Respond with one block of code, marked ```python or ```cpp."
    )


def write(answers: Sequence[Answer], model: str, folder: Path) -> Path:
    """Write verdicts.json: {"1A": ["WA", "AC"]}, the verdicts of each problem's samples in their order."""
    verdicts = defaultdict(list)
    for answer in answers:
        verdicts[str(answer.problem.extra["key"])].append("AC" if answer.correct else "WA")
    write_json(folder / "verdicts.json", {"model": model, "verdicts": verdicts})
    return folder / "verdicts.json"


def read_ratings(path: Path) -> dict[str, float]:
    """Return the rating and the percentile of ratings.json, what `r1kit score codeforces --json` printed."""
    metrics = json.loads(path.read_text(encoding="utf-8"))["metrics"]
    return {name: float(metrics[name]) for name in ("rating", "percentile")}


TASK = Task(
    name="codeforces",
    title="Codeforces",
    n=10,
    k=16,
    metric="rating",
    read=read,
    prompt=prompt,
    verifier="code",
    licence="the problems belong to Codeforces",
    where="put the rows of the contests from https://huggingface.co/datasets/open-r1/codeforces into one file",
    harness=Harness("r1kit score codeforces {file}", read_ratings, lambda path: path.name == "ratings.json", write),
    remarks="the paper's 10 Div. 2 contests and their tests are not published, n is the number of contests. The rating "
    "needs the standings of the contests. Problems with several right outputs are left out",
)
