"""Take a completion apart: thinking, summary, tagged answer, boxes."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Response:
    """A completion taken apart. Every part is stripped of surrounding white space."""

    thinking: str | None  # inside the think tags; None when the text never thinks
    answer: str | None  # inside the last <answer>..</answer> of the summary
    summary: str  # what follows the last </think>; the whole text when there is none
    well_formed: bool  # thinks exactly once, from its first word, then says something


def split_response(text: str, think_open: bool) -> Response:
    """Take a completion apart; `think_open` says that its prompt already ended in `<think>`."""
    before, closed, summary = text.rpartition("</think>")  # without the tag all of the text is the summary
    thinking = before if closed else text if think_open or "<think>" in text else None
    if thinking is not None and "<think>" in thinking:
        thinking = thinking.partition("<think>")[2]
    well_formed = (
        text.count("</think>") == 1
        and text.count("<think>") == (0 if think_open else 1)
        and (think_open or text.lstrip().startswith("<think>"))
        and says_something(thinking)
        and says_something(summary)
    )
    return Response(thinking and thinking.strip(), _last_answer(summary), summary.strip(), well_formed)


def says_something(text: str | None) -> bool:
    """Whether there is a letter or a digit: white space and zero-width characters are not reasoning."""
    return any(map(str.isalnum, text or ""))


def _last_answer(summary: str) -> str | None:
    before, closed, _ = summary.rpartition("</answer>")
    _, opened, answer = before.rpartition("<answer>")
    return answer.strip() if closed and opened else None


def find_boxes(text: str) -> list[str]:
    r"""The contents of every outermost `\boxed{...}` in order; none at all when one of them is never closed."""
    boxes, position = [], 0
    while match := _BOX.search(text, position):
        position = match.end()
        if match[1] is not None:  # "\boxed 5", as some solutions of MATH have it
            boxes.append(match[1])
            continue
        depth = 1
        while depth and position < len(text):
            if text[position] == "\\":
                position += 1  # an escaped brace is text
            else:
                depth += {"{": 1, "}": -1}.get(text[position], 0)
            position += 1
        if depth:
            return []
        boxes.append(text[match.end() : position - 1].strip())
    return boxes


_BOX = re.compile(r"\\(?:boxed|fbox)(?:\s*\{|\s+([^\s{$]+))")
