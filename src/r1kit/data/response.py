"""Split a completion into thinking, summary, tagged answer and boxed answers; hold back tags while it grows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Response:
    """The parts of a completion, without surrounding white space."""

    thinking: str | None  # text inside the think tags; None without a think tag
    answer: str | None  # text inside the last <answer>..</answer> of the summary; None without one
    summary: str  # text after the last </think>; the full text without that tag
    unfinished: bool  # a think tag was opened, in the prompt or in the text, and not closed
    well_formed: bool  # exactly one thinking section, at the start, and a summary; neither is blank


def split_response(text: str, think_open: bool) -> Response:
    """Split a completion into its parts.

    Args:
        text: The completion.
        think_open: Whether the prompt ended in `<think>`.
    """
    before, closing_tag, summary = text.rpartition("</think>")  # without the tag, `summary` is the full text
    thinking = before if closing_tag else text if think_open or "<think>" in text else None
    if thinking is not None and "<think>" in thinking:
        thinking = thinking.partition("<think>")[2]
    well_formed = (
        text.count("</think>") == 1
        and text.count("<think>") == (0 if think_open else 1)
        and (think_open or text.lstrip().startswith("<think>"))
        and has_words(thinking)
        and has_words(summary)
    )
    return Response(
        thinking=thinking and thinking.strip(),
        answer=_last_answer(summary),
        summary=summary.strip(),
        unfinished="<think>" in summary or (think_open and not closing_tag),
        well_formed=well_formed,
    )


def has_words(text: str | None) -> bool:
    """Return whether the text has a letter or a digit; white space and zero-width characters do not count."""
    return any(map(str.isalnum, text or ""))


def _last_answer(summary: str) -> str | None:
    before, closing_tag, _ = summary.rpartition("</answer>")
    _, opening_tag, answer = before.rpartition("<answer>")
    return answer.strip() if closing_tag and opening_tag else None


def find_boxes(text: str) -> list[str]:
    r"""Return the contents of every outermost `\boxed{...}` in order; [] if one of them is never closed."""
    boxes, position = [], 0
    while match := _BOX.search(text, position):
        position = match.end()
        if match[1] is not None:  # "\boxed 5", which occurs in solutions of MATH
            boxes.append(match[1])
            continue
        depth = 1
        while depth and position < len(text):
            if text[position] == "\\":
                position += 1  # skip an escaped brace
            else:
                depth += {"{": 1, "}": -1}.get(text[position], 0)
            position += 1
        if depth:
            return []
        boxes.append(text[match.end() : position - 1].strip())
    return boxes


_BOX = re.compile(r"\\(?:boxed|fbox)(?:\s*\{|\s+([^\s{$]+))")


def held_back(text: str, strings: Iterable[str]) -> int:
    """Return the length of the longest end of a text that is the beginning of one of the strings."""
    return max(max(_overlaps(text, string), default=0) for string in strings)


def _overlaps(text: str, string: str) -> Iterator[int]:
    longest = min(len(text), len(string) - 1)
    return (size for size in range(longest, 0, -1) if text.endswith(string[:size]))
