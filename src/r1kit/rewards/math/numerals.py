"""Numbers in words: 二十五, 三分之一, 百分之五十, 3万5千; forty-two, 5 million."""

from __future__ import annotations

import re
from fractions import Fraction

from r1kit.rewards.math.notation import TEXT

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


_UNITS = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
seventeen eighteen nineteen""".split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_ENGLISH = {word: value for value, word in enumerate(_UNITS)} | {word: 20 + 10 * i for i, word in enumerate(_TENS)}
_SCALES = {"hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_SCALED = re.compile(rf"(-?[¤¥€£]?-?)(\d+(?:\.\d+)?) ?{TEXT}? ?({'|'.join(_SCALES)})(?![A-Za-z])", re.IGNORECASE)


def scaled(text: str) -> str:
    """ "$5.2 million a year" as "$5200000 a year"; other text as it is."""
    if not (match := _SCALED.match(text)):
        return text
    value = Fraction(match[2]) * _SCALES[match[3].lower()]
    return f"{match[1]}{value}{text[match.end() :].replace(TEXT, '')}" if value.denominator == 1 else text


def english_number(text: str) -> Fraction | None:
    """The number that a text is, when that is written in English number words: "forty-two"."""
    words = [word for word in re.split("[ -]", text.lower()) if word != "and"]
    if not words or len(words) > 12 or not all(word in _ENGLISH or word in _SCALES for word in words):
        return None
    total = section = 0
    last = 10**15  # of the number so far, what another word must stay below
    for word in words:
        if word in _ENGLISH:
            if _ENGLISH[word] >= last or (last == 10 and not _ENGLISH[word]):
                return None  # "five six" is no number
            section += _ENGLISH[word]
            last = 10 if _ENGLISH[word] >= 20 else 0
        elif not section:
            return None
        elif word == "hundred":
            section, last = section * 100, 100
        else:
            total, section, last = total + section * _SCALES[word], 0, 10**15
    return Fraction(total + section)


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
