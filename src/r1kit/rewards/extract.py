"""Extract the answers that a response states. Text inside the thinking is ignored."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from r1kit.data.response import Response, find_boxes, split_response
from r1kit.rewards.verdict import Ruling

# Phrases before an answer that extends to the end of the line or sentence. GSM8K's published solutions end in "A:".
_LEAD_IN = re.compile(
    r"^[ \t]*(?:A|答)\s*[:：]"
    r"|(?<!wrong )(?<!incorrect )(?<!second best )\banswer(?:\s+is(?!\s*n['’]t)\b\s*[:：]?|\s*[:：])"
    r"|答案\s*(?:[是为]\s*[:：]?|[:：])",
    re.IGNORECASE | re.MULTILINE,
)
_BOX = re.compile(r"\\(?:boxed|fbox)\b")
_NEW_SENTENCE = re.compile(r"[.。!?！？](?=[\s$\\]|$)|\n\s*\n")
_HEDGE = re.compile(r"\b(?:or|either|maybe|perhaps|possibly|alternatively)\b|或", re.IGNORECASE)
MAX_BOX_GAP = 20  # characters between boxes that belong together
_SENTENCE_END = re.compile(r"\n|。|\.(?=\s|$)")


def find_answers(text: str) -> list[str]:
    """Return the answers that a text states, read like a response to a prompt without `<think>`."""
    return answers_of(split_response(text, think_open=False))


def answers_of(response: Response, truncated: bool = False) -> list[str]:
    r"""Return the answers that a response states; more than one only if its last sentence contains several boxes.

    After the last `</think>`, the first of these forms counts: the last `<answer>` (or the boxes inside), the last
    `\boxed{}`, the text after the last `####`, the text after the last "the answer is". An unclosed think tag, an
    empty box and an unclosed box give no answer.

    Args:
        response: The completion, split.
        truncated: Whether the length cap cut the completion off. Then only closed forms count (tags and boxes).
    """
    if response.unfinished:
        return []
    place = response.summary if response.answer is None else response.answer
    if _BOX.search(place):
        return [box for box in last_boxes(place) if box]
    if response.answer is not None:
        return [response.answer] if response.answer else []
    if truncated:
        return []
    answer = _stated_answer(place)
    return [answer] if answer else []


def last_boxes(text: str, hedged: bool = True) -> list[str]:
    """Return the last box of a text, with the boxes before it that are offered together with it.

    Boxes belong together if no sentence ends between them, and only a few characters stand there or (with `hedged`) a
    word such as "or".
    """
    boxes = find_boxes(text)
    if len(boxes) < 2:
        return boxes
    group: list[str] = []
    end = 0
    for box in boxes:
        start = _BOX.search(text, end)
        if start is None:
            return boxes
        gap = text[end : start.start()]
        end = text.find(box, start.end()) + len(box)
        group = [*group, box] if group and _belong_together(gap, hedged) else [box]
    return group


def _belong_together(gap: str, hedged: bool) -> bool:
    shown = " ".join(re.sub(r"\\\w*|[{}$]", "", gap).split())
    offered = len(shown) <= MAX_BOX_GAP or (hedged and _HEDGE.search(shown) is not None)
    return offered and not _NEW_SENTENCE.search(gap)


def _stated_answer(text: str) -> str:
    """Return what follows the last `####`, else the last "the answer is"; empty if there is neither."""
    if "####" in text:
        answer = text.rpartition("####")[2].strip().partition("\n")[0]
    else:
        lead_ins = list(_LEAD_IN.finditer(text))
        answer = _SENTENCE_END.split(text[lead_ins[-1].end() :].strip(" \t*"))[0] if lead_ins else ""
    return answer.strip(" \t*")


def rule_on_all(answers: Sequence[str], check: Callable[[str], Ruling]) -> Ruling:
    """Judge the answers that a response states together: each must be right, or all must form the requested list."""
    distinct = list(dict.fromkeys(answers))
    fault = next((ruling for ruling in map(check, distinct) if ruling.status != "right"), None)
    if fault is None:
        return Ruling("right", "right")
    if len(distinct) > 1 and check(", ".join(distinct)).status == "right":
        return Ruling("right", "right as a list")
    return fault if len(distinct) == 1 else Ruling(fault.status, f"several answers; {fault.reason}")
