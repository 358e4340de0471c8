"""Sets of real numbers as unions of intervals: conjunctions, set differences, absolute values, French brackets."""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from math import isfinite
from typing import NamedTuple

from r1kit.rewards.math.exact import rational
from r1kit.rewards.math.forms.phrases import number_set
from r1kit.rewards.math.formula import Unreadable
from r1kit.rewards.math.notation import TEXT
from r1kit.rewards.math.structure import (
    FLIPPED,
    RELATION,
    chain_to_interval,
    outer_brackets,
    simplify_condition,
    split_top_level,
)
from r1kit.rewards.math.value import exact_value, is_evaluated, rational_value, real_value

MAX_PIECES = 24
_INFINITY = float("inf")
_OR, _AND = (
    re.compile(r"∪|\\lor(?![a-z])|(?<![A-Za-z])or(?![a-z])|或"),
    re.compile(r"\\cap(?![a-z])|(?<![A-Za-z])and(?![a-z])"),
)
_COMMA = re.compile(r"[,;]")
_WITHOUT = re.compile(
    rf"\\setminus(?![a-z]) ?|\\backslash ?|-(?=\\?\{{)|{TEXT}? ?(?:except|excluding)(?: for)? ?(?:x ?= ?)?{TEXT}?"
)
_NAME = re.compile(r"[a-zA-Z]|\\[a-z]+")
_FRENCH = re.compile(r"([\[\](])([^\[\]()∪,;]+|[^\[\]∪,;]+)[,;]([^\[\]()∪,;]+|[^\[\]∪,;]+)([\[\])])")
_ABSOLUTE = re.compile(r"\|([^|]+)\|")
MARKS = re.compile(r"[<>≤≥≠∪|\[\]∈]|\\(?:setminus|cap|infty)|R")


Number = Fraction | float  # exact where possible


class Piece(NamedTuple):
    """An interval; a point if both ends are equal."""

    low: Number
    low_closed: bool
    high: Number
    high_closed: bool


Region = list[Piece]
ALL: Region = [Piece(-_INFINITY, False, _INFINITY, False)]


def french_intervals(text: str) -> str:
    """Rewrite ]0,1] as (0,1] and [0,1[ as [0,1); return any other text unchanged."""
    pieces = text.split("∪")
    rewritten = []
    for piece in pieces:
        match = _FRENCH.fullmatch(piece.strip())
        if not match or (match[1] != "]" and match[4] != "["):
            rewritten.append(piece)
            continue
        opening, closing = {"]": "("}.get(match[1], match[1]), {"[": ")"}.get(match[4], match[4])
        rewritten.append(f"{opening}{match[2].strip()},{match[3].strip()}{closing}")
    return "∪".join(rewritten)


def same_region(gold: str, answer: str) -> bool:
    """Return whether two texts describe the same set of real numbers, and one uses more than a plain list."""
    if not (MARKS.search(gold) or number_set(gold)) and not (MARKS.search(answer) or number_set(answer)):
        return False
    names = {name for text in (gold, answer) if (name := _name(text))}
    if len(names) > 1:
        return False
    wanted, given = region(gold), region(answer)
    if (
        wanted is None and given and "∪" in answer and all(piece.low == piece.high for piece in given)
    ):  # {1}∪{2} is the list 1, 2
        wanted = region(f"\\{{{gold}\\}}")
    try:
        return wanted is not None and given is not None and bool(wanted) and _close(wanted, given)
    except OverflowError:  # an end too large for a float
        return False


def _close(a: Region, b: Region) -> bool:
    def same(x: Number, y: Number) -> bool:
        exact = isinstance(x, Fraction) and isinstance(y, Fraction)
        near = isfinite(x) and isfinite(y) and abs(float(x - y)) <= 1e-11 * max(abs(float(x)), abs(float(y)))
        return x == y or (near and not exact)

    return len(a) == len(b) and all(
        same(p.low, q.low) and same(p.high, q.high) and (p[1], p[3]) == (q[1], q[3]) for p, q in zip(a, b, strict=True)
    )


def _name(text: str) -> str | None:
    """Return the variable of inequalities."""
    for part in re.split(r"[<>≤≥≠∈,;|∪()\[\]]|and|or", text):
        if re.fullmatch("[a-z]", part.strip()):
            return part.strip()
    return None


def region(text: str) -> Region | None:
    """Parse a text into disjoint intervals in order; None if it is no set with numeric ends."""
    try:
        pieces = _parse(text.strip(), 0)
    except (Unreadable, OverflowError):
        return None
    return None if pieces is None or len(pieces) > MAX_PIECES else _union(pieces)


def _parse(text: str, depth: int) -> Region | None:
    if depth > 6 or not text:
        return None
    for separator, combine in ((_OR, _or), (_AND, _and)):
        parts, _ = split_top_level(text, separator)
        if len(parts) > 1:
            return _combine(parts, combine, depth)
    parts, _ = split_top_level(text, _WITHOUT)
    if len(parts) > 1:
        return _combine(parts, lambda a, b: _and(a, _complement(b)), depth)
    parts, _ = split_top_level(text, _COMMA)
    if len(parts) > 1 and RELATION.search(text):
        return _conditions(parts, depth)
    return _single(text, depth)


def _combine(parts: list[str], combine: Callable[[Region, Region], Region], depth: int) -> Region | None:
    regions = [_parse(part, depth + 1) for part in parts]
    result = regions[0]
    for other in regions[1:]:
        if result is None or other is None:
            return None
        result = combine(result, other)
    return result


def _conditions(parts: list[str], depth: int) -> Region | None:
    """Read "0 < x < 2, x ≠ 1": exclusions intersect, other conditions unite unless that gives all numbers."""
    parts = [
        f"x≠{part}" if at and "≠" in parts[at - 1] and not RELATION.search(part) else part
        for at, part in enumerate(parts)
    ]
    regions = [_parse(part, depth + 1) for part in parts]
    if any(one is None for one in regions):
        return None
    kept = [one for one, part in zip(regions, parts, strict=True) if one is not None and "≠" not in part]
    excluded = [one for one, part in zip(regions, parts, strict=True) if one is not None and "≠" in part]
    result: Region = ALL
    if kept:
        result = _union([piece for one in kept for piece in one])
        if len(kept) > 1 and _close(result, ALL):
            result = ALL
            for one in kept:
                result = _and(result, one)
    for one in excluded:
        result = _and(result, one)
    return result


def _single(text: str, depth: int) -> Region | None:
    if named := number_set(text):
        return _parse(named, depth + 1)
    if (condition := simplify_condition(text)) != text and condition != "R":
        return _parse(condition, depth + 1)
    if condition == "R":
        return ALL
    if (member := re.fullmatch(r"[a-zA-Z]∈(.*)", text)) is not None:
        return _parse(member[1], depth + 1)
    sides, signs = split_top_level(text, RELATION)
    if len(signs) == 2:
        interval = chain_to_interval(text)
        if interval != text:
            return _single(interval, depth)
        return _combine([f"{sides[0]}{signs[0]}{sides[1]}", f"{sides[1]}{signs[1]}{sides[2]}"], _and, depth)
    if len(signs) == 1:
        return _inequality(sides[0], signs[0], sides[1])
    opening, inside, closing = outer_brackets(text)
    parts, _ = split_top_level(inside, _COMMA)
    if opening in (r"\{", "{"):
        values = [_end(part) for part in parts]
        return None if None in values else _union([Piece(v, True, v, True) for v in values if v is not None])
    if opening in ("(", "[") and len(parts) == 2:
        low, high = _end(parts[0]), _end(parts[1])
        if low is None or high is None or not low < high:
            return None
        return [Piece(low, opening == "[", high, closing == "]")]
    if opening == "(" and RELATION.search(inside):
        return _parse(inside, depth + 1)
    return None


def _inequality(left: str, sign: str, right: str) -> Region | None:
    """Solve name < c, and |a name + b| < c for one name; c may stand on the left."""
    if _end(left) is not None:
        left, right, sign = right, left, FLIPPED.get(sign, sign)
    end = _end(right)
    if end is None or sign not in "<>≤≥≠=":
        return None
    closed = sign in "≤≥"
    if _NAME.fullmatch(left) and left not in (r"\pi", "e", "i"):
        scale, offset = Fraction(1), Fraction(0)
        below = [Piece(-_INFINITY, False, end, closed)]
    elif not (absolute := _ABSOLUTE.fullmatch(left)) and (linear := _linear(left)):
        scale, offset = linear
        sign = sign if scale > 0 else FLIPPED.get(sign, sign)
        end = (end - offset) / scale
        closed = sign in "≤≥"
        below = [Piece(-_INFINITY, False, end, closed)]
        scale, offset = Fraction(1), Fraction(0)
    elif (
        (absolute := _ABSOLUTE.fullmatch(left))
        and (linear := _linear(absolute[1]))
        and end not in (_INFINITY, -_INFINITY)
    ):
        scale, offset = linear
        if end < 0 or (end == 0 and sign == "<"):
            return None
        ends = sorted(((-end - offset) / scale, (end - offset) / scale))
        below = [Piece(ends[0], closed, ends[1], closed)]
    else:
        return None
    if sign in "<≤":
        return below
    if sign in ">≥":
        strict = [Piece(p.low, p.low > -_INFINITY and not closed, p.high, not closed) for p in below]
        return _complement(strict)
    return None if sign == "=" or scale != 1 or offset else _complement([Piece(end, True, end, True)])


def _linear(text: str) -> tuple[Fraction, Fraction] | None:
    """Return (a, b) of a formula a x + b in one variable; None for any other."""
    value = exact_value(text)
    if value is None or rational(value) is not None or value.den.keys() != {()}:
        return None
    names = {name for monomial in value.num for name, _ in monomial}
    if len(names) != 1 or not next(iter(names)).isalpha() or any(len(m) == 1 and m[0][1] > 1 for m in value.num):
        return None
    size = value.den[()]
    slope = next(c for m, c in value.num.items() if m)
    return slope / size, value.num.get((), Fraction(0)) / size


def _end(text: str) -> Number | None:
    text = text.replace(" ", "")
    if text in (r"\infty", r"+\infty"):
        return _INFINITY
    if text == r"-\infty":
        return -_INFINITY
    exact = rational_value(text)
    return real_value(text) if exact is None else exact if is_evaluated(text) else None


def _or(a: Region, b: Region) -> Region:
    return _union([*a, *b])


def _union(pieces: Region) -> Region:
    merged: Region = []
    for piece in sorted(pieces, key=lambda p: (p.low, not p.low_closed)):
        last = merged[-1] if merged else None
        touches = last and (
            piece.low < last.high or (piece.low == last.high and (piece.low_closed or last.high_closed))
        )
        if last and touches:
            high = max((last.high, last.high_closed), (piece.high, piece.high_closed))
            merged[-1] = Piece(last.low, last.low_closed, *high)
        else:
            merged.append(piece)
    return merged


def _complement(pieces: Region) -> Region:
    result: Region = []
    low: Number = -_INFINITY
    closed = False
    for piece in _union(pieces):
        if low < piece.low or (low == piece.low and closed and not piece.low_closed and low > -_INFINITY):
            result.append(Piece(low, closed, piece.low, not piece.low_closed))
        low, closed = piece.high, not piece.high_closed
    if low < _INFINITY:
        result.append(Piece(low, closed, _INFINITY, False))
    return result


def _and(a: Region, b: Region) -> Region:
    return _complement(_or(_complement(a), _complement(b)))
