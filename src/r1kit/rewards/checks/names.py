"""Answers that are a set of names, such as who tells the truth in a logic puzzle."""

from __future__ import annotations

import re

LONGEST = 2_000  # characters
NOBODY = {"none", "nobody", "没有", "无"}
_SEPARATOR = re.compile(r"[\s,，、;；和]+|\\text|[{}$.。]")


def refute(gold: str, answer: str) -> str | None:
    """Why `answer` does not name exactly the people in `gold`; None when it does. Order and case do not matter."""
    if len(answer) > LONGEST:
        return f"the answer has {len(answer)} characters, allowed are {LONGEST}"
    return None if _names(answer) == _names(gold) else f"{answer!r} does not name the same people as {gold!r}"


def canonical(answer: str) -> str:
    """One text for all ways to name the same people."""
    return ",".join(sorted(_names(answer)))


def _names(text: str) -> set[str]:
    names = {name for name in _SEPARATOR.split(text.casefold()) if name and name != "and"}
    return {"none"} if names and names <= NOBODY else names
