"""Find the answer in plain prose, for texts without a required format, as `r1kit grade` reads.

Training never reads prose this way: there a response must state its answer in the required form (see `extract`).
"""

from __future__ import annotations

import re

from r1kit.rewards.extract import find_answers

SEARCHED = 4_000  # characters at the end of a text
_BROKEN_BOX = re.compile(r"(?<![A-Za-z])\\?[A-Za-z]{0,20}boxed\s*\{")
_FORMULA = re.compile(
    r"(?<!\\)\$\$(.+?)(?<!\\)\$\$|(?<![\\$])\$([^$]*?(?:\\\$[^$]*?)*)(?<!\\)\$(?!\d)|\\\((.+?)\\\)|\\\[(.+?)\\\]",
    re.DOTALL,
)
_LETTER = re.compile(r"(?<![A-Za-z'])([A-J])(?![A-Za-z'])")
_STATED_CHOICE = re.compile(
    r"\b(?:correct|right|best) (?:option|choice|one) is:? *\(?([A-J])(?![A-Za-z'])", re.IGNORECASE
)
_NEGATION = re.compile(r"[,;，；]? *(?:\b(?:and )?not\b|\brather than\b|\binstead of\b|而?不是|而非)")
_LIST_SEPARATOR = re.compile(r" ?(?:[,;，；、]|[,，]? ?(?:\b(?:or|and)\b|或者?|和)) ?| ")
_NUMBER = re.compile(r"(?<![A-Za-z0-9_.])-?[$€£¥]?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?(?:/\d+)?(?:\\?%)?")


def marked_answers(text: str) -> list[str] | None:
    """Return the answers in boxes, in answer tags or after ####; None if the text has no such mark."""
    text = _BROKEN_BOX.sub(lambda _: r"\boxed{", text)
    return find_answers(text) if re.search(r"\\boxed|\\fbox|<answer>|####", text) else None


def candidate_answers(text: str, choice: bool) -> list[str]:
    """Return what follows the last "the answer is", and the last formula or number there.

    choice: the gold answer is a letter, so look for a letter instead of a number.
    """
    stated = find_answers(text)
    place = (stated[-1] if stated else text)[-SEARCHED:]
    if choice:
        value = _letter(place, first=bool(stated))
    else:
        value = _last_value(_NEGATION.split(place)[0] if stated else place) or _last_value(place)
    return [*stated[-1:], *([value] if value else [])]


def _letter(place: str, first: bool) -> str | None:
    """Return the chosen letter: the first one after "the answer is" or at the start of the text, else the last one.

    A list such as "C or D" is returned as such, and chooses neither.
    """
    if stated := _STATED_CHOICE.findall(place):
        return str(stated[-1])
    letters = [*_LETTER.finditer(place)]
    if not letters:
        return None
    starts_with_letter = re.match(r"\(?[A-J](?:[).:,]|$)", place.strip())
    at = 0 if first or starts_with_letter else len(letters) - 1
    pair = letters[at - 1 : at + 1] if at else letters[:2]
    if len(pair) == 2 and _LIST_SEPARATOR.fullmatch(place[pair[0].end() : pair[1].start()].strip("() ") or "x"):
        return place[pair[0].start() : pair[1].end()]
    return letters[at][0]


def _last_value(place: str) -> str | None:
    """Return the last formula or number, or the list that ends with it."""
    values = [*_FORMULA.finditer(place), *_NUMBER.finditer(place)]
    if not values:
        return None
    last = max(values, key=lambda match: (match.end(), -match.start()))
    before = sorted((match for match in values if match.end() <= last.start()), key=lambda match: match.end())
    start = last.start()
    while before and _LIST_SEPARATOR.fullmatch(place[before[-1].end() : start]):
        start = before.pop().start()
    return place[start : last.end()] if start < last.start() else _result(next(filter(None, last.groups()), last[0]))


def _result(formula: str) -> str:
    """Reduce a derivation to its result: x = 5+5+1 = 11 to x = 11."""
    exact = re.split(r"\\approx(?![a-z])|≈", formula)[0] if "=" in formula else formula
    sides = re.split(r"(?<![<>!\\])=", exact)
    starts_with_numbers = not re.search(r"(?<![A-Za-z\\])[A-Za-z]", sides[0]) and not sides[0].strip(" $").isdecimal()
    if len(sides) > 1 and starts_with_numbers:
        return sides[-1]
    return f"{sides[0]}={sides[-1]}" if len(sides) > 2 else formula
