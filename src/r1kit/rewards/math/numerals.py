"""Parse numbers in Chinese and English words: 二十五, 三分之一, 百分之五十, 3万5千; forty-two, 5 million."""

from __future__ import annotations

import re
from fractions import Fraction

from r1kit.rewards.math.notation import TEXT

_DIGITS = {character: value for value, character in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2}
_SMALL, _LARGE = {"十": 10, "百": 100, "千": 1_000}, {"万": 10**4, "亿": 10**8}
_INTEGER = "[零〇一二两三四五六七八九十百千万亿]+"
_NUMBER = re.compile(
    rf"(?P<minus>负)?(?:(?P<denominator>{_INTEGER}|百)分之(?P<numerator>{_INTEGER}|\d+)"
    rf"|(?P<integer>{_INTEGER})(?:点(?P<decimals>[零〇一二两三四五六七八九]+))?"
    rf"|(?P<digits>\d+(?:\.\d+)?)(?P<scale>[十百千万亿]+)(?P<rest>(?:\d+[百千万]?)*))(?P<half>半)?"
)


def chinese_number(text: str) -> tuple[Fraction, str] | None:
    """Parse Chinese number words at the start of a text; return the number and the rest of the text."""
    match = _NUMBER.match(text)
    if not match:
        return None
    try:
        value = _value(match)
    except (KeyError, ValueError, ZeroDivisionError):
        return None
    if match["half"]:
        return None  # 三个半 and 十点半 are ambiguous
    return -value if match["minus"] else value, text[match.end() :]


_UNITS = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
seventeen eighteen nineteen""".split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_ENGLISH = {word: value for value, word in enumerate(_UNITS)} | {word: 20 + 10 * i for i, word in enumerate(_TENS)}
_SCALES = {"hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_ORDINALS = "third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth".split()
_PARTS = {word: value for value, word in enumerate(_ORDINALS, 3)} | {"half": 2, "halve": 2, "quarter": 4}
_PARTS |= {"twentieth": 20, "hundredth": 100, "thousandth": 1000}
_FRACTION = re.compile(rf"(?:(.+?) and )?([a-z-]+?)[ -]({'|'.join(_PARTS)})s?")
_SCALED = re.compile(rf"(-?[¤¥€£]?-?)(\d+(?:\.\d+)?) ?{TEXT}? ?({'|'.join(_SCALES)})(?![A-Za-z])", re.IGNORECASE)


def expand_scale(text: str) -> str:
    """Rewrite "5.2 million a year" as "5200000 a year"; return any other text unchanged."""
    if not (match := _SCALED.match(text)):
        return text
    value = Fraction(match[2]) * _SCALES[match[3].lower()]
    return f"{match[1]}{value}{text[match.end() :].replace(TEXT, '')}" if value.denominator == 1 else text


def english_number(text: str) -> Fraction | None:
    """Parse a text that consists of English number words, such as "forty-two"; else None."""
    if not text[:1].isalpha() or len(text) > 200:
        return None
    if fraction := _FRACTION.fullmatch(text.lower()):
        whole = english_number(fraction[1]) if fraction[1] else 0
        count = 1 if fraction[2] in ("a", "an") else english_number(fraction[2])
        return None if whole is None or count is None else whole + count / Fraction(_PARTS[fraction[3]])
    words = [word for word in re.split("[ -]", text.lower()) if word != "and"]
    if words and words[0] in ("minus", "negative"):
        value = english_number(" ".join(words[1:]))
        return None if value is None else -value
    if not words or len(words) > 12 or not all(word in _ENGLISH or word in _SCALES for word in words):
        return None
    total = section = 0
    limit = 10**15  # the next word must be smaller
    for word in words:
        if word in _ENGLISH:
            if _ENGLISH[word] >= limit or (limit == 10 and not _ENGLISH[word]):
                return None  # "five six"
            section += _ENGLISH[word]
            limit = 10 if _ENGLISH[word] >= 20 else 0
        elif not section:
            return None
        elif word == "hundred":
            section, limit = section * 100, 100
        else:
            total, section, limit = total + section * _SCALES[word], 0, 10**15
    return Fraction(total + section)


def _value(match: re.Match[str]) -> Fraction:
    if match["denominator"]:
        numerator = int(match["numerator"]) if match["numerator"].isdecimal() else _integer(match["numerator"])
        return Fraction(numerator, 100 if match["denominator"] == "百" else _integer(match["denominator"]))
    if match["integer"]:
        decimals = "".join(str(_DIGITS[digit]) for digit in match["decimals"] or "零")
        return _integer(match["integer"]) + Fraction(int(decimals), 10 ** len(decimals))
    value = Fraction(match["digits"])
    for unit in match["scale"]:
        value *= (_SMALL | _LARGE)[unit]
    for digits, unit in re.findall(r"(\d+)([百千万]?)", match["rest"]):
        value += int(digits) * (_SMALL | _LARGE | {"": 1})[unit]
    return value


def _integer(text: str) -> int:
    if len(text) > 1 and all(character in _DIGITS for character in text):  # digit by digit: 二〇二四
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
