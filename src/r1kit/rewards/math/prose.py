"""Find the answer in plain prose, for texts without a required format, as `r1kit grade` reads.

Training never reads prose this way: there a response must state its answer in the required form (see `extract`).
"""

from __future__ import annotations

import re

from r1kit.rewards.extract import find_answers
from r1kit.rewards.math.forms.expressions import Span, denied, expressions, is_bounded, is_denial, same_sentence
from r1kit.rewards.math.forms.words import alters
from r1kit.rewards.math.numerals import english_number

SEARCHED = 4_000  # characters at the end of a text
MAX_SENTENCE = 200  # characters of a sentence that states an answer in words
MAX_NOUN = 8  # words of a number and what it counts
_BROKEN_BOX = re.compile(r"(?<![A-Za-z])\\?[A-Za-z]{0,20}boxed\s*\{")
_FORMULA = re.compile(
    r"(?<!\\)\$\$(.+?)(?<!\\)\$\$|(?<![\\$])\$([^$]*?(?:\\\$[^$]*?)*)(?<!\\)\$(?!\d)|\\\((.+?)\\\)|\\\[(.+?)\\\]",
    re.DOTALL,
)
_LETTER = re.compile(r"(?<![A-Za-z'])([A-J])(?![A-Za-z'])")
_STATED_CHOICE = re.compile(
    r"\b(?:correct|right|best) (?:option|choice|one) is:? *\(?([A-J])(?![A-Za-z'])", re.IGNORECASE
)
_LIST_SEPARATOR = re.compile(r" ?(?:[,;，；、]|[,，]? ?(?:\b(?:or|and)\b|或者?|和)) ?| ")
_COMPUTED = re.compile(r"<<[^<>\n]*>>")  # the calculator marks of GSM8K
_SENTENCE = re.compile(r"[.!?。！？](?:\s|$)|\n")
_VERB = re.compile(
    r".*\b(?:is|are|was|were|be|equals|has|have|gives|becomes|takes|needs|costs|(?:falls|lands|occurs) on)\b\s*:?",
    re.DOTALL,
)
_YES_OR_NO = re.compile(r"(yes|no)[*]* ?[,;:.–—-]", re.IGNORECASE)
_YES_OR_NO_WORD = re.compile(r"\b(?:yes|no|not|\w+n't|but|however|wait|maybe)\b", re.IGNORECASE)
_SQUARED_UNIT = re.compile(r"(?<=\d)(?=[ckm]?m[²³]$)")
_RETRACTED = re.compile(
    r"\b(?:wait|no|actually|correction|sorry|oops)\b[,:.!]|\bmade an? (?:mistake|error)\b"
    r"|\b(?:that|this)(?: (?:is|was)|['’]s) (?:wrong|incorrect|false|not (?:right|correct)|an? (?:mistake|error))\b",
    re.IGNORECASE,
)
_MINUS = str.maketrans("−–‐‑‒﹣", "------")


def marked_answers(text: str) -> list[str] | None:
    """Return the answers in boxes, in answer tags or after ####; None if the text has no such mark."""
    text = _BROKEN_BOX.sub(lambda _: r"\boxed{", text)
    return find_answers(text) if re.search(r"\\boxed|\\fbox|<answer>|####", text) else None


def candidate_answers(text: str, choice: bool, words: bool = False) -> list[str]:
    """Return what follows the last "the answer is", and the last formula or number there.

    choice: The gold answer is a letter, so look for a letter instead of a number.
    words: The gold answer has no digits, so also return what the last sentence says after "is", "are" or "has".
    """
    stated = find_answers(text)
    if stated and _denies_statement(text, stated[-1]):
        return []
    place = stated[-1] if stated else text
    if stated and (rest := _after_retraction(text, place)) is not None:
        stated, place = [], rest
    place = re.sub("− (?=[0-9.])", "−", _COMPUTED.sub("", place[-SEARCHED:])).translate(_MINUS)
    value = _letter(place, first=bool(stated)) if choice else _last_value(place)
    value = _SQUARED_UNIT.sub(" ", value) if value else value
    return [
        *stated[-1:],
        *([value] if value else []),
        *(_complement(place) if (words or not value) and not stated else []),
        *(_yes_or_no(place) if words and not stated else []),
    ]


def _denies_statement(text: str, stated: str) -> bool:
    """Return whether the clause around "the answer is 4" denies it, as in "It is false that the answer is 4"."""
    end = text.rfind(stated)
    start = max(0, end - MAX_SENTENCE)
    clause = re.split(r"\band\b", text[start:end])[-1]
    return denied(clause + stated, [Span(len(clause), len(clause + stated))])[0]


def _after_retraction(text: str, stated: str) -> str | None:
    """Return what follows the last "Wait, no" or "that is wrong" behind "the answer is 7"; None if nothing retracts."""
    said = text[text.rfind(stated) :]
    retractions = list(_RETRACTED.finditer(said))
    return said[retractions[-1].end() :] if retractions else None


def _complement(place: str) -> list[str]:
    """Return the complement of the last sentence, such as "Tuesday" in "It will be a Tuesday."; [] if it denies it."""
    sentence = _SENTENCE.split(place.strip().rstrip(".!。 *"))[-1]
    match = _VERB.match(sentence[-MAX_SENTENCE:])
    if not match or is_denial(sentence):
        return []
    complement = re.sub(r"^(?:an?|the) ", "", sentence[-MAX_SENTENCE:][match.end() :].strip(" *"), flags=re.IGNORECASE)
    if re.search(r"\d", complement):
        return []
    return [complement, *_leading_number(complement)]


def _leading_number(words: str) -> list[str]:
    """Return "eleven ways" as "11 ways", if no other word changes the number."""
    parts = words.split()[:MAX_NOUN]
    for end in range(len(parts) - 1, 0, -1):
        if (number := english_number(" ".join(parts[:end]))) is not None:
            noun = " ".join(parts[end:])
            return [] if len(words.split()) > MAX_NOUN or alters(noun) else [f"{number} {noun}"]
    return []


def _yes_or_no(place: str) -> list[str]:
    """Return the "yes" or "no" that a text consisting of one sentence starts with."""
    match = _YES_OR_NO.match(place.strip(" *"))
    sentences = [part for part in _SENTENCE.split(place.strip()) if part.strip()]
    return [match[1]] if match and len(sentences) == 1 and len(_YES_OR_NO_WORD.findall(place)) == 1 else []


def _letter(place: str, first: bool) -> str | None:
    """Return the chosen letter: the first one after "the answer is" or at the start of the text, else the last one.

    A list such as "C or D" is returned as such, and chooses neither. A denied letter ("not B") is skipped.
    """
    if stated := _STATED_CHOICE.findall(place):
        return str(stated[-1])
    spans = [Span(*match.span()) for match in _LETTER.finditer(place)]
    letters = [span for span, is_denied in zip(spans, denied(place, spans), strict=True) if not is_denied]
    if not letters:
        return None
    starts_with_letter = re.match(r"\(?[A-J](?:[).:,]|$)", place.strip())
    at = 0 if first or starts_with_letter else len(letters) - 1
    pair = letters[at - 1 : at + 1] if at else letters[:2]
    if len(pair) == 2 and _LIST_SEPARATOR.fullmatch(place[pair[0].end : pair[1].start].strip("() ") or "x"):
        return place[pair[0].start : pair[1].end]
    return place[letters[at].start : letters[at].end]


def _last_value(place: str) -> str | None:
    """Return the last formula or expression, or the list that ends with it, which its sentence does not deny."""
    formulas = {Span(*match.span()): match for match in _FORMULA.finditer(place)}
    outside = _FORMULA.sub(lambda match: "\n" * len(match[0]), place)
    spans = sorted([*formulas, *expressions(outside)])
    is_denied = denied(place, spans)
    last = len(spans) - 1
    while last >= 0 and is_denied[last]:
        if not last or not same_sentence(place, spans[last - 1], spans[last]):
            return None
        last -= 1
    if last < 0:
        return None
    first = last
    while (
        first
        and not is_denied[first - 1]
        and _LIST_SEPARATOR.fullmatch(place[spans[first - 1].end : spans[first].start])
    ):
        first -= 1
    start, end = spans[first].start, spans[last].end
    if is_bounded(place, start):
        return None
    if first < last:
        return place[start:end]
    formula = formulas.get(spans[last])
    inside = next(filter(None, formula.groups()), "") if formula else ""
    return _result(inside or place[start:end])


def _result(formula: str) -> str:
    """Reduce a derivation to its result: x = 5+5+1 = 11 to x = 11."""
    exact = re.split(r"\\approx(?![a-z])|≈", formula)[0] if "=" in formula else formula
    sides = re.split(r"(?<![<>!\\])=", exact)
    starts_with_numbers = not re.search(r"(?<![A-Za-z\\])[A-Za-z]", sides[0]) and not sides[0].strip(" $").isdecimal()
    if len(sides) > 1 and starts_with_numbers:
        return sides[-1]
    return f"{sides[0]}={sides[-1]}" if len(sides) > 2 else formula
