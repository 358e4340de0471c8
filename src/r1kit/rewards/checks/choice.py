"""Multiple choice: one letter, or one option's text. Whoever names two options has chosen none."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from string import ascii_uppercase

from r1kit.rewards.checks.text import normalise

LONGEST = 4_000  # characters of an answer
_LEAD = re.compile(
    r"(?:so|thus|therefore|hence)?[,\s]*(?:the\s+)?(?:(?:correct|best|right|final|most likely)\s+)*"
    r"(?:(?:answer|option|choice|选项|答案)\s*(?:is|must be|would be|应该是|是|为)?"
    r"|(?:i (?:think|believe) )?(?:it is|it's)|i (?:would )?(?:choose|pick|select|say)|选择?)\s*[:：]?\s*",
    re.IGNORECASE,
)
_MARKUP = re.compile(r"\\(?:text|mathrm|mathbf|textbf|boxed)\s*\{([^{}]*)\}|[*`$]|^_+|_+$")
# "(B) text", "B. text", "B: text", "B - text", "B": a letter set apart from what follows it
_LETTER = re.compile(
    r"(?:\(\s*([A-Za-z])\s*\)|\[\s*([A-Za-z])\s*\]|([A-Za-z])(?=\s*(?:[.:、,;)\-–—]|$)"
    r"|\s+(?:because|since)\b|\s+is (?:the )?(?:correct|right|best)\b))"
    r"(\s*[.:、,;)]\s*|\s+[-–—]+\s+|\s*)"  # a minus sign right before a number belongs to the text
)
# a further letter in what follows: in brackets, at the end, or joined by "or", "and", a comma, a slash
_MENTION = re.compile(
    r"[(\[]\s*([A-Z])\s*[)\]]"
    r"|(?:\b(?:or|and|not|option|choice|answer is|maybe|perhaps)\s+|[/,;&|和或]\s*|^)([A-Z])(?![\w'’])"
)


def refute(gold: int, options: Sequence[str], answer: str) -> str | None:
    """Why `answer` does not choose exactly option number `gold`; None when it does."""
    if len(answer) > LONGEST:
        return f"the answer has {len(answer)} characters, allowed are {LONGEST}"
    named = chosen(options, answer)
    if len(named) > 1:
        return f"names several options: {', '.join(ascii_uppercase[i] for i in sorted(named))}"
    if not named:
        return f"{answer.strip()[:80]!r} is none of the {len(options)} options"
    [number] = named
    same = normalise(options[number]) == normalise(options[gold])  # some data sets hold an option twice
    return None if number == gold or same else f"chose {ascii_uppercase[number]}, not {ascii_uppercase[gold]}"


def chosen(options: Sequence[str], answer: str) -> set[int]:
    """The numbers of the options that an answer names: by letter, by text, or both."""
    text = _plain(answer)
    bare = _LEAD.sub("", text, count=1).strip() if _LEAD.match(text) else text
    for candidate in (text, bare):
        if not (len(candidate) == 1 and candidate.isupper()) and (named := _by_text(options, candidate)):
            return named
    if not (letter := _LETTER.match(bare)):
        return set()
    number = ascii_uppercase.index((letter[1] or letter[2] or letter[3]).upper())
    rest = bare[letter.end() :]
    by_text = _by_text(options, rest) | _by_text(options, (letter[4] + rest).strip())
    if number in by_text:
        return {number}
    return ({number} if number < len(options) else set()) | _mentioned(options, rest) | by_text


def index_of(gold: str | int, options: Sequence[str]) -> int:
    """The number of the gold option, given as a letter, a number from 0, or its text. ValueError when it is none."""
    if isinstance(gold, int) and not isinstance(gold, bool) and 0 <= gold < len(options):
        return gold
    named = chosen(options, str(gold))
    if len(named) != 1:
        raise ValueError(
            f"gold {gold!r} is none of the {len(options)} options: give a letter, an index from 0 or a text"
        )
    return named.pop()


def canonical(answer: str) -> str:
    """The letter where an answer begins with one, else its text."""
    letter = _LETTER.match(_LEAD.sub("", _plain(answer), count=1).strip())
    return (letter[1] or letter[2] or letter[3]).upper() if letter else normalise(answer)


def _by_text(options: Sequence[str], text: str) -> set[int]:
    """Options with exactly this text; the same characters count before the same words."""
    texts = [_plain(option) for option in options]
    exact = {i for i, option in enumerate(texts) if option == text}
    given = normalise(text)
    return exact or {i for i, option in enumerate(texts) if given and normalise(option) == given}


def _plain(text: str) -> str:
    """Without the markup that LaTeX and Markdown put around words, and full-width letters as narrow ones."""
    return _MARKUP.sub(lambda found: found[1] or "", unicodedata.normalize("NFKC", text)).strip()


def _mentioned(options: Sequence[str], text: str) -> set[int]:
    letters = (ascii_uppercase.index(found[1] or found[2]) for found in _MENTION.finditer(text))
    return {number for number in letters if number < len(options)}
