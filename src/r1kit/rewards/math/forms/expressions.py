"""Find mathematical expressions in prose, and tell which of them the sentence denies.

An expression is read to both ends: 8:30, 2√3, 4x and "75 in 100" are one value each, not their last number.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple


class Span(NamedTuple):
    """A piece of a text."""

    start: int
    end: int


_TOKEN = re.compile(
    r"(?P<tuple>[(\[](?:[^()\[\]A-Za-z\n]|(?<![A-Za-z])[a-z](?![A-Za-z])){1,60}[)\]])"
    r"|(?P<number>(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|(?<![\w.])\.\d+)"
    r"|(?P<command>\\[A-Za-z]+|\\[%$,;!{}])"
    r"|(?P<word>[A-Za-z]+(?:['’][A-Za-z]+|\d+)*)"
    r"|(?P<operator>[-+*/^=<>≤≥≠≈≡±×·÷−–%°!|_{}()\[\]$€£¥²³⁴√∛πθ∞½¼¾αβγλμφω∈∪′'’]|(?<=\d):(?=\d))"
    r"|(?P<space>[ \u00a0]+)"
)
_UNARY = {"minus", "negative", "log", "ln", "sin", "cos", "tan", "sqrt", "base"}
_BINARY = {"to", "in", "by", "over", "of", "out", "times", "plus", "minus", "mod", "divided", "base"}
_ORDINAL = {"st", "nd", "rd", "th", "s"}
_SCALE = re.compile(
    r" ?(?:dozen|hundred|thousand|lakh|crore|[mb]illion|trillion|percent|squared|cubed|factorial"
    r"|or (?:more|less|fewer|so|above|below)|at (?:least|most)"
    r"|(?:more|less|fewer|greater|larger|smaller) than (?:[a-z]\b|\d)"
    r"|and (?:a|one)[ -](?:half|quarter|third))\b",
    re.IGNORECASE,
)
_BOUND = re.compile(
    r"\b(?:at (?:least|most)|(?:more|less|fewer|greater|bigger|larger|smaller|higher|lower) than|up to"
    r"|over|under|above|below|exceeds?|(?:upper|lower) bound (?:of|is)|almost|nearly|nowhere near|twice|thrice|double"
    r"|half(?: of)?|(?:root|square|cube|reciprocal|opposite|inverse) of|(?:multiple|factor|divisor)s? of"
    r"|divi(?:sible|ded) by|times|to the power(?: of)?"
    r"|if\b[^,.;:\n]{1,40}\bwere|unless\b[^,.;:\n]*)(?: or equal to)? *$"
    r"|(?:[大小多少高低]于|超过|至[少多]|不[到足]|接近) *$",
    re.IGNORECASE,
)
_BOUNDARY = re.compile(
    r"[.;:!?。；！？，]\s*|,\s|\n|\b(?:(?<!anything )but|because|since|which|so|therefore|thus|hence|then"
    r"|(?<!doubt )(?<!think )(?<!believe )it(?:['’]s| is)|instead(?! of)|take|choose|pick|leaves|leaving|is actually"
    r"|mais|sondern|sino|而是)\b",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"[.!?](?=\s|$)|[。！？\n]")
_DENIAL = re.compile(
    r"\b(?:not|never|cannot|neither|nor|no longer|anything but|far from|other than|rather than|instead of|except"
    r"|excluding|unlike|wrong|incorrect|false|impossible|deny|denies|reject(?:ed|s)?|exclude[ds]?|\w+n['’]t|cant|isnt"
    r"|doubt(?:s|ed|ful)?|refuse[sd]?|unequal|differs?|different from|hardly|contradicts?"
    r"|nicht|keine?|n['’]est|pas|no es|não|non è|не|ليس)\b"
    r"|\b(?:(?:rul(?:e[sd]?|ing) out|(?:eliminat|disprov|refut)(?:e[sd]?|ing)|(?:discard|dismiss)(?:e[sd]|s|ing)?)"
    r"(?: the)?(?: (?:value|number|case|answer|option|candidate|possibility))?|besides)[ $(]*$"
    r"|不是|并非|而非|不等于",
    re.IGNORECASE,
)
_DENIED_AFTER = re.compile(
    r"[\s*$)]{0,5}(?:\?|\((?:wrong|incorrect|false|invalid)\b|では(?:な|あり)|じゃな|[이가] ?아[니닙])"
    r"|[\s*$)]{0,5}(?:,? ?(?:(?:and|but) )?(?:which|that) )?"
    r"(?:(?:is|are|was|were|has|have|ist|est|es|é|è|does|do|did|would|will|can|could|may|must|should|seems|looks)\b\s*)?(?:be(?:en)?\s+)?"
    r"(?:\w+ly\s+)?(?:n['’]t\b|not\b|never\b|cannot\b|wrong|false|incorrect|impossible|invalid|too\b|\w+n['’]t\b|fails?\b|不对|错"
    r"|(?:ruled out|(?:eliminat|reject|exclud|discard|dismiss|disprov|refut)ed"
    r"|falsch|nicht|faux|fausse|incorrect[aeo]|fals[ao]|errad[ao]|sbagliat[ao]|неверно|неправильно)\b)",
    re.IGNORECASE,
)


def expressions(text: str) -> list[Span]:
    """Return the expressions that contain a number or a tuple, in order."""
    tokens = list(_tokens(text))
    spans = []
    at = 0
    while at < len(tokens):
        first = at
        has_value = False
        while at < len(tokens) and (kind := _role(text, tokens, at, continuing=at > first)):
            has_value |= kind == "value"
            at += 1
        if has_value:
            spans += _trimmed(text, tokens[first].start(), tokens[at - 1].end())
        at = max(at, first + 1)
    return spans


def _tokens(text: str) -> list[re.Match[str]]:
    return list(_TOKEN.finditer(text))


def _role(text: str, tokens: Sequence[re.Match[str]], at: int, continuing: bool) -> str | None:
    """Return "value", "part" or None for a token: whether it belongs to an expression."""
    token = tokens[at]
    if continuing and token.start() != tokens[at - 1].end():  # characters between tokens end an expression
        return None
    match token.lastgroup:
        case "number" | "tuple":
            apart = continuing and tokens[at - 1].lastgroup == "space" and at > 1
            if apart and not _connects(tokens, at - 2):
                return None
            return "value"
        case "space":
            return "part" if continuing and at + 1 < len(tokens) and token.end() - token.start() == 1 else None
        case "word":
            return "part" if _is_part(text, tokens, at, continuing) else None
    return "part"


def _connects(tokens: Sequence[re.Match[str]], at: int) -> bool:
    """Return whether a number may follow this token after a space."""
    token = tokens[at]
    return token.lastgroup in ("operator", "word", "command") and token[0] not in ")]}%°$€£¥²³⁴"


def _is_part(text: str, tokens: Sequence[re.Match[str]], at: int, continuing: bool) -> bool:
    """Return whether a word is a variable, a function or a connecting word of an expression."""
    word, token = tokens[at][0], tokens[at]
    before = text[token.start() - 1 : token.start()]
    after = text[token.end() : token.end() + 2]
    if before.isdigit() and continuing:
        return word.lower() not in _ORDINAL
    follows_space = continuing and tokens[at - 1].lastgroup == "space"
    next_value = at + 2 < len(tokens) and tokens[at + 1].lastgroup == "space"
    lower = word.lower()
    if lower in _BINARY and follows_space and next_value and at >= 2 and tokens[at - 2].lastgroup != "operator":
        return lower != "in" or _ends_after(text, tokens, at + 2)
    if lower in _UNARY:
        return next_value or after[:1] in "(^_"
    if len(word) == 1:
        return (
            lower not in ("a", "i")
            or bool(re.match(r" ?[=^+*/_<>≤≥-]", after))
            or before in ("=", "+", "-", "*", "/", "^")
        )
    return False


def _ends_after(text: str, tokens: Sequence[re.Match[str]], at: int) -> bool:
    """Return whether the number at a token ends the clause: "1 in 2." but not "100 in 2 years"."""
    if tokens[at][0].lower() == "base":
        return True
    return not re.match(r"[ -][A-Za-z]", text[tokens[at].end() :])


def _trimmed(text: str, start: int, end: int) -> list[Span]:
    """Remove operators and brackets at the ends that do not belong to the expression."""
    while start < end:
        piece = text[start:end]
        if len(piece) > 2 and piece[0] == piece[-1] == "|":  # an absolute value
            break
        if (
            piece[0] in " =*/^:|<>+≤≥≠≈_%!°'’·×÷}])²³"
            or re.match(r"[-−–](?:\s|[^\d\s(.$\\√πa-z])", piece)
            or (piece[0] in "-−–" and text[start - 1 : start].isalpha())
        ):
            start += 1
        elif piece[-1] in " =*/^:|<>+-−–≤≥≠≈_({[$\\" or (
            (opening := {")": "(", "]": "[", "}": "{"}.get(piece[-1])) and piece.count(opening) < piece.count(piece[-1])
        ):
            end -= 1
        elif (closing := {"(": ")", "[": "]", "{": "}"}.get(piece[0])) and piece.count(closing) < piece.count(piece[0]):
            start += 1
        elif piece[-1] in "'’":
            end -= 1
        else:
            break
    if scale := _SCALE.match(text, end):
        end = scale.end()
    return [Span(start, end)] if re.search(r"\d", text[start:end]) else []


def is_bounded(text: str, start: int) -> bool:
    """Return whether the value at `start` is only a bound: "at least 4"."""
    return _BOUND.search(text[max(0, start - 60) : start]) is not None


def denied(text: str, spans: Sequence[Span]) -> list[bool]:
    """Return for each piece of a text whether its sentence denies it: "is not 4", "4 is wrong"."""
    results: list[bool] = []
    previous_end, previous = 0, False
    for span in spans:
        gap = text[previous_end : span.start]
        boundaries = list(_BOUNDARY.finditer(gap))
        clause = gap[boundaries[-1].end() :] if boundaries else gap
        before = bool(_DENIAL.search(clause)) or (previous and not boundaries)
        results.append(before or _DENIED_AFTER.match(text, span.end) is not None)
        previous_end, previous = span.end, before
    return results


def is_denial(sentence: str) -> bool:
    """Return whether a sentence contains a word that denies."""
    return _DENIAL.search(sentence) is not None


def same_sentence(text: str, first: Span, second: Span) -> bool:
    """Return whether no sentence ends between two pieces."""
    return not _SENTENCE_END.search(text, first.end, second.start)
