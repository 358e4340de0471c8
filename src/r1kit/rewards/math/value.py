r"""Whether two single values are equal: as text, then as formulas: exactly, in numbers (which only refute), by sympy.

Value counts, not form; but a number that is still to be worked out, such as 2+3, may repeat the question and earns
nothing. A decimal stands for a value that has none that ends when it has four digits or more, all of them right.
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache

from r1kit.rewards.math.exact import Arithmetic, Value, is_settled, rational
from r1kit.rewards.math.notation import plain_text
from r1kit.rewards.math.numerals import chinese_number, english_number, scaled
from r1kit.rewards.math.numeric import agree, free_symbols, real_number
from r1kit.rewards.math.parser import Unreadable, parse
from r1kit.rewards.math.sympy_client import proved_equal
from r1kit.rewards.math.units import Unit, split_unit

DEGREES = split_unit("1°")[1].dimension
ROUNDED = 4  # significant digits from which on a decimal may stand for a value that it rounds

_TIMES_TEN = r"(?:\*|\\times|\\cdot) ?10\^"
_NUMERAL = re.compile(rf"-?(\d*)\.?(\d*)(?:(?:[eE]|{_TIMES_TEN}(?:\{{|(?=\d$|-\d+$)))([+-]?\d+)\}}?)?")
_PLAIN = r"(?:\{-?\d+\}|\d)"
_FRACTION = re.compile(rf"-?(?:\d+ ?)?\\frac{_PLAIN}{_PLAIN}|-?\d*\.\d*\\(?:overline|dot|bar)\{{?\d+\}}?|.*\.\.\.")
_OVER = re.compile(r"-?(?:\d+ ?)?-?\d+/\d+")
_ROOT = re.compile(r"-?(?:\\sqrt(?:\[\d\])?\{?)+(?:\d+|\\frac(?:\{\d+\}|\d)(?:\{\d+\}|\d))\}*")
_RATIO, _TIME = re.compile(r"(\d+(?:\.\d+)?):(\d+(?:\.\d+)?)"), re.compile(r"\d{1,2}:\d\d")
_INFINITE = re.compile(r"([+-]?)(?:inf|infinity)", re.IGNORECASE)
_COMPUTATION = re.compile(r"\\(?:lim|sum|prod|int|det)(?![a-z])")


def rounds(exact: str, decimal: str) -> bool:
    """Whether a decimal, however short, is what the value rounds to."""
    value, rounded = _real(exact), _real(decimal)
    return (
        value is not None and rounded is not None and abs(value - rounded) <= _half_unit(decimal) + 1e-12 * abs(value)
    )


def computes(text: str) -> bool:
    """Whether a left-hand side is a computation and no unknown: of \\frac{6}{4} = 3/2, but not of a+b = 0 or 1 = 1."""
    if _COMPUTATION.match(text):
        return True
    return not worked_out(text) and exact_value(text) is not None and not free_symbols(parse(text))


def same_leaf(gold: str, answer: str) -> bool:
    """Whether two single values are equal, units and percent signs considered. Raises Undecided."""
    (wanted, unit), (given, other) = leaf(gold), leaf(answer)
    if unit and other and unit != other:
        same_kind = unit.dimension == other.dimension and worked_out(given)
        return same_kind and _same_value(f"({wanted})*{unit.factor}", f"({given})*{other.factor}")
    if wanted == given or plain_text(wanted) == plain_text(given):
        return True
    if _is_angle(unit) != _is_angle(other) and r"\pi" in wanted + given:  # 90° and \pi/2
        return _same_value(
            *(f"({text})*\\pi/180" if _is_angle(of) else text for text, of in ((wanted, unit), (given, other)))
        )
    percents = wanted.endswith("%"), given.endswith("%")
    wanted, given = wanted.rstrip("%"), given.rstrip("%")
    if rational_value(wanted) is not None and worked_out(wanted) and not worked_out(given):
        return _stands_for(wanted, given)
    if _stands_for(wanted, given) or _same_value(wanted, given):
        return True
    if percents[0] == percents[1]:
        return False
    return _same_value(f"({wanted})/100", given) if percents[0] else _same_value(wanted, f"({given})/100")


def leaf(text: str) -> tuple[str, Unit | None]:
    """A single value without its unit, and the unit when it is a known one."""
    text, unit = split_unit(scaled(text))
    number = chinese_number(text)
    if number and re.fullmatch("[\u4e00-\u9fff]{0,2}", number[1]):
        text = str(number[0])
    elif infinite := _INFINITE.fullmatch(text):
        text = infinite[1] + r"\infty"
    elif (spoken := english_number(text)) is not None:
        text = str(spoken)
    elif (ratio := _RATIO.fullmatch(text)) and not _TIME.fullmatch(text):
        text = f"\\frac{{{ratio[1]}}}{{{ratio[2]}}}"
    return text.lstrip("+"), unit


def _is_angle(unit: Unit | None) -> bool:
    return unit is not None and unit.dimension == DEGREES


def worked_out(text: str) -> bool:
    """Whether a number is written as a result. 8*2 or 32/2 would repeat the question where the answer is 16."""
    if _ROOT.fullmatch(text):
        return True
    value = rational_value(text)
    return value is not None and bool(
        _NUMERAL.fullmatch(text) or _FRACTION.fullmatch(text) or (value.denominator > 1 and _OVER.fullmatch(text))
    )


def _stands_for(wanted: str, given: str) -> bool:
    """Whether one of them is a decimal of enough digits, and just what the other, which is none, rounds to."""
    for exact, decimal in ((wanted, given), (given, wanted)):
        digits = _NUMERAL.fullmatch(decimal)
        enough = digits and digits[2] and len((digits[1] + digits[2]).lstrip("0")) >= ROUNDED
        if enough and not _NUMERAL.fullmatch(exact) and (rational_value(exact) is None or worked_out(exact)):
            return rounds(exact, decimal)
    return False


def _half_unit(decimal: str) -> float:
    """Half of one unit in the last place."""
    digits = _NUMERAL.fullmatch(split_unit(decimal)[0])
    return 0.5 * 10.0 ** (min(int(digits[3] or 0), 300) - len(digits[2])) if digits else 0.0


# --- values ---------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def exact_value(text: str) -> Value | None:
    """The exact value of a formula; None when it cannot be read, or costs too much to work out."""
    try:
        return Arithmetic().value(parse(text))
    except Unreadable:
        return None


def rational_value(text: str) -> Fraction | None:
    value = exact_value(text)
    return rational(value) if value else None


def _real(text: str) -> float | None:
    try:
        return real_number(parse(split_unit(text)[0]))
    except Unreadable:
        return None


def _same_value(gold: str, answer: str) -> bool:
    """Whether two formulas have the same value; False also when one of them cannot be read."""
    left, right = exact_value(gold), exact_value(answer)
    try:
        if left and right and (left == right or Arithmetic().equal(left, right)):
            return True
        settled = left and right and is_settled(left) and is_settled(right)
        if settled or not agree(parse(gold), parse(answer)):
            return False
    except Unreadable:
        return False
    return proved_equal(gold, answer)


def factor_between(gold: str, answer: str) -> Fraction | None:
    """The number k other than 0 with gold = k answer, when both can be worked out and there is one."""
    left, right = exact_value(gold), exact_value(answer)
    try:
        return Arithmetic().ratio(left, right) if left and right else None
    except Unreadable:
        return None
