"""Labels and orders: "(1) 12; (2) 30", "B, A, C" for BAC, the point A(1,2), ratios such as 2:4:6."""

from __future__ import annotations

import re

from r1kit.rewards.math.notation import TEXT
from r1kit.rewards.math.structure import split_top_level

_LABELS = (
    re.compile(r"(?:^|(?<=[\s,;.]))(?:[Pp]art ?)?\(?([1-9]|i{1,3}|iv|v|[a-e]|[A-E])\)[ :.]*(?=\S)"),
    re.compile(r"(?<![\w(\[^_])\(([1-9]|i{1,3}|iv|v|[a-e])\)[ :]*(?=[^\s)+*/^=-])"),
    re.compile(r"([①②③④⑤]) ?"),
)
_SEQUENCES = ("123456789", "abcde", "ABCDE", "①②③④⑤")
_ROMAN = ("i", "ii", "iii", "iv", "v")
_SEPARATOR = re.compile(r"[,;]|(?<![A-Za-z])and(?![a-z])|和")
_DIRECTION = re.compile(r"(n|s)(?:orth|outh)?\.?[ -]?(e|w)(?:ast|est)?\.?")
_SHARE = re.compile(r"(\d{1,9}) ?(?:out of|in) ?(\d{1,9})(?: chance)?")
_POINT = re.compile(r"[A-Z]'?\d?(\([^()]*,[^()]*\))")
_LETTERS = re.compile(r"[A-Z]{2,8}")


def numbered_parts(text: str) -> list[str] | None:
    """Return the parts of an answer with labels in order, "(1) 12; (2) 30" as ["12", "30"]; None without labels."""
    plain = text.replace(TEXT, " ")
    for pattern in _LABELS:
        matches = list(pattern.finditer(plain))
        names = tuple(match[1] for match in matches)
        if len(names) < 2 or plain[: matches[0].start()].strip() or not _in_order(names):
            continue
        ends = [*(match.start() for match in matches[1:]), len(plain)]
        parts = [plain[match.end() : end] for match, end in zip(matches, ends, strict=True)]
        return [re.sub(r"^[\s,;:]+|(?:[\s,;.]|\band\b|和)+$", "", part) for part in parts]
    return None


def _in_order(names: tuple[str, ...]) -> bool:
    return names == _ROMAN[: len(names)] or any("".join(names) == line[: len(names)] for line in _SEQUENCES)


def plain_list(text: str) -> list[str]:
    """Split a list without brackets at commas, semicolons and "and"."""
    return [part for part in split_top_level(text, _SEPARATOR)[0] if part.strip(TEXT + " ")]


def same_order(gold: str, answer: str) -> bool:
    """Compare an order or selection of letters: BAC and "B, A, C"."""
    first, second = gold.replace(TEXT, ""), answer.replace(TEXT, "")
    if bool(_LETTERS.fullmatch(first)) == bool(_LETTERS.fullmatch(second)):
        return False
    word, listed = (first, second) if _LETTERS.fullmatch(first) else (second, first)
    parts = [part.strip("() ") for part in re.split(r"[,;>]|→|\\to ?|\band\b| ", listed)]
    letters = [part for part in parts if part]
    return len(letters) > 1 and all(len(letter) == 1 for letter in letters) and "".join(letters) == word


def same_direction(gold: str, answer: str) -> bool:
    """Compare two compass directions: NE, ne, N.E. and north-east."""
    wanted = _direction(gold)
    return wanted is not None and wanted == _direction(answer)


def _direction(text: str) -> str | None:
    """Return the two initials of a direction such as north-east; None for any other text."""
    match = _DIRECTION.fullmatch(text.replace(TEXT, "").lower())
    return f"{match[1]}{match[2]}" if match else None


def share(text: str) -> str | None:
    """Return "3 out of 4" and "3 in 4" as the fraction; None for any other text."""
    match = _SHARE.fullmatch(text.replace(TEXT, " ").strip())
    return f"\\frac{{{match[1]}}}{{{match[2]}}}" if match and int(match[1]) <= int(match[2]) else None


def without_point_label(text: str) -> str:
    """Return the coordinates of a labelled point: A(1,2) as (1,2)."""
    match = _POINT.fullmatch(text.replace(TEXT, ""))
    return match[1] if match else text


def ratio_terms(text: str) -> list[str] | None:
    """Return the terms of a ratio: 1:2:3, or "3 to 4"; else None."""
    plain = text.replace(TEXT, " ")
    terms = re.split(r" ?: ?| to ", plain.strip())
    return terms if len(terms) > 1 and all(re.fullmatch(r"[\w.\\{}^/+-]+", term) for term in terms) else None
