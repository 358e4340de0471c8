"""Taking answers apart: lists, sets, tuples, intervals, unions, matrices, and the sides of relations."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from r1kit.rewards.math.notation import ROW, TEXT

_COMMA = re.compile(r"[,;和或]|\\lor(?![a-z])|(?<![A-Za-z])(?:and|or)(?![a-z])")
_UNION = re.compile("∪")
RELATION = re.compile("[=<>≤≥≠∈≈]")
FLIPPED = {"<": ">", ">": "<", "≤": "≥", "≥": "≤"}
_MATRIX = re.compile(r"\\begin\{([pbBv]?(?:small)?matrix|array)\}(?:\{[lcr|]*\})?(.*)\\end\{\1\}")
# What can stand before "=" and be left out: x, a_{37}, f(x), (p,q,r), |AB|, \angle ABC, AB/CD, Total cost; not xy
_NAME = re.compile(
    r"(?:(?:m ?)?\\(?:angle|triangle) ?)?(?:\\[A-Za-z]+|[A-Za-z]|[A-Z]{2,4}|[A-Za-z][a-z]*[aeiou][a-z]+(?: [A-Za-z]+)*)"
    r"'*(?:_(?:\w|\{[^{}]*\}))?(?:\([A-Za-z0-9, ]+\))?"
    r"|\([A-Za-z](?:,[A-Za-z])+\)|\|[A-Z]+\||\\frac\{[A-Z]{2}\}\{[A-Z]{2}\}|[A-Z]{2}[/:][A-Z]{2}"
)


_ALL_BUT_ONE = re.compile(r"(?:[a-z]∈)?(?:R|\(-\\infty,\+?\\infty\))(?:\\setminus|\\backslash|-)\\?\{([^,]*?)\\?\}")
_REALS = re.compile("(?:x ?is ?)?(?:all|any|every) ?real(?:s| ?numbers?)(?: ?x)?")
_PLUS_MINUS = re.compile(r"\\(?:pm|mp)(?![a-z]) ?")
_SUCH_THAT = re.compile(r"\\\{\(?[A-Za-z, ]+\)?(?:∈[A-Z])?[|:](.*)\\\}")


class Shape(NamedTuple):
    """kind: "leaf", "list" (no brackets), "set", "union", "matrix [..]", or the brackets of a tuple or interval."""

    kind: str
    parts: list[str]


@lru_cache(maxsize=4096)  # a verdict asks three times for the shape of the same text
def shape(text: str) -> Shape:
    pieces, _ = split(text, _UNION)
    if len(pieces) > 1:
        return Shape("union", pieces)
    if matrix := _MATRIX.fullmatch(text):
        rows = [row.replace(r"\hline", "").split("&") for row in matrix[2].split(ROW) if row.strip()]
        kind = "determinant" if matrix[1][0] == "v" else "matrix"
        return Shape(f"{kind} {[len(row) for row in rows]}", [cell.strip() for row in rows for cell in row])
    if len(pieces := members(text)) > 1:
        return Shape("list", pieces)
    opening, inside, closing = brackets(text)
    if opening == r"\{":
        return Shape("set", members(inside))
    if opening == "{":  # in TeX plain braces only group, but plain text has sets in them
        return shape(inside)
    pieces, _ = split(inside, _COMMA)
    if opening and len(pieces) > 1:
        rows = [brackets(piece) for piece in pieces]
        if opening == "[" and all(row[0] == "[" for row in rows):  # [[1,2],[3,4]]
            cells = [split(row[1], _COMMA)[0] for row in rows]
            return Shape(f"matrix {[len(row) for row in cells]}", [cell for row in cells for cell in row])
        return Shape(opening + closing, pieces)
    return shape(inside) if opening + closing in ("()", "[]") and inside else Shape("leaf", [text])


def members(text: str) -> list[str]:
    r"""The members of a list; "a \pm b" is two."""
    pieces = [piece for piece in split(text, _COMMA)[0] if piece.strip(TEXT)]
    return [variant for piece in pieces for variant in _signs(piece)]


def _signs(piece: str) -> list[str]:
    if len(_PLUS_MINUS.findall(piece)) != 1:
        return [piece]
    return [_PLUS_MINUS.sub(sign, piece).lstrip("+") for sign in "+-"]


def depths(text: str) -> list[int]:
    """How many brackets are open after each character."""
    found, depth = [], 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        found.append(depth)
    return found


def split(text: str, separator: re.Pattern[str]) -> tuple[list[str], list[str]]:
    """Pieces and the separators between them, cut only outside all brackets."""
    if not separator.search(text):
        return [text.strip()], []
    found = depths(text)
    cuts = [match for match in separator.finditer(text) if found[match.start()] == 0]
    starts, ends = [0, *(cut.end() for cut in cuts)], [*(cut.start() for cut in cuts), len(text)]
    return [text[start:end].strip() for start, end in zip(starts, ends, strict=True)], [cut[0] for cut in cuts]


def brackets(text: str) -> tuple[str, str, str]:
    """(opening, inside, closing) when one pair of brackets holds all of the text; else ("", text, "")."""
    match = re.fullmatch(r"([(\[]|\\?\{)(.*?)(\\?\}|[)\]])", text)
    if not match or 0 in depths(text)[match.end(1) - 1 : -1]:
        return "", text, ""
    return match[1], match[2], match[3]


@lru_cache(maxsize=4096)
def named_value(text: str) -> tuple[str | None, str]:
    """ "x = 5", "5 = x", "x ∈ S" or "x = 1 or x = 2" as (x, values); a bare value has the name "", else None."""
    if len(pieces := members(text)) > 1:
        named = [named_value(piece) for piece in pieces]
        names = {name for name, _ in named}
        return (names.pop(), ",".join(value for _, value in named)) if len(names) == 1 and all(names) else ("", text)
    sides, signs = split(text, RELATION)
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
    """Without braces, and a function without its arguments: f(x) and f(n) are both f."""
    return re.sub(r"[{}\\ ]|(?<=.)\(.*\)", "", name)


def condition(text: str) -> str:
    r"""{x | x > 0} as x > 0, all real numbers as R, and R without {2} as (-∞,2)∪(2,∞)."""
    if _REALS.fullmatch(text.replace(TEXT, "")):
        return "R"
    if hole := _ALL_BUT_ONE.fullmatch(text):
        return _half_line(f"x≠{hole[1]}")
    match = _SUCH_THAT.fullmatch(text)
    return match[1] if match else text


def interval(text: str) -> str:
    """a < x <= b as (a,b]."""
    sides, signs = split(text, RELATION)
    if len(sides) != 3 or not _NAME.fullmatch(sides[1]):
        return text
    if set(signs) <= {">", "≥"}:
        sides, signs = sides[::-1], [FLIPPED[sign] for sign in signs[::-1]]
    if not set(signs) <= {"<", "≤"}:
        return text
    return f"{'(['[signs[0] == '≤']}{sides[0]},{sides[2]}{')]'[signs[1] == '≤']}"


def region(text: str) -> str:
    """Inequalities for one name as a union of intervals: "x < 1 or x >= 5" as (-∞,1)∪[5,∞)."""
    if text == "R":
        return r"(-\infty,\infty)"
    lines = [_half_line(interval(piece)) for piece in members(text)]
    return "∪".join(lines) if all(line[:1] in "([" and line[-1:] in ")]" for line in lines) else text


def _half_line(text: str) -> str:
    sides, signs = split(text, RELATION)
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
