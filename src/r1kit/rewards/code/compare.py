"""Compare the results of a program with the expected ones. All values come from the sandbox as plain data."""

from __future__ import annotations

import json
import math
import re
import reprlib
from typing import Any

from r1kit import integers

TOLERANCE = 1e-6  # relative and absolute, for printed numbers
MAX_SHOWN = 120  # characters of a value in a reason
MAX_NUMBER = 400  # characters
_DECIMAL = re.compile(r"[+-]?(?:\d+\.\d*|\.\d+|\d+(?=[eE]))(?:[eE][+-]?\d+)?", re.ASCII)
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)


def same_json(expected: Any, got: Any) -> bool:
    """Return whether two values are equal as JSON writes them, which is how call tests are written.

    A tuple equals a list, a number as a dict key equals its text, and 3.0 equals 3. A bool does not equal a number, nor
    a set a list. Floats may differ by 1e-9 (relative or absolute) if both are floats. NaN equals nothing.
    """
    if isinstance(expected, (list, tuple)):
        return type(got) in (list, tuple) and len(expected) == len(got) and all(map(same_json, expected, got))
    if isinstance(expected, dict):
        if type(got) is not dict or len(expected) != len(got):
            return False
        values = {_key(key): value for key, value in got.items()}
        return all((name := _key(key)) in values and same_json(value, values[name]) for key, value in expected.items())
    if type(expected) in (int, float) and type(got) in (int, float):
        both_floats = type(expected) is float and type(got) is float
        return expected == got or (both_floats and math.isclose(expected, got, rel_tol=1e-9, abs_tol=1e-9))
    return type(expected) is type(got) and bool(expected == got)


def _key(key: Any) -> Any:
    if type(key) is int:
        return integers.write(key) if key.bit_length() <= integers.MAX_BITS else key
    return json.dumps(key) if type(key) in (bool, float, type(None)) else key


def same_output(expected: str, got: str) -> bool:
    """Return whether two texts have the same words on the same lines, ignoring empty lines.

    A number may differ by 1e-6 (relative or absolute) if the expected one has a decimal point or an exponent.
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
    if max(len(expected), len(got)) > MAX_NUMBER or not _DECIMAL.fullmatch(expected) or not _NUMBER.fullmatch(got):
        return False
    return math.isclose(float(expected), float(got), rel_tol=TOLERANCE, abs_tol=TOLERANCE)


def shown(value: Any) -> str:
    """Return a short text of a value for a reason, in bounded time."""
    try:
        text = reprlib.repr(value) if not isinstance(value, str) else repr(value[:MAX_SHOWN])
    except ValueError:  # Python refuses to write numbers of more than 4300 digits
        text = f"a {type(value).__name__} with a number too long to show"
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 3] + "..."
