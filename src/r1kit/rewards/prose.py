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
_NUMBER = re.compile(r"(?<![\w.])-?[$€£¥]?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?(?:/\d+)?(?:\\?%)?")


def committed(text: str) -> list[str] | None:
    """The answers of a text that marks them with boxes, answer tags or ####; None when it marks none."""
    text = _BROKEN_BOX.sub(lambda match: r"\boxed{", text)
    return find_answers(text) if re.search(r"\\boxed|\\fbox|<answer>|####", text) else None


def last_statement(text: str, choice: bool) -> str | None:
    """The last formula or number of a text, after its last "the answer is". choice: a letter is sought."""
    stated = find_answers(text)
    place = (stated[-1] if stated else text)[-LONGEST:]
    return _letter(place, first=bool(stated)) if choice else _last_value(place)


def _letter(place: str, first: bool) -> str | None:
    letters = _LETTER.findall(place)
    begins = re.match(r"\(?[A-J](?:[).:,]|$)", place.strip())
    return letters[0 if first or begins else -1] if letters else None


def _last_value(place: str) -> str | None:
    found = [*_FORMULA.finditer(place), *_NUMBER.finditer(place)]
    if not found:
        return None
    last = max(found, key=lambda match: (match.end(), -match.start()))
    return _result(next(filter(None, last.groups()), last[0]))


def _result(formula: str) -> str:
    """The end of a chain of equalities, which in prose is a derivation: x = 5+5+1 = 11 is x = 11."""
    exact = re.split(r"\\approx(?![a-z])|≈", formula)[0] if "=" in formula else formula
    sides = re.split(r"(?<![<>!\\])=", exact)
    numbers = not re.search(r"(?<![A-Za-z\\])[A-Za-z]", sides[0]) and not sides[0].strip(" $").isdecimal()
    return sides[-1] if len(sides) > 1 and numbers else f"{sides[0]}={sides[-1]}" if len(sides) > 2 else formula
