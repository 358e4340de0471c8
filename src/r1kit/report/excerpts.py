"""Which completions the page shows: as many as fit, chosen without looking at whether they are good."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from r1kit.report.collect import Row, Stage

ABOUT_QUESTION = ("prompt_id", "prompt", "question", "answer", "level", "family", "language")
ABOUT_PROBLEM = ("benchmark", "prompt_id", "question", "answer", "level", "family", "language")
ABOUT_COMPLETION = ("sample", "completion", "extracted", "reward", "parts", "advantage", "tokens", "finish_reason")
ABOUT_COMPLETION += ("correct", "format", "reason")


@dataclass(frozen=True, slots=True)
class QuestionAnswers:
    """One benchmark problem and what the evaluate stages answered."""

    benchmark: str
    prompt_id: str
    question: str
    answer: str
    level: str
    family: str
    language: str
    answers: dict[str, list[Row]] = field(default_factory=dict)  # stage -> completions


def to_json(value: object) -> str:
    """JSON that may stand inside a <script> element: no `<`, `>` or `&`, so no tag, comment or entity can begin."""
    text = json.dumps(_finite(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _finite(value: Any) -> Any:
    """NaN and the infinities, which JSON does not know, as null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value


def _size(value: object) -> int:
    return len(to_json(value).encode("utf-8", "replace")) + 1


def shared_questions(stages: Iterable[Stage]) -> list[QuestionAnswers]:
    """The problems that every evaluate stage with that benchmark answered, in an order that depends on their ids
    alone: the first N of them are a fair sample, and the same one in every run."""
    found: dict[tuple[str, str], QuestionAnswers] = {}
    for stage in stages:
        for row in stage.samples:
            about = QuestionAnswers(**{key: str(row.get(key, "")) for key in ABOUT_PROBLEM})
            known = found.setdefault((about.benchmark, about.prompt_id), about)
            known.answers.setdefault(stage.name, []).append(_completion(row))
    most: Counter[str] = Counter()
    for question in found.values():
        most[question.benchmark] = max(most[question.benchmark], len(question.answers))
    shared = (q for q in found.values() if len(q.answers) == most[q.benchmark])
    return sorted(
        shared, key=lambda q: hashlib.sha256(f"{q.benchmark} {q.prompt_id}".encode("utf-8", "replace")).digest()
    )


def _completion(row: Row) -> Row:
    kept = {key: row[key] for key in ABOUT_COMPLETION if row.get(key) is not None}
    parts = kept.get("parts")
    if "correct" not in kept and isinstance(parts, dict) and "accuracy" in parts:
        kept["correct"] = parts["accuracy"] == 1
    return kept


def fit_questions(questions: Sequence[QuestionAnswers], budget: int) -> list[dict[str, Any]]:
    """The first questions that fit into `budget` bytes of JSON."""
    chosen = []
    for question in map(asdict, questions):
        budget -= _size(question)
        if budget < 0:
            break
        chosen.append(question)
    return chosen


def fit_rollouts(stages: Iterable[Stage], budget: int) -> tuple[dict[str, dict[str, list[dict[str, Any]]]], int]:
    """({stage: {step: groups}}, completions left out) within `budget` bytes: every step gets an even share, and shows
    its first questions with all their answers."""
    left = [(stage.name, step, rows) for stage in stages for step, rows in stage.rollouts.items() if rows]
    chosen: dict[str, dict[str, list[dict[str, Any]]]] = {}
    missing = 0
    for i, (stage, step, rows) in enumerate(left):
        share = budget // (len(left) - i)
        groups, spent, dropped = _fit_step(rows, share)
        budget -= spent
        missing += dropped
        if groups:
            chosen.setdefault(stage, {})[str(step)] = groups
    return chosen, missing


def _fit_step(rows: Sequence[Row], budget: int) -> tuple[list[dict[str, Any]], int, int]:
    """(groups, bytes spent, completions left out) of one step. Only a first group may be shown in part."""
    by_prompt: dict[str, list[Row]] = {}
    for row in rows:
        by_prompt.setdefault(str(row.get("prompt_id")), []).append(row)
    groups: list[dict[str, Any]] = []
    spent = shown = 0
    for members in by_prompt.values():
        about = {key: members[0].get(key) for key in ABOUT_QUESTION}
        completions, cost = [], _size(about)
        for completion in map(_completion, members):
            if spent + cost + _size(completion) > budget:
                break
            cost += _size(completion)
            completions.append(completion)
        if not completions or (groups and len(completions) < len(members)):
            break
        groups.append({**about, "of": len(members), "completions": completions})
        spent += cost
        shown += len(completions)
        if len(completions) < len(members):
            break
    return groups, spent, len(rows) - shown
