"""Integers of any practical length as text. Python converts at most 4,300 digits, because the time is quadratic.

Conversions go through `Decimal` and stop at MAX_DIGITS, without a change to the interpreter's global setting.
"""

from __future__ import annotations

from decimal import Decimal

MAX_DIGITS = 50_000  # conversion takes about 0.2 s
PLAIN_DIGITS = 4_300
PLAIN_BITS = 14_000  # fewer than 4,300 digits
MAX_BITS = 3 * MAX_DIGITS


def read(text: str) -> int:
    """Convert decimal digits with an optional sign. Raises ValueError for more than MAX_DIGITS characters."""
    if len(text) <= PLAIN_DIGITS:
        return int(text)
    if len(text) > MAX_DIGITS:
        raise ValueError(f"an integer of {len(text)} digits: at most {MAX_DIGITS} are read")
    return int(Decimal(text))


def write(value: int) -> str:
    """Convert to decimal digits. Raises ValueError for an integer of about MAX_DIGITS digits or more."""
    if value.bit_length() <= PLAIN_BITS:
        return str(value)
    if value.bit_length() > MAX_BITS:
        raise ValueError(f"an integer of {value.bit_length()} bits: at most {MAX_BITS} are written")
    return format(Decimal(value), "f")
