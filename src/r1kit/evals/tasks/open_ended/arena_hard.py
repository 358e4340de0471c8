"""Arena-Hard v0.1: 500 hard prompts of users; a judge compares the answers with those of GPT-4-0314."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from r1kit.data.store import DataError, read_rows, write_jsonl
from r1kit.evals.scoring.arena_hard import battles_of
from r1kit.evals.task import Answer, Harness, Row, Task, make_problem, text, value
from r1kit.types import Problem

_HEADER = re.compile(r"^(#{1,6})\s", re.MULTILINE)
_NUMBERED, _BULLET = (re.compile(rf"^\s*{mark}\s", re.MULTILINE) for mark in (r"\d+\.", "[-*+]"))
_CODE = re.compile(r"```.*?```", re.DOTALL)


def read(row: Row) -> Problem:
    """Read a row of question.jsonl: {question_id, turns: [{content}]}, or {uid, prompt} in the newer layout.

    `baseline`, the answer of GPT-4-0314, is not in the public file; with it a judge can grade here.
    """
    question = str(row["prompt"]) if row.get("prompt") else str(value(row, "turns")[0]["content"])
    return make_problem(
        question,
        str(row.get("baseline") or ""),
        family=str(row.get("cluster") or ""),
        key=text(row, "question_id", "uid"),
    )


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
    win rate. Questions with a game without a verdict are left out, as show_result.py does.
    """
    battles = []
    for row in read_rows(path):
        pairs = zip(value(row, "games"), "BA", strict=False)
        games = [battles_of((game or {}).get("score"), place) for game, place in pairs]
        battles += [battle for game in games for battle in game] if all(games) else []
    if not battles:
        raise DataError(f"{path}: no game has a verdict: must be judgments with games and their score")
    return {"score": 100 * fmean(battles)}


def wrote(path: Path) -> bool:
    """Return whether a file holds judgments."""
    return path.suffix == ".jsonl" and "games" in next(read_rows(path))


TASK = Task(
    name="arena_hard",
    title="Arena-Hard v0.1",
    n=500,
    k=1,
    metric="score",
    read=read,
    prompt=lambda problem: problem.question,
    verifier="arena_hard",
    licence="Apache-2.0",
    source="lmarena-ai/arena-hard-auto",
    files=("data/arena-hard-v0.1/question.jsonl",),
    harness=Harness(
        "in a checkout of arena-hard-auto: cp {file} data/arena-hard-v0.1/model_answer/, name {model} under model_list "
        "in config/arena-hard-v0.1.yaml, then python gen_judgment.py --setting-file config/arena-hard-v0.1.yaml && "
        "python show_result.py --benchmark arena-hard-v0.1 --judge-names gpt-4-1106-preview --category arena-hard-v0.1",
        read_results,
        wrote,
        write,
    ),
    remarks="the paper's judge is gpt-4-1106-preview; version 2.0 has other prompts and baselines",
)
