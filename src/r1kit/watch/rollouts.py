"""The completions of a stage: which steps have some, those of one step by question, and one problem over steps.

Files of rollouts are written once, atomically, and may be large: only the steps that the page asks for are read, and
only short facts about their completions are kept.
"""

from __future__ import annotations

import json
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from statistics import fmean
from typing import Any

from r1kit.metrics.history import is_number
from r1kit.metrics.tail import parse_row
from r1kit.report.excerpts import Group, completion_of, question_of

STEPS_KEPT = 4  # of which facts are in memory
MOST_GROUPS = 400  # sent at a time
QUESTION_CHARACTERS = 400  # of a question in the list
SEARCH_SECONDS = 0.5  # for which one request looks for a problem
RECENT = 2_000_000_000  # nanoseconds in which a folder may change again without a new time
TEXTS = ("completion", "extracted", "reason", "parts", "spans")  # keys of a completion that the list does without

FILTERS: dict[str, Callable[[dict[str, Any]], bool]] = {
    "": lambda answer: True,
    "right": lambda answer: answer.get("correct") is True,
    "wrong": lambda answer: answer.get("correct") is False,
    "cut": lambda answer: answer.get("finish_reason") == "length",
    "mixed": lambda answer: answer.get("mixed") is True,
    "unparsed": lambda answer: "correct" in answer and "extracted" not in answer,
}


class Rollouts:
    """The steps of a stage that have a file of completions."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.steps: list[int] = []
        self._changed: int | None = None  # time of the folder when it was listed

    def refresh(self) -> None:
        """List the folder again if it has changed."""
        try:
            changed = self.folder.stat().st_mtime_ns
        except FileNotFoundError:
            self.steps, self._changed = [], None
            return
        if changed != self._changed:
            names = (path.name for path in self.folder.glob("step_*.jsonl"))
            numbers = (name.removeprefix("step_").removesuffix(".jsonl") for name in names)
            self.steps = sorted(int(number) for number in numbers if number.isdecimal())
            self._changed = changed if time.time_ns() - changed > RECENT else None

    def nearest(self, step: int | None) -> int | None:
        """Return the last logged step up to `step`, else the first; the newest for None. None without any."""
        if not self.steps:
            return None
        at = len(self.steps) if step is None else bisect_right(self.steps, step)
        return self.steps[max(0, at - 1)]

    def path(self, step: int) -> Path:
        """Return the file of a step."""
        return self.folder / f"step_{step:06d}.jsonl"

    def open(self, step: int) -> Step:
        """Return the completions of a step. FileNotFoundError if the run has deleted them."""
        stat = self.path(step).stat()
        return _read_step(self.path(step), stat.st_size, stat.st_mtime_ns)

    def follow(self, prompt_id: str, before: int | None) -> tuple[list[dict[str, Any]], int | None]:
        """Look for a problem in the steps before one, newest first, for SEARCH_SECONDS.

        Returns (its groups as numbers, the step to go on before; None when all steps have been read).
        """
        end, found = time.monotonic() + SEARCH_SECONDS, []
        for step in reversed([step for step in self.steps if before is None or step < before]):
            answers = list(_answers_to(prompt_id, self.path(step)))
            if answers:
                found.append({"step": step, **_numbers(answers)})
            if time.monotonic() > end and step != self.steps[0]:
                return found, step
        return found, None


@dataclass(frozen=True, slots=True)
class Entry:
    """One completion of a step: where it is in the file, and what the list shows of it."""

    position: int
    size: int
    prompt_id: str
    answer: dict[str, Any]  # without TEXTS
    matches: frozenset[str]  # names of FILTERS


class Step:
    """The completions of one step. Texts stay in the file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.questions: dict[str, Group] = {}
        self.entries: list[Entry] = []
        position = 0
        with path.open("rb") as lines:
            for line in lines:
                if (row := parse_row(line)) is not None:
                    self._add(row, position, len(line))
                position += len(line)

    def _add(self, row: dict[str, Any], position: int, size: int) -> None:
        prompt_id = str(row.get("prompt_id"))
        if prompt_id not in self.questions:
            question = {key: value for key, value in question_of(row).items() if key != "prompt"}
            self.questions[prompt_id] = {**question, "question": str(row.get("question"))[:QUESTION_CHARACTERS]}
        answer = completion_of(row)
        matches = frozenset(name for name, test in FILTERS.items() if test(answer))
        shown = {key: value for key, value in answer.items() if key not in TEXTS}
        self.entries.append(Entry(position, size, prompt_id, shown, matches))

    def counts(self) -> dict[str, int]:
        """Return the number of completions that pass each filter."""
        return {name: sum(name in entry.matches for entry in self.entries) for name in FILTERS}

    def groups(self, answer: str, search: str) -> tuple[list[Group], int]:
        """Return the groups with a completion that passes the filter and contains the text, and how many more have.

        Args:
            answer: A name in FILTERS.
            search: Text in the question or the completion, in any case; "" for all.
        """
        chosen = [entry for entry in self.entries if answer in entry.matches]
        if search:
            wanted = search.casefold()
            chosen = [entry for entry, row in self._rows(chosen) if wanted in _searched(row)]
        prompts = list(dict.fromkeys(entry.prompt_id for entry in chosen))
        members: dict[str, list[dict[str, Any]]] = {prompt_id: [] for prompt_id in prompts[:MOST_GROUPS]}
        for entry in self.entries:
            if entry.prompt_id in members:
                members[entry.prompt_id].append(entry.answer)
        groups = [{**self.questions[key], "of": len(rows), "completions": rows} for key, rows in members.items()]
        return groups, len(prompts) - len(groups)

    def group(self, prompt_id: str) -> Group | None:
        """Return all completions of a question with their texts; None if the step does not have it."""
        rows = [row for _, row in self._rows([e for e in self.entries if e.prompt_id == prompt_id])]
        if not rows:
            return None
        return {**question_of(rows[0]), "of": len(rows), "completions": [completion_of(row) for row in rows]}

    def _rows(self, entries: Sequence[Entry]) -> Iterator[tuple[Entry, dict[str, Any]]]:
        """Yield the complete rows of some entries."""
        with self.path.open("rb") as file:
            for entry in entries:
                file.seek(entry.position)
                if (row := parse_row(file.read(entry.size))) is not None:
                    yield entry, row


@lru_cache(maxsize=STEPS_KEPT)
def _read_step(path: Path, size: int, changed: int) -> Step:
    """Return a step. `size` and `changed` are those of its file, so another file is read again."""
    return Step(path)


def _searched(row: dict[str, Any]) -> str:
    return "\n".join(str(row.get(key, "")) for key in ("question", "completion", "answer", "prompt_id")).casefold()


def _answers_to(prompt_id: str, path: Path) -> Iterator[dict[str, Any]]:
    """Yield the completions of one problem in a file; other lines are not parsed."""
    name = json.dumps(prompt_id, ensure_ascii=False).encode("utf-8", "replace")
    try:
        text = path.read_bytes()
    except FileNotFoundError:  # the run has deleted it
        return
    if name not in text:
        return
    for line in text.splitlines():
        if name in line and (row := parse_row(line)) is not None and row.get("prompt_id") == prompt_id:
            yield completion_of(row)


def _numbers(answers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the numbers of a group: how many of its completions are right, and their mean reward and length."""
    graded = [answer["correct"] for answer in answers if "correct" in answer]
    rewards = [answer["reward"] for answer in answers if is_number(answer.get("reward"))]
    lengths = [answer["tokens"] for answer in answers if is_number(answer.get("tokens"))]
    return {
        "completions": len(answers),
        "right": sum(graded) if graded else None,
        "reward": fmean(rewards) if rewards else None,
        "tokens": fmean(lengths) if lengths else None,
        "cut": sum(map(FILTERS["cut"], answers)),
        "mixed": sum(map(FILTERS["mixed"], answers)),
    }
