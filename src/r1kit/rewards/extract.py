"""Where a response states its answer. Nothing inside the thinking counts."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from r1kit.data.response import find_boxes, split_response
from r1kit.rewards.verdict import Ruling

# Statements that only the end of their line or sentence closes. "A:" is how GSM8K's published solutions end.
_STATED = re.compile(
    r"^[ \t]*(?:A|答)\s*[:：]|\banswer(?:\s+is\s*[:：]?|\s*[:：])|答案\s*(?:[是为]\s*[:：]?|[:：])",
    re.IGNORECASE | re.MULTILINE,
)
_SENTENCE_END = re.compile(r"\n|。|\.(?=\s|$)")


def find_answers(text: str, think_open: bool = False, truncated: bool = False) -> list[str]:
    r"""The answers a response commits to: several only when it holds several boxes.

    Looked for after the last `</think>`, in this order: the last `<answer>` (or the boxes within), every `\boxed{}`,
    what follows the last `####`, what follows the last "the answer is". A think tag left open gives none; neither does
    an empty or unclosed box. In a truncated response only closed forms count: the rest may have been cut in the middle.
    """
    response = split_response(text, think_open)
    if "<think>" in response.summary or (think_open and "</think>" not in text):
        return []
    place = response.summary if response.answer is None else response.answer
    if re.search(r"\\(?:boxed|fbox)\b", place):
        return [box for box in find_boxes(place) if box]
    if response.answer is not None:
        return [response.answer] if response.answer else []
    if truncated:
        return []
    if "####" in place:
        stated = place.rpartition("####")[2].strip().partition("\n")[0]
    else:
        statements = list(_STATED.finditer(place))
        stated = _SENTENCE_END.split(place[statements[-1].end() :].strip(" \t*"))[0] if statements else ""
    stated = stated.strip(" \t*")
    return [stated] if stated else []


def extract_answer(text: str, think_open: bool = False) -> str | None:
    """The last answer stated, or None."""
    answers = find_answers(text, think_open)
    return answers[-1] if answers else None


def rule_on(answers: Sequence[str], check: Callable[[str], Ruling]) -> Ruling:
    """The ruling on all answers of a response: every one must be right, or all together the list that is asked for."""
    distinct = list(dict.fromkeys(answers))
    fault = next((ruling for ruling in map(check, distinct) if ruling.status != "right"), None)
    if fault is None:
        return Ruling("right", "right")
    if len(distinct) > 1 and check(", ".join(distinct)).status == "right":
        return Ruling("right", "right as a list")
    return fault if len(distinct) == 1 else Ruling(fault.status, f"several answers; {fault.reason}")
