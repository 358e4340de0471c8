"""Fixed phrases that are answers: "no solution", "infinitely many", "does not exist", and the words for number sets."""

from __future__ import annotations

import re

from r1kit.rewards.math.notation import TEXT

_NO_SOLUTION = re.compile(
    r"(?:there (?:is|are|exists?) )?(?:(?:the )?(?:equation|system|inequality|problem|it) has )?"
    r"no(?:t any)? (?:such )?(?:real )?(?:solutions?|roots?|answers?|values?)(?: exists?| in ?r| of [a-z])?"
    r"|(?:the )?(?:solution set is )?(?:the )?(?:empty|null)(?: set)?|none(?: exists?)?|[a-z]∈\\emptyset"
    r"|(?:it |the equation )?(?:has|have) no (?:real )?(?:solutions?|roots?)|\\emptyset|\{\}|no real [a-z]"
    r"|(?:there (?:is|are|exists?) )?no such \w+(?: exists?)?"
    r"|无(?:实数)?解|无(?:实)?根|没有(?:实数)?解|方程无(?:实数)?解|空集|unsolvable"
)
_INFINITE = re.compile(
    r"(?:there (?:is|are) |(?:it |the (?:equation|system) )?has )?"
    r"(?:(?:infinitely|\\infty) ?many|(?:an )?infinite number(?: of)?|infinite)"
    r"(?: (?:many )?(?:real )?(?:solutions?|answers?))?|无穷多(?:个)?(?:组)?解?|无数(?:个|组)?解?|有无穷多(?:个|组)?解?"
)
_MISSING = re.compile(
    r"(?:the )?(?:limit |it |value )?(?:does not|doesn'?t|do not|did not) exist|d\.?n\.?e|(?:极限)?不存在|nonexistent"
)
_INFINITY = re.compile(r"\+?\\infty|(?:it )?(?:diverges to )?(?:positive )?infinity|正?无穷大")
_UNDEFINED = re.compile(r"(?:it |the \w+ )?(?:is )?(?:undefined|not defined)|无意义|没有意义|无定义")
_UNKNOWN = re.compile(
    r"(?:it )?(?:(?:is )?not determinable|can(?:not|'t| not) be determined|not enough information(?: given)?"
    r"|insufficient information|(?:is )?indeterminate)|无法确定|不能确定"
)
_PHRASES = [("none", _NO_SOLUTION), ("infinite", _INFINITE), ("missing", _MISSING), ("undefined", _UNDEFINED)]
_PHRASES += [("unknown", _UNKNOWN), ("infinity", _INFINITY)]
_LETTERS = re.compile(r"[a-z\u4e00-\u9fff]{2}|d\.n|\\emptyset|\{\}", re.IGNORECASE)

_SIGNS = {"positive": "(0,\\infty)", "negative": "(-\\infty,0)"}
_SIGNS |= {"nonnegative": "[0,\\infty)", "nonpositive": "(-\\infty,0]"}
_SET_WORDS = re.compile(r"(?:the )?(?:set of )?(?:all )?(?:(non)?-?(positive|negative) )real(?:s| numbers?)")
_NONZERO = re.compile(r"(?:the )?(?:set of )?(?:all )?non-?zero real(?:s| numbers?)")
_MARKED = re.compile(
    r"R(?:\^(\*)|[_^]\{?([+-])\}?|_\{?([<>≤≥≠])=?0\}?|\^\{?\*\}?_\{?([+-])\}?|_\{?([+-])\}?\^\{?\*\}?)"
)
_MARKS = {"+": "(0,\\infty)", "-": "(-\\infty,0)", ">": "(0,\\infty)", "<": "(-\\infty,0)", "≥": "[0,\\infty)"}
_MARKS |= {"≤": "(-\\infty,0]", "≠": r"(-\infty,0)∪(0,\infty)", "*": r"(-\infty,0)∪(0,\infty)"}
_CHINESE = {"实数": "R", "正实数": "(0,\\infty)", "负实数": "(-\\infty,0)", "非负实数": "[0,\\infty)", "整数": "Z"}
_CHINESE_SETS = re.compile(rf"(?:全体|一切|所有|任意)?({'|'.join(_CHINESE)})集?")
_INTEGERS = re.compile(
    r"(?:the )?(?:set of )?(?:all )?(?:(positive|negative|nonnegative|non-negative) )?"
    r"(integers?|natural numbers?|rational numbers?|rationals|complex numbers?)"
)


def phrase_of(text: str) -> str | None:
    """Return the meaning of a fixed phrase, or None for any other text."""
    words = re.sub(r"\s+", " ", text.replace(TEXT, " ")).strip(" .").lower().replace("\\{\\}", "{}")
    if not _LETTERS.search(words) or len(words) > 60:
        return None
    return next((meaning for meaning, pattern in _PHRASES if pattern.fullmatch(words)), None)


def number_set(text: str) -> str | None:
    r"""Return the interval or symbol for a set of numbers: \mathbb{R}^+ and "positive real numbers" as (0,∞)."""
    text = re.sub(r"^[a-zA-Z]∈", "", text.replace(TEXT, "").strip())
    if text in ("R^", "R^*", "R^{*}"):  # a trailing * is removed as markup
        return _MARKS["≠"]
    if text[:1] == "R" and (marked := _MARKED.fullmatch(text)):
        return _MARKS[next(filter(None, marked.groups()))]
    if text in ("Z", "N", "Q"):
        return text
    if chinese := _CHINESE_SETS.fullmatch(text):
        return next(value for name, value in _CHINESE.items() if name == chinese[1])
    words = text.lower()
    if match := _SET_WORDS.fullmatch(words):
        return _SIGNS[("non" if match[1] else "") + match[2]]
    if _NONZERO.fullmatch(words):
        return _MARKS["≠"]
    if match := _INTEGERS.fullmatch(words):
        letter = {"i": "Z", "n": "N", "r": "Q", "c": "C"}[match[2][0]]
        sign = {"positive": "^+", "negative": "^-", "nonnegative": "_≥", "non-negative": "_≥", None: ""}[match[1]]
        return letter + sign
    integers = re.fullmatch(r"([ZN])(\^|\^\{?\*\}?|[_^]\{?\+\}?|_\{?>0\}?|_\{?≥1\}?)", text)
    if integers:
        return "Z^+"
    return "Z_≥" if re.fullmatch(r"Z_\{?≥0\}?|N_\{?0\}?", text) else None
