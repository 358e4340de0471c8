"""Compare two single values: as text, then as formulas exactly, by numeric probing (which only refutes), by sympy.

Only the value counts, not its form, with two rules. A number that is not evaluated, such as 2+3, may repeat the
question and is wrong. A decimal with four or more correct significant digits matches a value without a terminating
decimal.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from fractions import Fraction
from functools import lru_cache

from r1kit.rewards.math.exact import Arithmetic, Value, has_unique_form, rational
from r1kit.rewards.math.formula import Unreadable
from r1kit.rewards.math.notation import TEXT, plain_text
from r1kit.rewards.math.numerals import chinese_number, english_number, expand_scale
from r1kit.rewards.math.numeric import agree, free_symbols, real_number
from r1kit.rewards.math.parser import parse
from r1kit.rewards.math.sympy_client import proved_equal
from r1kit.rewards.math.units import ANGLE, RADIAN, Unit, split_unit

MAX_COMPUTATION = 80  # characters
MAX_WORDS = 300  # characters of a number in Chinese words
LARGE = 1_000  # from this size on, a power such as 2^{10} is a result
MIN_DIGITS = 4  # significant digits of a decimal that may match a value it is rounded from

_TIMES_TEN = r"(?:\*|\\times|\\cdot) ?10\^"
_NUMERAL = re.compile(rf"-?(\d*)\.?(\d*)(?:(?:[eE]|{_TIMES_TEN}(?:\{{|(?=\d$|-\d+$)))([+-]?\d+)\}}?)?")
_PLAIN = r"(?:\{[+-]?\d+\}|\{\(-?\d+\)\}|\d)"
_DECIMAL = r"-?\d*\.\d*\\(?:overline|dot)\{?\d+\}?|-?\d*\.?\d*\.\.\.|-?\(\d*\.?\d+\)"
_FRACTION = re.compile(rf"-?(?:\d+ ?)?\\frac{_PLAIN}{_PLAIN}|-?\(\\frac{_PLAIN}{_PLAIN}\)|{_DECIMAL}")
_TERM = r"(?:\d+|\(-?\d+\)|\{-?\d+\})"
_OVER = re.compile(rf"-?(?:\d+ )?-?{_TERM}/-?{_TERM}|-?\(-?\d+/\d+\)")
_POWER = re.compile(r"-?(?:10\^\{-[1-9]?\d\}|(?:[2-9]|[1-9]\d+)\^(?:[2-9]|\{[1-9]?\d\}))")
_ROOT = re.compile(r"-?(?:\\sqrt(?:\[\d\])?\{?)+(?:-?\d+|\\frac(?:\{\d+\}|\d)(?:\{\d+\}|\d))\}*")
_RATIO, _TIME = re.compile(r"(\d+(?:\.\d+)?):(\d+(?:\.\d+)?)"), re.compile(r"\d{1,2}:\d\d")
_INFINITE = re.compile(r"([+-]?)(?:inf|infinity|oo)", re.IGNORECASE)
_AMBIGUOUS_E = re.compile(r"(-?\d+)e([+-]\d+)")  # 2e+1 is 20 or a formula with e
_CAPITALS = re.compile(r"[A-Z]{2,}")
_COMMON_WORDS = frozenset("no on in is it of or so to do go up at as by we he me my us am be if an".split())
_COMPUTATION = re.compile(r"\\(?:lim|sum|prod|int|det)(?![a-z])")


def rounds_to(exact: str, decimal: str) -> bool:
    """Return whether a value rounds to a decimal of any length."""
    value, rounded = real_value(exact), real_value(decimal)
    if value is None or rounded is None:
        return False
    return abs(value - rounded) <= _half_unit(decimal) + 1e-12 * abs(value)


def is_computation(text: str) -> bool:
    r"""Return whether a left-hand side is a computation, as in \frac{6}{4} = 3/2; not in a+b = 0 or 1 = 1."""
    if _COMPUTATION.match(text):
        return True
    evaluated = is_evaluated(text) and not _POWER.fullmatch(text)
    return not evaluated and exact_value(text) is not None and not free_symbols(parse(text))


def same_value(gold: str, answer: str) -> bool:
    """Return whether two single values are equal, including units and percent signs. Raises Undecided."""
    if (same := _same_words(gold, answer)) is not None:
        return same
    quantities = split_value(gold), split_value(answer)
    if _same_quantity(*quantities):
        return True
    if (
        gold.strip(TEXT)[-1:].isalpha()
        and answer.strip(TEXT)[-1:].isalpha()
        and not (quantities[0][1] and quantities[1][1])
    ):
        glued = split_value(gold, glued=True), split_value(answer, glued=True)
        if glued[0][1] and glued[1][1] and _same_quantity(*glued):
            return True
    (wanted, unit), (given, other) = quantities
    if bool(unit) != bool(other) and re.search("[A-Za-z]", given if unit else wanted):
        return _same_formula(gold, answer)  # kA^2 is a product, not square kiloamperes
    variants = [_AMBIGUOUS_E.sub(r"\1 e\2", value) for value, _ in quantities]
    if variants == [value for value, _ in quantities]:
        return False
    return any(
        _same_quantity((left, unit), (right, other))
        for left in {wanted, variants[0]}
        for right in {given, variants[1]}
        if (left, right) != (wanted, given)
    )


def _same_words(gold: str, answer: str) -> bool | None:
    """Compare answers that are words or names, such as "no solution" or NE; None if the gold answer is neither."""
    words = gold.replace(TEXT, "")
    if not words.replace(" ", "").isalpha() or len(words) < 2 or not words.isascii():
        return None
    is_name = _CAPITALS.fullmatch(words) or (gold[0] == TEXT == gold[-1]) or words.lower() in _COMMON_WORDS
    if not is_name and not (" " in words and re.search("[A-Za-z]{3}", words)):
        return None
    if not answer.replace(TEXT, "").replace(" ", "").isalpha():
        return None
    return plain_text(words) == plain_text(answer.replace(TEXT, ""))


def _same_quantity(gold: tuple[str, Unit | None], answer: tuple[str, Unit | None]) -> bool:
    (wanted, unit), (given, other) = gold, answer
    if unit and other and unit != other:
        if {unit.dimension, other.dimension} == {ANGLE, RADIAN}:
            return _same_formula(_in_radians(wanted, unit), _in_radians(given, other))
        same_kind = unit.dimension == other.dimension and is_evaluated(given)
        return same_kind and _same_formula(f"({wanted})*{unit.factor}", f"({given})*{other.factor}")
    if (unit and given.endswith("%")) or (other and wanted.endswith("%")):
        return False
    if _is_angle(unit) != _is_angle(other) and r"\pi" in wanted + given:  # 90° and \pi/2
        return _same_formula(_in_radians(wanted, unit), _in_radians(given, other))
    if wanted == given or plain_text(wanted) == plain_text(given):
        return True
    percents = wanted.endswith("%"), given.endswith("%")
    wanted, given = wanted.rstrip("%"), given.rstrip("%")
    if rational_value(wanted) is not None and is_evaluated(wanted) and not is_evaluated(given):
        return _matches_rounded(wanted, given) or (_is_identity(given) and _same_formula(wanted, given))
    if _matches_rounded(wanted, given) or _same_formula(wanted, given):
        return True
    if percents[0] == percents[1]:
        return False
    return _same_formula(f"({wanted})/100", given) if percents[0] else _same_formula(wanted, f"({given})/100")


def is_unevaluated(gold: str, answer: str) -> bool:
    """Return whether an answer has the value of a rational gold answer, but is a computation such as 2+3."""
    if len(answer) > MAX_COMPUTATION or (wanted := rational_value(gold)) is None or is_evaluated(answer):
        return False
    given = real_value(answer)
    return given is not None and abs(given - float(wanted)) <= 1e-9 * max(1.0, abs(given))


def _is_identity(text: str) -> bool:
    """Return whether a text has variables that do not cancel by algebra alone, as in sin^2 x + cos^2 x."""
    value = exact_value(text)
    return value is not None and not has_unique_form(value) and bool(free_symbols(parse(text)))


def split_value(text: str, glued: bool = False) -> tuple[str, Unit | None]:
    """Split a single value into a formula and its unit (None if there is no known unit).

    Number words, "inf" and ratios such as 3:4 become formulas.
    """
    text, unit = split_unit(expand_scale(text), glued)
    number = chinese_number(text) if len(text) <= MAX_WORDS else None
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
    return unit is not None and unit.dimension == ANGLE


def _in_radians(text: str, unit: Unit | None) -> str:
    return f"({text})*\\pi/180" if _is_angle(unit) else text


def is_evaluated(text: str) -> bool:
    """Return whether a number is written as a result: 16, unlike 8*2 or 32/2, which may repeat the question."""
    if _ROOT.fullmatch(text):
        return True
    value = rational_value(text)
    return value is not None and bool(
        _NUMERAL.fullmatch(text)
        or _FRACTION.fullmatch(text)
        or (_POWER.fullmatch(text) and (abs(value) >= LARGE or text.lstrip("-").startswith("10^")))
        or (value.denominator > 1 and _OVER.fullmatch(text))
    )


def _matches_rounded(wanted: str, given: str) -> bool:
    """Return whether one value is a decimal with enough digits, and the other, not a decimal, rounds to it."""
    for exact, decimal in ((wanted, given), (given, wanted)):
        decimal = decimal.removesuffix("...")
        digits = _NUMERAL.fullmatch(decimal)
        precise = digits and digits[2] and len((digits[1] + digits[2]).lstrip("0")) >= MIN_DIGITS
        if precise and not _NUMERAL.fullmatch(exact) and (rational_value(exact) is None or is_evaluated(exact)):
            return rounds_to(exact, decimal)
    return False


def _half_unit(decimal: str) -> float:
    """Return half of one unit in the last place of a decimal."""
    digits = _NUMERAL.fullmatch(split_unit(decimal)[0])
    return 0.5 * 10.0 ** (min(int(digits[3] or 0), 300) - len(digits[2])) if digits else 0.0


@lru_cache(maxsize=4096)
def exact_value(text: str) -> Value | None:
    """Return the exact value of a formula; None if it is unreadable or exceeds the fuel of `exact`."""
    try:
        return Arithmetic().value(parse(text))
    except Unreadable:
        return None


def rational_value(text: str) -> Fraction | None:
    """Return the value of a formula if it is a rational number, else None."""
    value = exact_value(text)
    return rational(value) if value else None


def real_value(text: str) -> float | None:
    """Return the value of a formula without variables, with or without a unit, if it is real."""
    try:
        return real_number(parse(split_unit(text)[0]))
    except Unreadable:
        return None


_needs_proof = ContextVar("_needs_proof", default=True)


@contextmanager
def agreement_suffices() -> Iterator[None]:
    """Let formulas that agree closely in numbers be equal, without asking sympy."""
    token = _needs_proof.set(False)
    try:
        yield
    finally:
        _needs_proof.reset(token)


def _same_formula(gold: str, answer: str) -> bool:
    """Return whether two formulas have the same value; False if either is unreadable. Raises Undecided."""
    left, right = exact_value(gold), exact_value(answer)
    try:
        if left and right and (left == right or Arithmetic().equal(left, right)):
            return True
        refuted = left and right and has_unique_form(left) and has_unique_form(right)
        if refuted or not agree(parse(gold), parse(answer), closely=not _needs_proof.get()):
            return False
    except Unreadable:
        return False
    return not _needs_proof.get() or proved_equal(gold, answer)


def constant_ratio(gold: str, answer: str) -> Fraction | None:
    """Return the number k != 0 with gold = k * answer; None if there is none, or a formula has no exact value."""
    left, right = exact_value(gold), exact_value(answer)
    try:
        return Arithmetic().ratio(left, right) if left and right else None
    except Unreadable:
        return None
