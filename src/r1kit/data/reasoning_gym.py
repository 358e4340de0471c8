"""Problems of reasoning-gym's families of tasks: `pip install 'r1kit[reasoning-gym]'`, source `reasoning_gym:FAMILY`.

A task is named by its number in a data set that the family's generator makes. What a generator makes may depend on the
order of a set, so it runs in an interpreter of its own with a fixed hash seed: the same tasks on every run.
Train and held-out tasks are told apart by content, and so never share one.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib import util
from typing import Any

from r1kit.errors import UserError, nearest
from r1kit.types import Problem

DEFAULT_LIMIT = {"train": 5_000, "held_out": 150}
HELD_OUT = 8  # one task in so many
SEED, SIZE = 0, 10_000  # of the data set in which a task has its number
NONSENSE = "17 no answer"  # a check that takes it for right would pay for anything
MAKING = 600.0  # seconds for all of them
REPEATS = 2_000  # tasks in a row that were there before: a small family has no more to give


def gym_problems(family: str, split: str = "train", limit: int | None = None) -> list[Problem]:
    """Distinct problems of one family, the same on every call; fewer than `limit` when it has no more to give."""
    if split not in DEFAULT_LIMIT:
        raise UserError(f"unknown split '{split}' of reasoning_gym:{family}: use 'train' or 'held_out'")
    if util.find_spec("reasoning_gym") is None:
        raise UserError(f"reasoning_gym:{family} needs reasoning-gym: pip install 'r1kit[reasoning-gym]'")
    command = [sys.executable, "-m", __name__, family, split, str(limit or DEFAULT_LIMIT[split])]
    same = {**os.environ, "PYTHONHASHSEED": "0"}
    try:
        made = subprocess.run(command, env=same, capture_output=True, text=True, timeout=MAKING)
    except subprocess.TimeoutExpired:
        raise UserError(
            f"reasoning_gym:{family} was not made in {MAKING:g} seconds: ask for fewer with limit"
        ) from None
    if made.returncode:
        raise UserError(made.stderr.strip().splitlines()[-1])
    return [_problem(family, json.loads(line)) for line in made.stdout.splitlines()]


def _problem(family: str, row: dict[str, Any]) -> Problem:
    return Problem(
        id=hashlib.sha256(f"{family}\0{row['question']}".encode()).hexdigest()[:16],
        question=row["question"],
        answer=row["answer"],
        verifier="reasoning_gym",
        family=family,
        extra={"family": family, "seed": SEED, "size": SIZE, "index": row["index"]},
    )


def _tasks(family: str, held_out: bool, limit: int) -> Iterator[dict[str, Any]]:
    import reasoning_gym
    from reasoning_gym.factory import DATASETS

    if family not in DATASETS:
        close = nearest(family, DATASETS)
        hint = f"did you mean {close}?" if close else f"there are {', '.join(sorted(DATASETS))}"
        raise SystemExit(f"reasoning_gym:{family}: no such family; {hint}")
    tasks, seen, repeats, made = reasoning_gym.create_dataset(family, seed=SEED, size=SIZE), set(), 0, 0
    for index in range(SIZE):
        task = tasks[index]
        question = task["question"]
        if tasks.score_answer(NONSENSE, task) >= 1:
            raise SystemExit(f"reasoning_gym:{family}: its check takes {NONSENSE!r} for right, so it is no reward")
        repeats = repeats + 1 if question in seen else 0
        if made == limit or repeats == REPEATS:
            return
        if not repeats and held_out == (hashlib.sha256(question.encode()).digest()[0] % HELD_OUT == 0):
            yield {"index": index, "question": question, "answer": str(task["answer"] or "")}
            made += 1
        seen.add(question)


if __name__ == "__main__":
    for row in _tasks(sys.argv[1], sys.argv[2] == "held_out", int(sys.argv[3])):
        print(json.dumps(row))
