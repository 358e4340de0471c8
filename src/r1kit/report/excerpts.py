"""Selection of the completions on the page: as many as fit, independent of their quality."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from r1kit.evals.style import other_language_share
from r1kit.report.collect import Row, Stage, is_number, problem_rank

QUESTION_KEYS = ("prompt_id", "prompt", "question", "answer", "level", "family", "language")
COMPLETION_KEYS = (
    *("sample", "completion", "extracted", "reward", "parts", "advantage", "tokens", "finish_reason"),
    *("correct", "format", "reason", "spans", "rewards"),
)
ONE_LANGUAGE = 0.9  # share of words in the question's language from which a completion is in one language

Group = dict[str, Any]  # QUESTION_KEYS, "of" (the group's size) and "completions" (those on the page)


@dataclass(frozen=True, slots=True)
class QuestionAnswers:
    """One benchmark problem with the answers of the evaluate stages."""

    benchmark: str
    prompt_id: str
    question: str
    answer: str
    level: str
    family: str
    language: str
    answers: dict[str, list[Row]] = field(default_factory=dict)  # stage -> completions


def to_json(value: object) -> str:
    """Return JSON for a <script> element: without `<`, `>` and `&`, so it cannot contain a tag, comment or entity."""
    text = json.dumps(finite(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def finite(value: Any) -> Any:
    """Replace NaN and infinities, which JSON lacks, by null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    return [finite(item) for item in value] if isinstance(value, list | tuple) else value


def _size(value: object) -> int:
    return len(to_json(value).encode("utf-8", "replace")) + 1


def shared_questions(stages: Iterable[Stage]) -> list[QuestionAnswers]:
    """Return the problems that every evaluate stage of their benchmark answered.

    Benchmarks take turns. The order within each depends only on the ids of its problems, so the first N are an
    unbiased sample, the same in every run.
    """
    by_id: dict[tuple[str, str], QuestionAnswers] = {}
    for stage in stages:
        for row in stage.samples:
            question = _question(row)
            known = by_id.setdefault((question.benchmark, question.prompt_id), question)
            known.answers.setdefault(stage.name, []).append(completion_of(row))
    most: Counter[str] = Counter()
    for question in by_id.values():
        most[question.benchmark] = max(most[question.benchmark], len(question.answers))
    shared = [q for q in by_id.values() if len(q.answers) == most[q.benchmark]]
    shared.sort(key=lambda q: problem_rank(q.benchmark, q.prompt_id))
    turns: Counter[str] = Counter()
    ranked = []
    for question in shared:
        ranked.append((turns[question.benchmark], question))
        turns[question.benchmark] += 1
    return [question for _, question in sorted(ranked, key=lambda pair: pair[0])]


def _question(row: Row) -> QuestionAnswers:
    def text(key: str) -> str:
        return str(row.get(key, ""))

    about = (text("question"), text("answer"), text("level"), text("family"), text("language"))
    return QuestionAnswers(text("benchmark"), text("prompt_id"), *about)


def completion_of(row: Row) -> Row:
    """Return what the page shows of a completion, with its verdict and whether it mixes languages."""
    kept = {key: row[key] for key in COMPLETION_KEYS if row.get(key) is not None}
    if row.get("truncated"):  # evaluate stages write this, RL stages `finish_reason`
        kept["finish_reason"] = "length"
    parts = kept.get("parts")
    if "correct" not in kept and isinstance(parts, dict) and "accuracy" in parts:
        kept["correct"] = parts["accuracy"] == 1
    return kept | ({"mixed": True} if _mixes_languages(row) else {})


def _mixes_languages(row: Row) -> bool:
    """Return whether too many words are in another language, by the reward for it, or else by their script."""
    parts, language = row.get("parts"), row.get("language")
    rewarded = parts.get("language") if isinstance(parts, dict) else None
    if is_number(rewarded):
        return rewarded < ONE_LANGUAGE
    return bool(language) and other_language_share([str(row.get("completion"))], [str(language)]) > 1 - ONE_LANGUAGE


def fit_questions(questions: Sequence[QuestionAnswers], budget: int) -> list[dict[str, Any]]:
    """Return the first questions that fit into `budget` bytes of JSON."""
    chosen = []
    for question in map(asdict, questions):
        budget -= _size(question)
        if budget < 0:
            break
        chosen.append(question)
    return chosen


def fit_rollouts(stages: Iterable[Stage], budget: int) -> tuple[dict[str, dict[str, list[Group]]], int]:
    """Return ({stage: {step: groups}}, completions left out) within `budget` bytes of JSON.

    Every step gets an equal share of the bytes, for its first groups.
    """
    steps = [(stage.name, step, rows) for stage in stages for step, rows in stage.rollouts.items() if rows]
    chosen: dict[str, dict[str, list[Group]]] = {}
    missing = 0
    for i, (stage, step, rows) in enumerate(steps):
        share = budget // (len(steps) - i)
        groups, spent, dropped = _fit_step(rows, share)
        budget -= spent
        missing += dropped
        if groups:
            chosen.setdefault(stage, {})[str(step)] = groups
    return chosen, missing


def question_of(row: Row) -> Group:
    """Return what the page shows of a completion's question."""
    return {key: row.get(key) for key in QUESTION_KEYS}


def _fit_step(rows: Sequence[Row], budget: int) -> tuple[list[Group], int, int]:
    """Return (groups, bytes spent, completions left out) of one step. Only the first group may be incomplete."""
    by_prompt: dict[str, list[Row]] = {}
    for row in rows:
        by_prompt.setdefault(str(row.get("prompt_id")), []).append(row)
    groups: list[Group] = []
    spent = shown = 0
    for members in by_prompt.values():
        about = question_of(members[0])
        completions, cost = [], _size(about)
        for completion in map(completion_of, members):
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
