r"""Whether a mathematical answer equals the gold answer: exact, bounded in time, and no evaluation of the text.

An answer is normalised, taken apart (lists, sets, tuples, intervals, unions, matrices, relations), and its leaves are
compared as text, then as formulas. What cannot be decided exactly earns nothing: 0.33 is not 1/3.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from r1kit.rewards.formula import MAX_DEPTH, factor_between, formula_name, number_of, same_value
from r1kit.rewards.notation import ROW, TEXT, normalise, without_unit

LONGEST = 2_000  # characters of an answer
MOST_DIGITS = 1_000
MOST_PARTS = 64
UNORDERED = ("list", "union")

_COMMA = re.compile(r"[,;和或]|\b(?:and|or)\b")
_UNION = re.compile("∪")
_RELATION = re.compile("[=<>≤≥≠∈]")
_FLIPPED = {"<": ">", ">": "<", "≤": "≥", "≥": "≤"}
_MATRIX = re.compile(r"\\begin\{([pb]?)matrix\}(.*)\\end\{[pb]?matrix\}")
_NUMERAL = re.compile(r"-?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+|(?:\*|\\times|\\cdot) ?10\^(?:\d|\{-?\d+\}|-\d+))?")
_FRACTION = re.compile(r"-?(?:\d+ ?)?(?:-?\d+/\d+|\\frac(?:\{-?\d+\}|\d)(?:\{-?\d+\}|\d))")
# What can stand before "=" and be left out: x, a_{37}, f(x), (p,q,r), |AB|
_NAME = re.compile(r"\\?[A-Za-z]+'?(?:_\{?\w+\}?)?(?:\([A-Za-z, ]+\))?|\([A-Za-z](?:,[A-Za-z])+\)|\|[A-Z]+\|")


def equivalent(gold: str, answer: str) -> bool:
    return refute(gold, answer) is None


def refute(gold: str, answer: str) -> str | None:
    """Why `answer` does not count as `gold`; None when it does."""
    if fault := _beyond_limits(answer):
        return fault
    return None if _same(normalise(gold), normalise(answer)) else f"{answer!r} does not equal {gold!r}"


def canonical(answer: str) -> str:
    """One text for (nearly) all ways to write an answer, which is what a majority vote counts."""
    return answer.strip() if _beyond_limits(answer) else _canonical(normalise(answer))


def _beyond_limits(answer: str) -> str | None:
    if not answer.strip():
        return "the answer is empty"
    if len(answer) > LONGEST:
        return f"the answer has {len(answer)} characters, allowed are {LONGEST}"
    if re.search(rf"\d{{{MOST_DIGITS + 1}}}", answer):
        return f"the answer has a number of more than {MOST_DIGITS} digits"
    if max(_depths(answer)) > MAX_DEPTH:
        return f"the answer nests deeper than {MAX_DEPTH} brackets"
    return None


def _canonical(text: str) -> str:
    kind, parts = _structure(_named_value(_interval(text))[1])
    if kind == "leaf":
        leaf = without_unit(parts[0]).lstrip("+").rstrip("%")
        computed = number_of(leaf) is None or _worked_out(leaf)
        return (formula_name(leaf) if computed else None) or leaf.lower()
    names = [_canonical(part) for part in parts]
    return names[0] if len(names) == 1 else kind + ";".join(sorted(names) if kind in UNORDERED else names)


def _same(gold: str, answer: str) -> bool:
    if gold == answer:
        return True
    (name, value), (answer_name, answer_value) = _named_value(_interval(gold)), _named_value(_interval(answer))
    if None not in (name, answer_name) and (name == answer_name or "" in (name, answer_name)):
        gold, answer = value, answer_value
    (kind, wanted), (answer_kind, given) = _structure(gold), _structure(answer)
    if len(wanted) != len(given) or len(given) > MOST_PARTS:
        return False
    if kind == answer_kind == "leaf":
        return _same_relation(wanted[0], given[0])
    if len(wanted) == 1:  # a set of one is its member
        return _same(wanted[0], given[0])
    if kind != answer_kind:
        return False
    if kind in UNORDERED:
        return _same_members(wanted, given)
    return all(map(_same, wanted, given))


def _same_members(wanted: Sequence[str], given: Sequence[str]) -> bool:
    """Equal as collections without order."""
    left = list(given)
    for member in wanted:
        match = next((other for other in left if _same(member, other)), None)
        if match is None:
            return False
        left.remove(match)
    return True


def _same_relation(gold: str, answer: str) -> bool:
    """Equations and inequalities are the same up to a factor; single values by `_same_leaf`."""
    (wanted, signs), (given, answer_signs) = _split(gold, _RELATION), _split(answer, _RELATION)
    if len(wanted) != len(given):
        return False
    if len(wanted) == 1:
        return _same_leaf(gold, answer)
    if len(wanted) == 2:
        (difference, sign), (other, answer_sign) = _difference(wanted, signs[0]), _difference(given, answer_signs[0])
        factor = factor_between(difference, other)
        if factor is not None and sign == answer_sign and sign != "∈":
            return factor > 0 or sign in "=≠"
    return signs == answer_signs and all(map(_same, wanted, given))


def _same_leaf(gold: str, answer: str) -> bool:
    gold, answer = (without_unit(text).lstrip("+") for text in (gold, answer))
    if gold == answer or (len(gold) > 1 and gold.isalpha() and gold.lower() == answer.lower()):
        return True
    wanted, given = gold.rstrip("%"), answer.rstrip("%")
    if _worked_out(wanted) and not _worked_out(given):
        return False
    if same_value(wanted, given) or gold.endswith("%") == answer.endswith("%"):
        return same_value(wanted, given)
    return same_value(f"({wanted})/100", given) if gold.endswith("%") else same_value(wanted, f"({given})/100")


def _worked_out(text: str) -> bool:
    """Whether a number is written as a result. 8*2 or 32/2 would repeat the question where the answer is 16."""
    value = number_of(text)
    return value is not None and bool(_NUMERAL.fullmatch(text) or (value.denominator > 1 and _FRACTION.fullmatch(text)))


# --- taking answers apart -------------------------------------------------------------------------------------------


def _structure(text: str) -> tuple[str, list[str]]:
    """(kind, parts). The parts of a "list" or "union" have no order; a "leaf" has no structure."""
    pieces, _ = _split(text, _UNION)
    if len(pieces) > 1:
        return "union", pieces
    if matrix := _MATRIX.fullmatch(text):
        rows = [row.split("&") for row in matrix[2].split(ROW) if row.strip()]
        return f"matrix {[len(row) for row in rows]}", [cell.strip() for row in rows for cell in row]
    if len(pieces := _members(text)) > 1:
        return "list", pieces
    opening, inside, closing = _brackets(text)
    if opening.endswith("{"):
        return "list", _members(inside)
    pieces, _ = _split(inside, _COMMA)
    if opening and len(pieces) > 1:
        return opening + closing, pieces  # a tuple or an interval
    return _structure(inside) if opening == "(" else ("leaf", [text])


def _members(text: str) -> list[str]:
    r"""The members of a list; "a \pm b" is two."""
    pieces = [piece for piece in _split(text, _COMMA)[0] if piece.strip(TEXT)]
    return [piece.replace(r"\pm", sign) for piece in pieces for sign in ("+-" if piece.count(r"\pm") == 1 else "+")]


def _depths(text: str) -> list[int]:
    """How many brackets are open after each character."""
    depths, depth = [], 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        depths.append(depth)
    return depths


def _split(text: str, separator: re.Pattern[str]) -> tuple[list[str], list[str]]:
    """Pieces and the separators between them, cut only outside all brackets."""
    depths = _depths(text)
    cuts = [match for match in separator.finditer(text) if depths[match.start()] == 0]
    starts, ends = [0, *(cut.end() for cut in cuts)], [*(cut.start() for cut in cuts), len(text)]
    return [text[start:end].strip() for start, end in zip(starts, ends, strict=True)], [cut[0] for cut in cuts]


def _brackets(text: str) -> tuple[str, str, str]:
    """(opening, inside, closing) when one pair of brackets holds all of the text; else ("", text, "")."""
    match = re.fullmatch(r"([(\[]|\\?\{)(.*?)(\\?\}|[)\]])", text)
    if not match or 0 in _depths(text)[match.end(1) - 1 : -1]:
        return "", text, ""
    return match[1], match[2], match[3]


def _interval(text: str) -> str:
    """a < x <= b as (a,b]."""
    parts, signs = _split(text, _RELATION)
    if len(parts) != 3 or not _NAME.fullmatch(parts[1]):
        return text
    if set(signs) <= {">", "≥"}:
        parts, signs = parts[::-1], [_FLIPPED[sign] for sign in signs[::-1]]
    if not set(signs) <= {"<", "≤"}:
        return text
    return f"{'(['[signs[0] == '≤']}{parts[0]},{parts[2]}{')]'[signs[1] == '≤']}"


def _named_value(text: str) -> tuple[str | None, str]:
    """ "x = 5", "5 = x" or "x ∈ S" as (x, its value); a bare value has the name "", any other relation None."""
    parts, signs = _split(text, _RELATION)
    if not signs:
        return "", text
    if len(parts) == 2 and signs[0] in "=∈":
        left, right = (part.replace(TEXT, "") for part in parts)
        if _NAME.fullmatch(left):
            return re.sub("[{}]", "", left), parts[1]
        if signs[0] == "=" and _NAME.fullmatch(right):
            return re.sub("[{}]", "", right), parts[0]
    return None, text


def _difference(parts: Sequence[str], sign: str) -> tuple[str, str]:
    """ "a > b" as ("(b)-(a)", "<"): a formula and its relation to zero."""
    if sign in ">≥":
        parts, sign = parts[::-1], _FLIPPED[sign]
    return f"({parts[0]})-({parts[1]})", sign
