"""When a result counts as the expected one. Everything here has crossed the sandbox's wall: plain values only."""

from __future__ import annotations

import json
import math
import re
import reprlib
from typing import Any

TOLERANCE = 1e-6  # relative and absolute, of a printed number where the expected one has a decimal point or exponent
SHOWN = 120  # characters of a value in a reason
LONGEST_NUMBER = 400  # characters
_DECIMAL = re.compile(r"[+-]?(?:\d+\.\d*|\.\d+|\d+(?=[eE]))(?:[eE][+-]?\d+)?", re.ASCII)
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)


def same_json(expected: Any, got: Any) -> bool:
    """Equal as JSON would write them, since that is how call tests are written.

    A tuple counts as a list; a number as a dict key as its text; 3.0 as 3. Not a bool as a number, nor a set as a list.
    Floats may differ by 1e-9, relative or absolute, where the expected number has a fraction. NaN equals nothing.
    """
    if isinstance(expected, (list, tuple)):
        return type(got) in (list, tuple) and len(expected) == len(got) and all(map(same_json, expected, got))
    if isinstance(expected, dict):
        if type(got) is not dict or len(expected) != len(got):
            return False
        found = {_key(key): value for key, value in got.items()}
        return all((name := _key(key)) in found and same_json(value, found[name]) for key, value in expected.items())
    if type(expected) in (int, float) and type(got) in (int, float):
        fraction = type(expected) is float and type(got) is float
        return expected == got or (fraction and math.isclose(expected, got, rel_tol=1e-9, abs_tol=1e-9))
    return type(expected) is type(got) and expected == got


def _key(key: Any) -> Any:
    return json.dumps(key) if type(key) in (bool, int, float, type(None)) else key


def same_output(expected: str, got: str) -> bool:
    """Equal text but for spacing: the same words on the same lines, empty lines aside.

    A number may differ by 1e-6, relative or absolute, where the expected one has a decimal point or an exponent.
    """
    wanted, given = _words(expected), _words(got)
    return len(wanted) == len(given) and all(
        len(line) == len(other) and all(map(_same_word, line, other)) for line, other in zip(wanted, given, strict=True)
    )


def _words(text: str) -> list[list[str]]:
    return [words for line in text.split("\n") if (words := line.split())]


def _same_word(expected: str, got: str) -> bool:
    if expected == got:
        return True
    if max(len(expected), len(got)) > LONGEST_NUMBER or not _DECIMAL.fullmatch(expected) or not _NUMBER.fullmatch(got):
        return False
    return math.isclose(float(expected), float(got), rel_tol=TOLERANCE, abs_tol=TOLERANCE)


def shown(value: Any) -> str:
    """The value for a person to read: shortened, and never slow."""
    try:
        text = reprlib.repr(value) if not isinstance(value, str) else repr(value[:SHOWN])
    except ValueError:  # Python writes no number of more than 4300 digits
        text = f"a {type(value).__name__} with a number too long to show"
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."
