r"""Where plain prose states its answer: for texts that no format was asked of, as in grading a file of answers.

Training never reads prose this way (see `extract`): there a response commits to one answer in the form asked for.
"""

from __future__ import annotations

import re

from r1kit.rewards.extract import find_answers

LONGEST = 4_000  # characters at the end of a text that are searched
_BROKEN_BOX = re.compile(r"(?<![A-Za-z])\\?[A-Za-z]{0,20}boxed\s*\{")
_FORMULA = re.compile(
    r"(?<!\\)\$\$(.+?)(?<!\\)\$\$|(?<![\\$])\$([^$]*?(?:\\\$[^$]*?)*)(?<!\\)\$(?!\d)|\\\((.+?)\\\)|\\\[(.+?)\\\]",
    re.DOTALL,
)
_LETTER = re.compile(r"(?<![A-Za-z'])([A-J])(?![A-Za-z'])")
_CHOSEN = re.compile(r"\b(?:correct|right|best) (?:option|choice|one) is:? *\(?([A-J])(?![A-Za-z'])", re.IGNORECASE)
_DENIED = re.compile(r"[,;，；]? *(?:\b(?:and )?not\b|\brather than\b|\binstead of\b|而?不是|而非)")
_JOINT = re.compile(r" ?(?:[,;，；、]|[,，]? ?(?:\b(?:or|and)\b|或者?|和)) ?| ")  # between candidates that are listed
_NUMBER = re.compile(r"(?<![A-Za-z0-9_.])-?[$€£¥]?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?(?:/\d+)?(?:\\?%)?")


def committed(text: str) -> list[str] | None:
    """The answers of a text that marks them with boxes, answer tags or ####; None when it marks none."""
    text = _BROKEN_BOX.sub(lambda match: r"\boxed{", text)
    return find_answers(text) if re.search(r"\\boxed|\\fbox|<answer>|####", text) else None


def statements(text: str, choice: bool) -> list[str]:
    """What may be the answer of a text: what follows its last "the answer is", and the last formula or number there.

    choice: a letter is sought.
    """
    stated = find_answers(text)
    place = (stated[-1] if stated else text)[-LONGEST:]
    if choice:
        value = _letter(place, first=bool(stated))
    else:
        value = _last_value(_DENIED.split(place)[0] if stated else place) or _last_value(place)
    return [*stated[-1:], *([value] if value else [])]


def _letter(place: str, first: bool) -> str | None:
    if chosen := _CHOSEN.findall(place):
        return chosen[-1]
    found = [*_LETTER.finditer(place)]
    begins = re.match(r"\(?[A-J](?:[).:,]|$)", place.strip())
    if not found:
        return None
    at = 0 if first or begins else len(found) - 1
    beside = found[at - 1 : at + 1] if at else found[:2]
    if len(beside) == 2 and _JOINT.fullmatch(place[beside[0].end() : beside[1].start()].strip("() ") or "x"):
        return place[beside[0].start() : beside[1].end()]  # "C or D" chooses neither
    return found[at][0]


def _last_value(place: str) -> str | None:
    found = [*_FORMULA.finditer(place), *_NUMBER.finditer(place)]
    if not found:
        return None
    last = max(found, key=lambda match: (match.end(), -match.start()))
    before = sorted((match for match in found if match.end() <= last.start()), key=lambda match: match.end())
    start = last.start()
    while before and _JOINT.fullmatch(place[before[-1].end() : start]):  # a list is an answer only as a list
        start = before.pop().start()
    return place[start : last.end()] if start < last.start() else _result(next(filter(None, last.groups()), last[0]))


def _result(formula: str) -> str:
    """The end of a chain of equalities, which in prose is a derivation: x = 5+5+1 = 11 is x = 11."""
    exact = re.split(r"\\approx(?![a-z])|≈", formula)[0] if "=" in formula else formula
    sides = re.split(r"(?<![<>!\\])=", exact)
    numbers = not re.search(r"(?<![A-Za-z\\])[A-Za-z]", sides[0]) and not sides[0].strip(" $").isdecimal()
    return sides[-1] if len(sides) > 1 and numbers else f"{sides[0]}={sides[-1]}" if len(sides) > 2 else formula
