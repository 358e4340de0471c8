"""Quantities in several parts: 1 h 30 min, 5 ft 6 in, 12° 30', and clock times."""

from __future__ import annotations

import re
from fractions import Fraction

from r1kit.rewards.math.notation import TEXT
from r1kit.rewards.math.units import Unit, split_unit

MAX_CHARACTERS = 100
_PART = re.compile(r"(\d+(?:\.\d+)?) ?([A-Za-z.]+|[\u4e00-\u9fff]{1,3})(?: ?,| and\b| ?, ?and\b|又)? ?")
_FEET = re.compile(r"^(\d+)' ?(\d+)(?:''|\")$")
_MINUTES = re.compile(r"(?<=\d)( ?)(?:m|分)$")
_ARC = re.compile(r"(\d+)°(?: ?(\d+(?:\.\d+)?)')?(?: ?(\d+(?:\.\d+)?)(?:''|\"))?")
_CLOCK = re.compile(r"(?:(上午|下午|晚上|早上)?(\d{1,2})(?::|点|时)(\d\d)(?::00)?分?) ?([ap]m)?", re.IGNORECASE)
_HOUR = re.compile(r"(上午|下午|晚上|早上)?(\d{1,2})() ?(am|pm|o'clock|点(?:整)?)")


def merge_parts(text: str, in_first: bool = False) -> str:
    """Rewrite a quantity in several units in its last one: 1 h 30 min as 90 min; return other texts unchanged.

    in_first: Use the first unit instead, 3/2 h. Gold answers do, because a bare number is read in the unit of the
    gold answer: 1.5 may answer "1 h 30 min", 90 without a unit may not.
    """
    text = text.lstrip(TEXT) if text[:1] == TEXT and text[1:2].isdigit() else text
    if len(text) > MAX_CHARACTERS or not text[:1].isdigit() or not re.search(r"\d.*[^\d.,].*\d", text):
        return text
    plain = text.replace(TEXT, " ").replace("\\", "").strip()
    if "°" in plain and "'" in plain and (arc := _ARC.fullmatch(re.sub(r"\s+", " ", plain).replace("° ", "°"))):
        return f"{_written(Fraction(arc[1]) + Fraction(arc[2] or 0) / 60 + Fraction(arc[3] or 0) / 3600)}°"
    plain = re.sub(r"\s+", " ", _FEET.sub(r"\1 ft \2 in", plain))
    if re.search(r"\dh|\d ?h(?:r|rs|ours?)?\b|小?时", plain):  # minutes, not metres or cents
        plain = _MINUTES.sub(r"\1min", plain)
    at, total = 0, Fraction(0)
    names: list[str] = []
    units: list[Unit] = []
    while part := _PART.match(plain, at):
        unit = split_unit(f"{part[1]} {part[2]}")[1]
        if not unit or (units and (unit.dimension != units[-1].dimension or unit.factor >= units[-1].factor)):
            return text
        total += Fraction(part[1]) * unit.factor
        at = part.end()
        names.append(part[2])
        units.append(unit)
    if at < len(plain) or len(units) < 2:
        return text
    target = 0 if in_first else -1
    return f"{_written(total / units[target].factor)} {names[target]}"


def _written(value: Fraction) -> str:
    return str(value) if value.denominator == 1 else f"\\frac{{{value.numerator}}}{{{value.denominator}}}"


def clock_time(text: str) -> tuple[int, bool] | None:
    """Return the minutes since midnight of a clock time, and whether the half of the day is known; else None."""
    plain = re.sub(r"\s+", " ", text.replace(TEXT, " ")).strip().lower()
    plain = re.sub(r" ?([ap])\.? ?m\.?$", r" \1m", plain)
    match = _CLOCK.fullmatch(plain) or _HOUR.fullmatch(plain)
    if not match:
        return None
    hours, minutes, half = int(match[2]), int(match[3] or 0), match[4] or ""
    half = {"上午": "am", "早上": "am", "下午": "pm", "晚上": "pm"}.get(match[1] or "", half)
    if hours > 24 or minutes > 59 or (half in ("am", "pm") and not 1 <= hours <= 12):
        return None
    if half in ("am", "pm"):
        return (hours % 12 + 12 * (half == "pm")) * 60 + minutes, True
    return hours * 60 + minutes, hours > 12 or hours == 0


def same_time(gold: str, answer: str) -> bool:
    """Compare clock times: 09:05 is 9:05, 15:30 is 3:30 p.m. An answer may add the half of the day, not omit it."""
    wanted, given = clock_time(gold), clock_time(answer)
    if not wanted or not given:
        return False
    if wanted[0] == given[0] and (given[1] or not wanted[1]):
        return True
    return not wanted[1] and given[1] and given[0] == wanted[0] + 720 and not re.search("[ap]m", gold)
