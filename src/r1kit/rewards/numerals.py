"""Numbers in Chinese words: 二十五, 三分之一, 百分之五十, 3万5千."""

from __future__ import annotations

import re
from fractions import Fraction

_DIGITS = {character: value for value, character in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2}
_SMALL, _LARGE = {"十": 10, "百": 100, "千": 1_000}, {"万": 10**4, "亿": 10**8}
_WHOLE = "[零〇一二两三四五六七八九十百千万亿]+"
_NUMBER = re.compile(
    rf"(?P<minus>负)?(?:(?P<under>{_WHOLE}|百)分之(?P<over>{_WHOLE}|\d+)|(?P<whole>{_WHOLE})(?:点(?P<decimals>[零〇一二两三四五六七八九]+))?"
    rf"|(?P<digits>\d+(?:\.\d+)?)(?P<scale>[十百千万亿]+)(?P<rest>(?:\d+[百千万]?)*))(?P<half>半)?"
)


def chinese_number(text: str) -> tuple[Fraction, str] | None:
    """The number a text begins with, when it is written with Chinese number words, and what follows it."""
    match = _NUMBER.match(text)
    if not match:
        return None
    try:
        value = _value(match)
    except (KeyError, ValueError, ZeroDivisionError):
        return None
    if match["half"]:
        return None  # 三个半 and 十点半 are not worth the doubt
    return -value if match["minus"] else value, text[match.end() :]


def _value(match: re.Match[str]) -> Fraction:
    if match["under"]:
        over = int(match["over"]) if match["over"].isdecimal() else _whole(match["over"])
        return Fraction(over, 100 if match["under"] == "百" else _whole(match["under"]))
    if match["whole"]:
        decimals = "".join(str(_DIGITS[digit]) for digit in match["decimals"] or "零")
        return _whole(match["whole"]) + Fraction(int(decimals), 10 ** len(decimals))
    value = Fraction(match["digits"])
    for unit in match["scale"]:
        value *= (_SMALL | _LARGE)[unit]
    for digits, unit in re.findall(r"(\d+)([百千万]?)", match["rest"]):
        value += int(digits) * (_SMALL | _LARGE | {"": 1})[unit]
    return value


def _whole(text: str) -> int:
    if len(text) > 1 and all(character in _DIGITS for character in text):  # 二〇二四: digit by digit
        return int("".join(str(_DIGITS[character]) for character in text))
    total = section = digit = 0
    for character in text:
        if character in _DIGITS:
            digit = _DIGITS[character]
        elif character in _SMALL:
            section += (digit or 1) * _SMALL[character]
            digit = 0
        else:
            total = (total + section + digit) * _LARGE[character]
            section = digit = 0
    return total + section + digit
