"""Arena-Hard v0.1: 500 hard prompts of users; a judge compares the answers with those of GPT-4-0314."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from r1kit.data.store import DataError, read_rows, write_jsonl
from r1kit.evals.task import Answer, Harness, Row, Task, make_problem, text, value
from r1kit.types import Problem

_HEADER = re.compile(r"^(#{1,6})\s", re.MULTILINE)
_NUMBERED, _BULLET = (re.compile(rf"^\s*{mark}\s", re.MULTILINE) for mark in (r"\d+\.", "[-*+]"))
_CODE = re.compile(r"```.*?```", re.DOTALL)
# Verdict on (A, B) -> battles that A wins, battles in all. A strong verdict counts three battles.
BATTLES = {"A>>B": (3.0, 3), "A>B": (1.0, 1), "A=B": (0.5, 1), "B>A": (0.0, 1), "B>>A": (0.0, 3)}


def read(row: Row) -> Problem:
    """Read a row of question.jsonl: {question_id, turns: [{content}]}, or {uid, prompt} in the newer layout."""
    question = str(row["prompt"]) if row.get("prompt") else str(value(row, "turns")[0]["content"])
    return make_problem(question, "", family=str(row.get("cluster") or ""), key=text(row, "question_id", "uid"))


def style(answer: str) -> dict[str, Any]:
    """Return the counts of Markdown outside code, which style control needs."""
    plain = _CODE.sub("", answer)
    headers = [len(match[1]) for match in _HEADER.finditer(plain)]
    return {
        "header_count": {f"h{level}": headers.count(level) for level in range(1, 7)},
        "list_count": {"ordered": len(_NUMBERED.findall(plain)), "unordered": len(_BULLET.findall(plain))},
        "bold_count": {"**": len(re.findall(r"\*\*[^*\n]+\*\*", plain)), "__": len(re.findall(r"__[^_\n]+__", plain))},
    }


def write(answers: Sequence[Answer], model: str, folder: Path) -> Path:
    """Write MODEL.jsonl in the layout of model_answer. Answers have no thinking."""
    rows = (
        {
            "uid": each.problem.extra["key"],
            "ans_id": each.problem.id,
            "model": model,
            "messages": [
                {"role": "user", "content": each.problem.question},
                {"role": "assistant", "content": {"answer": each.text}},
            ],
            "metadata": {"token_len": len(each.text.split()), **style(each.text)},
        }
        for each in answers
    )
    path = folder / f"{Path(model).name}.jsonl"
    write_jsonl(path, rows)
    return path


def read_results(path: Path) -> dict[str, float]:
    """Return the score in per cent from a file of judgments, with two games a question.

    The model is B in the first game and A in the second. With one baseline, the score of Bradley-Terry is the weighted
    win rate.
    """
    won, fought = 0.0, 0
    for row in read_rows(path):
        for number, game in enumerate(value(row, "games")):
            if game.get("score") in BATTLES:
                wins, battles = BATTLES[game["score"]]
                won += wins if number else battles - wins
                fought += battles
    if not fought:
        raise DataError(f"{path}: no game has a verdict: must be judgments with games and their score")
    return {"score": 100 * won / fought}


TASK = Task(
    name="arena_hard",
    title="Arena-Hard v0.1",
    n=500,
    k=1,
    metric="score",
    read=read,
    prompt=lambda problem: problem.question,
    verifier="harness",
    licence="Apache-2.0",
    source="lmarena-ai/arena-hard-auto",
    files=("data/arena-hard-v0.1/question.jsonl",),
    harness=Harness(
        "in a checkout of arena-hard-auto: cp {file} data/arena-hard-v0.1/model_answer/ && python gen_judgment.py && "
        "python show_result.py",
        read_results,
        write,
    ),
    remarks="the paper's judge is gpt-4-1106-preview; version 2.0 has other prompts and baselines",
)
