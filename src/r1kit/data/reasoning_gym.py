"""Problems of reasoning-gym's task families, as prompt source `reasoning_gym:FAMILY`.

Requires `pip install 'r1kit[reasoning-gym]'`. An index into a data set of the family's generator identifies a task.
Generators may depend on the order of a set, so they run in a new interpreter with a fixed hash seed: every call gives
the same tasks. A hash of the question assigns a task to train or held-out, so the splits never share one.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module, util
from typing import TypedDict

from r1kit.errors import UserError
from r1kit.synonyms import nearest
from r1kit.types import Problem

DEFAULT_LIMIT = {"train": 5_000, "held_out": 150}
HELD_OUT = 8  # every 8th task on average is held out
SEED, SIZE = 0, 10_000  # of the data set that an index refers to
NONSENSE = "17 no answer"  # a check that accepts it would reward anything
TIMEOUT = 600.0  # seconds to generate all tasks
MAX_REPEATS = 2_000  # repeated tasks in a row, after which a small family counts as exhausted


def gym_problems(family: str, split: str = "train", limit: int | None = None) -> list[Problem]:
    """Return distinct problems of one family, the same on every call.

    Args:
        family: The name of a family.
        split: "train" or "held_out".
        limit: The number of problems; a small family may have fewer. None: 5,000 for train, 150 for held_out.

    Raises:
        UserError: The family or split does not exist, reasoning-gym is not installed, or generating takes too long.
    """
    if split not in DEFAULT_LIMIT:
        raise UserError(f"reasoning_gym:{family}: split = {split!r}: must be 'train' or 'held_out'")
    if util.find_spec("reasoning_gym") is None:
        raise UserError(f"reasoning_gym:{family} needs reasoning-gym: pip install 'r1kit[reasoning-gym]'")
    command = [sys.executable, "-m", __name__, family, split, str(limit or DEFAULT_LIMIT[split])]
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        raise UserError(
            f"reasoning_gym:{family}: the tasks were not generated within {TIMEOUT:g} seconds; set a lower limit"
        ) from None
    if done.returncode:
        raise UserError(done.stderr.strip().splitlines()[-1])
    return [_problem(family, json.loads(line)) for line in done.stdout.splitlines()]


class _Task(TypedDict):
    index: int
    question: str
    answer: str


def _problem(family: str, task: _Task) -> Problem:
    return Problem(
        id=hashlib.sha256(f"{family}\0{task['question']}".encode()).hexdigest()[:16],
        question=task["question"],
        answer=task["answer"],
        verifier="reasoning_gym",
        family=family,
        extra={"family": family, "seed": SEED, "size": SIZE, "index": task["index"]},
    )


def _tasks(family: str, held_out: bool, limit: int) -> Iterator[_Task]:
    """Yield distinct tasks of one split. SystemExit with a message when the family cannot be used."""
    reasoning_gym = import_module("reasoning_gym")
    families = import_module("reasoning_gym.factory").DATASETS
    if family not in families:
        close = nearest(family, families)
        hint = f"did you mean {close}?" if close else f"use one of {', '.join(sorted(families))}"
        raise SystemExit(f"reasoning_gym:{family}: no such family; {hint}")
    tasks = reasoning_gym.create_dataset(family, seed=SEED, size=SIZE)
    seen: set[str] = set()
    repeats = count = 0
    for index in range(SIZE):
        task = tasks[index]
        question = task["question"]
        if tasks.score_answer(NONSENSE, task) >= 1:
            raise SystemExit(
                f"reasoning_gym:{family}: cannot be used as a reward, because its check accepts {NONSENSE!r}"
            )
        repeats = repeats + 1 if question in seen else 0
        if count == limit or repeats == MAX_REPEATS:
            return
        if not repeats and held_out == (hashlib.sha256(question.encode()).digest()[0] % HELD_OUT == 0):
            yield {"index": index, "question": question, "answer": str(task["answer"] or "")}
            count += 1
        seen.add(question)


if __name__ == "__main__":
    for task in _tasks(sys.argv[1], sys.argv[2] == "held_out", int(sys.argv[3])):
        print(json.dumps(task))
