"""Extract the answers that a response states. Text inside the thinking is ignored."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from r1kit.data.response import Response, find_boxes, split_response
from r1kit.rewards.verdict import Ruling

# Phrases before an answer that extends to the end of the line or sentence. GSM8K's published solutions end in "A:".
_LEAD_IN = re.compile(
    r"^[ \t]*(?:A|答)\s*[:：]|\banswer(?:\s+is(?!\s*n['’]t)\b\s*[:：]?|\s*[:：])|答案\s*(?:[是为]\s*[:：]?|[:：])",
    re.IGNORECASE | re.MULTILINE,
)
_SENTENCE_END = re.compile(r"\n|。|\.(?=\s|$)")


def find_answers(text: str, think_open: bool = False, truncated: bool = False) -> list[str]:
    r"""Return the answers that a response states; more than one only if it contains several boxes.

    After the last `</think>`, the first of these forms counts: the last `<answer>` (or the boxes inside), every
    `\boxed{}`, the text after the last `####`, the text after the last "the answer is". An unclosed think tag, an
    empty box and an unclosed box give no answer.

    Args:
        text: The completion.
        think_open: Whether the prompt ended in `<think>`.
        truncated: Whether the length cap cut the completion off. Then only closed forms count (tags and boxes).
    """
    return answers_of(split_response(text, think_open), truncated)


def answers_of(response: Response, truncated: bool = False) -> list[str]:
    """Return the answers of a response that is already split; see `find_answers`."""
    if response.unfinished:
        return []
    place = response.summary if response.answer is None else response.answer
    if re.search(r"\\(?:boxed|fbox)\b", place):
        return [box for box in find_boxes(place) if box]
    if response.answer is not None:
        return [response.answer] if response.answer else []
    if truncated:
        return []
    answer = _stated_answer(place)
    return [answer] if answer else []


def _stated_answer(text: str) -> str:
    """Return what follows the last `####`, else the last "the answer is"; empty if there is neither."""
    if "####" in text:
        answer = text.rpartition("####")[2].strip().partition("\n")[0]
    else:
        lead_ins = list(_LEAD_IN.finditer(text))
        answer = _SENTENCE_END.split(text[lead_ins[-1].end() :].strip(" \t*"))[0] if lead_ins else ""
    return answer.strip(" \t*")


def extract_answer(text: str, think_open: bool = False) -> str | None:
    """Return the last answer that a response states, or None."""
    answers = find_answers(text, think_open)
    return answers[-1] if answers else None


def rule_on_all(answers: Sequence[str], check: Callable[[str], Ruling]) -> Ruling:
    """Judge all answers of a response: each must be right, or all together must be the requested list."""
    distinct = list(dict.fromkeys(answers))
    fault = next((ruling for ruling in map(check, distinct) if ruling.status != "right"), None)
    if fault is None:
        return Ruling("right", "right")
    if len(distinct) > 1 and check(", ".join(distinct)).status == "right":
        return Ruling("right", "right as a list")
    return fault if len(distinct) == 1 else Ruling(fault.status, f"several answers; {fault.reason}")
