"""The numbers and the target of a countdown task, wherever a line of a data set keeps them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

_NUMBERS = re.compile(r"\[\s*(\d+(?:\s*,\s*\d+)*)\s*\]|numbers?\D{0,20}?(\d+(?:\s*,\s*(?:and\s+)?\d+)+)", re.IGNORECASE)
_TARGET = re.compile(
    r"\b(?:equals?|equal to|target|reach(?:es)?|makes?|gives?)\D{0,20}(-?\d+(?:\.\d+)?)", re.IGNORECASE
)


def numbers_and_target(row: Mapping[str, Any]) -> dict[str, Any]:
    """From fields of the row, its gold or its problem; else from the problem's words, the gold being the target."""
    gold, problem = _parsed(row.get("gold")), _parsed(row.get("problem"))
    numbers = target = None
    for place in (row, gold, problem):
        if isinstance(place, Mapping):
            numbers = numbers or place.get("numbers") or place.get("nums")
            target = place.get("target") if target is None else target
    if isinstance(problem, str):
        if numbers is None and (listed := _NUMBERS.search(problem)):
            numbers = [int(number) for number in re.findall(r"\d+", listed[1] or listed[2])]
        if target is None and not _is_number(gold) and (stated := _TARGET.search(problem)):
            target = json.loads(stated[1])
    if target is None and _is_number(gold):
        target = gold
    if numbers is None or target is None:
        raise ValueError('give "numbers" and "target", as fields or in an object under gold or problem')
    return {"numbers": numbers, "target": target}


def _parsed(value: Any) -> Any:
    """Text that holds a JSON object or number as that; other text as it is."""
    if not isinstance(value, str):
        return value
    try:
        found = json.loads(value)
    except ValueError:
        return value
    return found if isinstance(found, dict) or _is_number(found) else value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
