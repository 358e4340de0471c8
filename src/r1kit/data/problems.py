"""Problems to train and evaluate on: found in worlds, local files or hub datasets, then dealt out in endless epochs."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from r1kit.config import PromptSource
from r1kit.console import say
from r1kit.data.response import find_boxes
from r1kit.data.store import READERS, DataError, read_rows
from r1kit.errors import require
from r1kit.hashing import derive_seed
from r1kit.types import Problem

# Read without regard to case; the first one present counts.
QUESTION_FIELDS = ("question", "problem", "prompt", "query")
ANSWER_FIELDS = ("answer", "final_answer", "ground_truth", "target", "solution")
LEVEL_FIELDS = ("level", "difficulty")
FAMILY_FIELDS = ("family", "subject", "type", "category")
NUMBERS_FIELDS = ("numbers", "nums")
OPTIONS_FIELDS = ("options", "choices")

LONGEST_ANSWER = 200  # characters; what is longer is a worked solution whose result was not found
COUNTDOWN_QUESTION = (
    "Write an expression that equals {target} out of the numbers {numbers}, each used exactly once, "
    "with + - * / and parentheses only."
)


def load_problems(sources: Sequence[PromptSource], *, answered: bool = True) -> list[Problem]:
    """All problems of all sources in order, without duplicates. DataError when a source yields none.

    Without `answered`, prompts that have no final answer count too: no rule is to check what is said to them.
    """
    problems: dict[str, Problem] = {}
    for source in sources:
        for problem in _load(source, answered):
            problems.setdefault(problem.id, problem)
    return list(problems.values())


class PromptStream:
    """Endless epochs over the problems, each in an order of its own that only the seed and the epoch decide."""

    def __init__(self, problems: Sequence[Problem], seed: int) -> None:
        if not problems:
            raise DataError("no problems to draw prompts from")
        self.problems = problems
        self.seed = seed
        self._epoch, self._order = -1, list(problems)  # the order of the epoch asked for last

    def take(self, cursor: int, count: int) -> list[Problem]:
        """Problems number `cursor` to `cursor + count` of the endless stream: a pure function of its arguments."""
        return [self._at(position) for position in range(cursor, cursor + count)]

    def _at(self, position: int) -> Problem:
        epoch, index = divmod(position, len(self.problems))
        if epoch != self._epoch:
            self._order = sorted(self.problems, key=lambda problem: derive_seed("order", self.seed, epoch, problem.id))
            self._epoch = epoch
        return self._order[index]


def _load(source: PromptSource, answered: bool) -> list[Problem]:
    kind, _, world = source.source.partition(":")
    if kind == "world":
        from r1kit.data.worlds import world_problems

        return world_problems(world, source.split, source.min_level, source.max_level, source.limit)
    if kind == "reasoning_gym":
        from r1kit.data.reasoning_gym import gym_problems

        return gym_problems(world, source.split, source.limit)
    path = Path(source.source).expanduser()
    if path.suffix in READERS or path.exists():
        family = path.parent.name if path.stem in ("train", "test", "validation") else path.stem
        rows: Iterable[Mapping[str, Any]] = read_rows(path)
    else:
        family = kind.split("/")[-1]
        rows = hub_rows(source)
    found: dict[str, Problem] = {}
    unanswered = []
    for number, row in enumerate(rows, start=1):
        problem = to_problem(row, f"{source.source}, row {number}", family, answered)
        if problem is None:
            unanswered.append(number)
        elif source.min_level <= problem.level <= source.max_level:
            found.setdefault(problem.id, problem)
        if len(found) == source.limit:
            break
    if unanswered:
        say(f"{source.source}: {len(unanswered)} rows without final answer left out, the first is row {unanswered[0]}")
    if not found:
        raise DataError(
            f"{source.source}: no problem of level {source.min_level} to {source.max_level} with a final answer: a "
            r"short text, or a solution that ends in `#### ANSWER` or \boxed{ANSWER}. Widen min_level and max_level?"
        )
    return list(found.values())


def hub_rows(source: PromptSource) -> Iterable[Mapping[str, Any]]:
    """`org/name`, or `org/name:config` where the dataset has several."""
    require("datasets", extra="hub")
    from datasets import load_dataset  # type: ignore[import-untyped]  # ships no type stubs

    name, _, config = source.source.partition(":")
    try:
        return load_dataset(name, config or None, split=source.split)
    except Exception as error:  # whatever it is, the person needs to hear what was tried
        raise DataError(
            f"{source.source}: neither a local file nor a dataset that could be loaded from the hub, split "
            f"{source.split!r} ({type(error).__name__}: {str(error).strip()[:300]}). A hub source is org/name or "
            f"org/name:config; a local file ({', '.join(READERS)}) works offline"
        ) from error


def to_problem(row: Mapping[str, Any], where: str, family: str, answered: bool = True) -> Problem | None:
    """A row of any common shape as a Problem; None when its question is blank, or its final answer if it needs one.

    DataError says where the row is and what it lacks when a field is missing or is no text.
    """
    fields = {key.lower(): value for key, value in row.items()}
    verifier, extra = fields.get("verifier") or "math", fields.get("extra") or {}
    question, answer = _first(fields, QUESTION_FIELDS), _first(fields, ANSWER_FIELDS)
    numbers = _first(fields, NUMBERS_FIELDS)
    if isinstance(numbers, list) and fields.get("target") is not None:
        verifier, extra = "countdown", {"numbers": numbers, "target": fields["target"]}
        answer = fields["target"]
        question = question or COUNTDOWN_QUESTION.format(target=answer, numbers=", ".join(map(str, numbers)))
    absent = not question and fields.keys().isdisjoint(QUESTION_FIELDS)
    absent = absent or (answered and fields.keys().isdisjoint(ANSWER_FIELDS))
    if absent or not isinstance(question, str | None) or not isinstance(answer, str | int | float | None):
        raise DataError(
            f"{where}: found the fields {', '.join(row) or '(none)'}; wanted a question as text in one of "
            f"{', '.join(QUESTION_FIELDS)} and an answer in one of {', '.join(ANSWER_FIELDS)}, or numbers and target"
        )
    options = _first(fields, OPTIONS_FIELDS)
    if isinstance(options, list) and isinstance(answer, int):  # multiple choice: a letter, or counted from 0
        answer = ascii_uppercase[answer] if 0 <= answer < len(options) else None
    final = "" if answer is None else final_answer(str(answer))
    if (answered and not final) or not question or not question.strip():
        return None
    if isinstance(fields.get("body"), str):  # SVAMP tells the story apart from its question
        question = f"{fields['body']} {question}"
    if isinstance(options, list):
        question = "\n".join([question, *map("{}. {}".format, ascii_uppercase, options)])
        verifier, extra = fields.get("verifier") or "choice", {"options": options, **extra}
    return Problem(
        id=hashlib.sha256(f"{question}\0{final}".encode()).hexdigest()[:16],
        question=question,
        answer=final,
        verifier=verifier,
        level=_level(_first(fields, LEVEL_FIELDS)),
        family=str(_first(fields, FAMILY_FIELDS) or family),
        language=str(fields.get("target_language") or ("zh" if re.search("[\u4e00-\u9fff]", question) else "en")),
        extra=extra,
    )


def final_answer(solution: str) -> str:
    r"""What stands after GSM8K's `####`, in MATH's last `\boxed`, or the text if it is one short line; else nothing."""
    text = solution.strip()
    if "####" in text:
        text = text.rpartition("####")[2].strip()
    elif boxes := find_boxes(text):
        text = boxes[-1]
    elif "\n" in text or len(text) > LONGEST_ANSWER:
        return ""
    return text


def _first(fields: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((fields[name] for name in names if fields.get(name) is not None), None)


def _level(value: Any) -> int:
    """MATH writes "Level 3", DeepMath 4.5; what is no number counts as unknown."""
    number = re.search(r"-?\d+(\.\d+)?", str(value))
    return math.floor(float(number[0])) if number else 0
