"""Parse the structure of an answer: lists, sets, tuples, intervals, unions, matrices and sides of relations."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from r1kit.rewards.math.notation import ROW, TEXT

_SEPARATOR = re.compile(r"[,;和或]|\\lor(?![a-z])|(?<![A-Za-z])(?:and|or)(?![a-z])")
CONJUNCTION, DISJUNCTION = (
    re.compile(r"(?<![A-Za-z])and(?![a-z])"),
    re.compile(r"\\lor(?![a-z])|(?<![A-Za-z])or(?![a-z])|或"),
)
_UNION = re.compile("∪")
RELATION = re.compile("[=<>≤≥≠∈≈]")
FLIPPED = {"<": ">", ">": "<", "≤": "≥", "≥": "≤"}
UNORDERED = ("list", "set", "union", "cases")  # kinds that compare without order

_MATRIX = re.compile(r"\\begin\{([pbBv]?(?:small)?matrix|array)\}(?:\{[lcr|]*\})?(.*)\\end\{\1\}")
# Names before "=" that an answer may omit: x, a_{37}, f(x), (p,q,r), |AB|, \angle ABC, AB/CD, Total cost; not xy
_NAME = re.compile(
    r"(?:(?:m ?)?\\(?:angle|triangle) ?)?"
    r"(?:\\[A-Za-z]+|[A-Za-z]|[A-Z]{2,4}|[A-Za-z](?=[a-z]*[aeiou][a-z])[a-z]{2,}(?: [A-Za-z]+)*)"
    r"'*(?:_(?:\w|\{[^{}]*\}))?(?:\^\{-1\})?(?:\([A-Za-z0-9, ]+\))?"
    r"|\([A-Za-z](?:,[A-Za-z])+\)|\|[A-Z]+\||\\frac\{[A-Z]{2}\}\{[A-Z]{2}\}|[A-Z]{2}[/:][A-Z]{2}"
)
_TRANSPOSED = re.compile(rf"([(\[\\].*[)\]}}])\^\{{?{TEXT}?(?:T|\\top|\\intercal|t){TEXT}?\}}?")
_CASES = re.compile(r"\\cases\{(.*)\}")
_CONDITION_WORDS = re.compile(rf"{TEXT}|(?<![A-Za-z])(?:if|when|for|is|where)(?![A-Za-z])|[ .]")
_ALL_BUT_ONE = re.compile(r"(?:[a-z]∈)?(?:R|\(-\\infty,\+?\\infty\))(?:\\setminus|\\backslash|-)\\?\{([^,]*?)\\?\}")
_REALS = re.compile(
    "(?:x ?is ?)?(?:the )?(?:set of )?(?:all|any|every) ?(?:the )?real(?:s| ?numbers?)(?: ?x)?", re.IGNORECASE
)
_PLUS_MINUS = re.compile(r"\\(?:pm|mp)(?![a-z]) ?")
_SUCH_THAT = re.compile(r"\\\{\(?[A-Za-z, ]+\)?(?:∈[A-Z])?[|:](.*)\\\}")


class Structure(NamedTuple):
    """The outermost structure of an answer and the texts of its parts."""

    kind: str  # "value", "list" (no brackets), "set", "union", "matrix [..]", or the brackets of a tuple or interval
    parts: list[str]


@lru_cache(maxsize=4096)  # one verdict needs the structure of the same text three times
def structure_of(text: str) -> Structure:
    """Parse the outermost structure of a normalised answer."""
    pieces, _ = split_top_level(text, _UNION)
    if len(pieces) > 1:
        return Structure("union", pieces)
    if transposed := _TRANSPOSED.fullmatch(text):
        row = structure_of(transposed[1])
        if row.kind in ("()", "[]", "list", f"matrix {[len(row.parts)]}"):
            return Structure("()", row.parts)
    if cases := _CASES.fullmatch(text):
        rows = [row.split("&") for row in cases[1].split(ROW) if row.strip()]
        if all(len(row) == 2 for row in rows):
            return Structure("cases", [f"({_value_case(*row)})" for row in rows])
    if matrix := _MATRIX.fullmatch(text):
        rows = [row.replace(r"\hline", "").split("&") for row in matrix[2].split(ROW) if row.strip()]
        kind = "determinant" if matrix[1][0] == "v" else "matrix"
        return Structure(f"{kind} {[len(row) for row in rows]}", [cell.strip() for row in rows for cell in row])
    if len(pieces := members(text)) > 1:
        return Structure("list", pieces)
    opening, inside, closing = outer_brackets(text)
    if opening == r"\{":
        return Structure("set", members(inside))
    if opening == "{":  # TeX only groups with plain braces; plain text writes sets with them
        return structure_of(inside)
    pieces, _ = split_top_level(inside, _SEPARATOR)
    if opening and len(pieces) > 1:
        rows = [outer_brackets(piece) for piece in pieces]
        if opening == "[" and all(row[0] == "[" for row in rows):  # [[1,2],[3,4]]
            cells = [split_top_level(row[1], _SEPARATOR)[0] for row in rows]
            return Structure(f"matrix {[len(row) for row in cells]}", [cell for row in cells for cell in row])
        return Structure(opening + closing, pieces)
    return structure_of(inside) if opening + closing in ("()", "[]") and inside else Structure("value", [text])


def _value_case(value: str, condition: str) -> str:
    """Return "value;condition" without the words around the condition: "x, & if n is even" as "x;neven"."""
    return f"{value.strip(' ,')};{_CONDITION_WORDS.sub('', condition).strip(',')}"


def members(text: str) -> list[str]:
    r"""Split a list into its members; "a \pm b" gives two."""
    pieces = [piece for piece in split_top_level(text, _SEPARATOR)[0] if piece.strip(TEXT)]
    return [variant for piece in pieces for variant in _plus_minus_variants(piece)]


def _plus_minus_variants(piece: str) -> list[str]:
    if len(_PLUS_MINUS.findall(piece)) != 1:
        return [piece]
    return [_PLUS_MINUS.sub(sign, piece).lstrip("+") for sign in "+-"]


def bracket_depths(text: str) -> list[int]:
    """Return the number of open brackets after each character."""
    depths, depth = [], 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        depths.append(depth)
    return depths


def split_top_level(text: str, separator: re.Pattern[str]) -> tuple[list[str], list[str]]:
    """Split outside all brackets; return the pieces and the separators between them."""
    if not separator.search(text):
        return [text.strip()], []
    depths = bracket_depths(text)
    cuts = [match for match in separator.finditer(text) if depths[match.start()] == 0]
    starts, ends = [0, *(cut.end() for cut in cuts)], [*(cut.start() for cut in cuts), len(text)]
    return [text[start:end].strip() for start, end in zip(starts, ends, strict=True)], [cut[0] for cut in cuts]


def outer_brackets(text: str) -> tuple[str, str, str]:
    """Return (opening, inside, closing) if one pair of brackets encloses the text; else ("", text, "")."""
    match = re.fullmatch(r"([(\[]|\\?\{)(.*?)(\\?\}|[)\]])", text)
    if not match or 0 in bracket_depths(text)[match.end(1) - 1 : -1]:
        return "", text, ""
    return match[1], match[2], match[3]


@lru_cache(maxsize=4096)
def named_value(text: str) -> tuple[str | None, str]:
    """Split "x = 5", "5 = x", "x ∈ S" or "x = 1 or x = 2" into (name, values).

    The name is "" for a bare value, and None for any other relation.
    """
    if len(pieces := members(text)) > 1:
        named = [named_value(piece) for piece in pieces]
        names = {name for name, _ in named}
        return (names.pop(), ",".join(value for _, value in named)) if len(names) == 1 and all(names) else ("", text)
    sides, signs = split_top_level(text, RELATION)
    if not signs:
        return "", text
    if len(sides) == 2 and signs[0] in "=∈≈":
        left, right = (side.replace(TEXT, "") for side in sides)
        if _NAME.fullmatch(left):
            return _bare_name(left), sides[1]
        if signs[0] == "=" and _NAME.fullmatch(right):
            return _bare_name(right), sides[0]
    return None, text


def _bare_name(name: str) -> str:
    """Remove braces and the arguments of a function: f(x) and f(n) are both f."""
    return re.sub(r"[{}\\ ]|(?<=.)\(.*\)", "", name)


def simplify_condition(text: str) -> str:
    """Rewrite {x | x > 0} as x > 0, "all real numbers" as R, and R without {2} as (-∞,2)∪(2,∞)."""
    if _REALS.fullmatch(text.replace(TEXT, "")):
        return "R"
    if excluded := _ALL_BUT_ONE.fullmatch(text):
        return _half_line(f"x≠{excluded[1]}")
    match = _SUCH_THAT.fullmatch(text)
    return match[1] if match else text


def chain_to_interval(text: str) -> str:
    """Rewrite a < x <= b as (a,b]; return any other text unchanged."""
    sides, signs = split_top_level(text, RELATION)
    if len(sides) != 3 or not _NAME.fullmatch(sides[1]):
        return text
    if set(signs) <= {">", "≥"}:
        sides, signs = sides[::-1], [FLIPPED[sign] for sign in signs[::-1]]
    if not set(signs) <= {"<", "≤"}:
        return text
    return f"{'(['[signs[0] == '≤']}{sides[0]},{sides[2]}{')]'[signs[1] == '≤']}"


def as_union(text: str) -> str:
    """Rewrite inequalities for one name as a union of intervals: "x < 1 or x >= 5" as (-∞,1)∪[5,∞)."""
    if text == "R":
        return r"(-\infty,\infty)"
    if CONJUNCTION.search(text):  # an intersection
        return text
    lines = [_half_line(chain_to_interval(piece)) for piece in members(text)]
    return "∪".join(lines) if all(line[:1] in "([" and line[-1:] in ")]" for line in lines) else text


def _half_line(text: str) -> str:
    """Rewrite one inequality for a name as an interval: x >= 5 as [5,∞)."""
    sides, signs = split_top_level(text, RELATION)
    if len(sides) != 2 or signs[0] not in "<>≤≥≠":
        return text
    if not _NAME.fullmatch(sides[0]):
        sides, signs = sides[::-1], [FLIPPED.get(signs[0], signs[0])]
    if not _NAME.fullmatch(sides[0]):
        return text
    end = sides[1]
    return {
        "<": rf"(-\infty,{end})",
        "≤": rf"(-\infty,{end}]",
        ">": rf"({end},\infty)",
        "≥": rf"[{end},\infty)",
        "≠": rf"(-\infty,{end})∪({end},\infty)",
    }[signs[0]]
