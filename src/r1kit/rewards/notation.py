"""One way to write each thing: final answers without delimiters, spacing, currency, units and other spellings."""

from __future__ import annotations

import re

# Private characters: the end of a matrix row, and both ends of what stood in \text{}.
ROW, TEXT = "\ue000", "\ue001"

_CHARACTERS = str.maketrans(
    {"−": "-", "–": "-", "×": "*", "⋅": "*", "·": "*", "÷": "/", "²": "^2", "³": "^3", "、": ",", "°": ""}
    | {"√": r"\sqrt ", "π": r"\pi ", "∞": r"\infty "}
    | {"€": "", "£": "", "¥": "", "￥": "", ROW: "", TEXT: ""}
    | {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}  # full width
)
_STYLES = r"\\(?:text|mbox|textbf|textit|textrm|mathrm|mathbf|mathit|operatorname)\s*"
_REWRITES = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\\\\", ROW),
        (_STYLES + r"\{\s*(?:and|or|和|或)\s*\}", ","),
        (_STYLES + r"\{([^{}]*)\}", rf"{TEXT}\1{TEXT}"),
        (r"\\(?:left|right|[bB]igg?[lrm]?|displaystyle)(?![a-zA-Z])", ""),
        (r"\\[dtc]frac(?![a-zA-Z])", r"\\frac"),
        (r"\^\s*\{?\s*\\circ\s*\}?|\\degree(?![a-zA-Z])", ""),
        (r"\\[()\[\]]|\\?\$", ""),
        (r"\{,\}|,\\!\s*", ","),
        (r"\\[,;:! ]|~|\\q?quad(?![a-zA-Z])", " "),
        (r"\\%| ?\bpercent\b", "%"),
        (r"\\cup(?![a-zA-Z])", "∪"),
        (r"\\in(?![a-zA-Z])", "∈"),
        (r"\\lt(?![a-zA-Z])", "<"),
        (r"\\gt(?![a-zA-Z])", ">"),
        (r"\\le(?:q|qslant)?(?![a-zA-Z])|<=", "≤"),
        (r"\\ge(?:q|qslant)?(?![a-zA-Z])|>=", "≥"),
        (r"\\neq?(?![a-zA-Z])|!=", "≠"),
        (r"\s+", " "),
        (r"(?<=\d) (?=\d{3}(?![\d/]))", ""),  # 12 345 678
    )
]
_THOUSANDS = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?![\d,])")
_LOOSE_SPACE = re.compile(r" (?!\w)|(?<!\w) ")  # a space only matters between two words or numbers


def normalise(text: str) -> str:
    """The answer in normal form. Units stay: they are a matter of single values (see `without_unit`)."""
    text = text.translate(_CHARACTERS)
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    if not re.search(r"[(\[]|\\\{", text):  # (1,234) is a pair
        text = _THOUSANDS.sub(lambda match: match[0].replace(",", ""), text)
    return _LOOSE_SPACE.sub("", text.strip().rstrip(" .,;:"))


_UNIT = re.compile(
    rf"(?:{TEXT}[A-Za-z./ \u4e00-\u9fff]+{TEXT}|(?<=\d) [A-Za-z]{{2}}[A-Za-z. ]*|(?<=\d) ?[\u4e00-\u9fff]+)"
    r"(?:\^\{?\d\}?)?$"
)
# Words behind a number that change it, so that they are no unit.
_NO_UNIT = re.compile(
    r"\b(?:or|and|not|to|point|plus|minus|times|over|half|squared|cubed|factorial)\b"
    r"|\b(?:dozen|hundred|thousand|[mb]illion|trillion)s?\b|[十百千万亿或和不半点又]"
)


def without_unit(text: str) -> str:
    """A single value without the words behind its number, and without the marks of other text: 15 cm^2 is 15."""
    unit = _UNIT.search(text)
    if unit and re.search(r"\d", text[: unit.start()]) and not _NO_UNIT.search(unit[0].lower()):
        text = text[: unit.start()]
    return text.replace(TEXT, "").strip()
