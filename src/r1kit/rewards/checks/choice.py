"""Multiple choice: one letter or one option's text. An answer that names two options is wrong."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from string import ascii_uppercase

from r1kit.rewards.checks.base import Verifier, fields, judge_answers
from r1kit.rewards.checks.text import normalise
from r1kit.rewards.verdict import Ruling
from r1kit.types import Problem

MAX_CHARACTERS = 4_000  # of an answer
_ENGLISH = (
    r"(?:the\s+)?(?:(?:correct|best|right|final|most likely)\s+)*"
    r"(?:(?:answer|option|choice)(?:\s*(?:is|must be|would be))?"
    r"|(?:i (?:think|believe) )?(?:it is|it's)|i (?:would )?(?:choose|pick|select|say))"
)
_CHINESE = r"(?:故|因此|所以|应该?)?(?:正确)?(?:选项|答案)(?:应该)?(?:是|为|选)?|(?:故|因此|所以|应该?)?选择?"
_OTHERS = (  # German, French, Spanish, Portuguese, Italian, Indonesian, Russian, Hindi, Japanese, Korean, Arabic
    r"(?:die\s+)?(?:richtige\s+)?(?:antwort|lösung)(?:\s+(?:ist|lautet))?",
    r"(?:la\s+)?(?:bonne\s+)?réponse(?:\s+(?:correcte|finale))?(?:\s+est)?",
    r"(?:la\s+)?(?:respuesta|opción)(?:\s+(?:correcta|final))?(?:\s+es)?",
    r"(?:a\s+)?resposta(?:\s+(?:correta|final))?(?:\s+é)?",
    r"(?:la\s+)?risposta(?:\s+(?:corretta|finale))?(?:\s+è)?",
    r"jawaban(?:nya)?(?:\s+(?:yang\s+benar|akhir))?(?:\s+adalah)?",
    r"(?:правильный\s+)?(?:ответ|вариант)",
    r"(?:सही\s+)?उत्तर(?:\s+है)?",
    r"(?:最終的?な?)?(?:正解|答え?|解答|正答)(?:は|が)?",
    r"(?:최종\s*)?(?:정답|답)(?:은|는)?",
    r"(?:الإجابة|الجواب)(?:\s+(?:الصحيحة|الصحيح|النهائية))?(?:\s+(?:هي|هو))?",
)
_ADVERB = re.compile(r"(?:so|thus|therefore|hence|clearly|simply|definitely|obviously)\b[,:\s]*", re.IGNORECASE)
_LEAD = re.compile(rf"(?:{'|'.join((_ENGLISH, _CHINESE, *_OTHERS))})\s*[:\-–—]?\s*", re.IGNORECASE)
_TAIL = re.compile(r"(?<=[A-Za-z'\"”’»」)])(?:です|だ|입니다|이다|번)?\s*[.。!]*$")
_DENIED = re.compile(  # "not B", "(B) is wrong"
    r"\bnot\s+(?:option\s+|choice\s+)?[(\[]?[A-Z][)\]]?(?![\w'’])"
    r"|(?:[(\[][A-Z][)\]]|\b[A-Z](?![\w'’]))\s+(?:is|are)\s+(?:wrong|incorrect|false)\b"
)
_NOT_BUT = re.compile(r"not\s+[(\[]?[A-Z][)\]]?,?\s+but\s+(?:rather\s+)?")
_COMBINED = re.compile(r"\b(?:both|neither)\s+[A-Z]\s+(?:and|nor)\s+[A-Z](?![\w'’])", re.IGNORECASE)  # an option's text
_ARTICLE = re.compile(
    r"\s*A(?=\s+(?!(?:and|or|nor|is|but|as|if|too|also|could|would|should|may|might|can|because)\b)[a-z])"
)
_BOTH_WAYS = re.compile(r"(.*\S)\s*[(\[]\s*(?:(?:option|choice|answer)\s+)?([A-Z])\s*[)\]]", re.DOTALL)
_QUOTED = re.compile(r"(['\"“”‘’«»「])\s*([A-Za-z])\s*['\"“”‘’«»」]")
_MARKUP = re.compile(
    r"\\(?:text|mathrm|mathbf|textbf|boxed)\s*\{([^{}]*)\}|\\[()\[\]]|[*`$]|^_+|_+$|^[ \t]*#+[ \t]+", re.MULTILINE
)
# "(B) text", "B. text", "B: text", "B - text", "B": a letter set apart from the text that follows
_LETTER = re.compile(
    r"(?:\(\s*([A-Za-z])\s*\)|\[\s*([A-Za-z])\s*\]|([A-Za-z])(?=\s*(?:[.:、,;)\-–—]|$)"
    r"|\s+(?:because|since)\b|\s+is (?:the )?(?:correct|right|best)\b))"
    r"(\s*[.:、,;)]\s*|\s+[-–—]+\s+|\s*)"  # a minus sign right before a number belongs to the text
)
# a second letter: in brackets, at the start, or after "or", "and", a comma or a slash
_MENTION = re.compile(
    r"[(\[]\s*([A-Z])\s*[)\]]"
    r"|(?:\b(?:or|and|not|but|option|choice|answer is|maybe|perhaps)\s+|[/,;&|和或]\s*|^)([A-Z])(?![\w'’])"
)


def refute(gold: int, options: Sequence[str], answer: str) -> str | None:
    """Return why `answer` does not choose exactly option number `gold`, or None when it does."""
    if len(answer) > MAX_CHARACTERS:
        return f"the answer has {len(answer)} characters: at most {MAX_CHARACTERS} are allowed"
    named = named_options(options, answer)
    if len(named) > 1:
        return f"names several options: {', '.join(ascii_uppercase[i] for i in sorted(named))}"
    if not named:
        return f"{answer.strip()[:80]!r} is none of the {len(options)} options"
    [number] = named
    same = normalise(options[number]) == normalise(options[gold])  # some data sets list an option twice
    return None if number == gold or same else f"chose {ascii_uppercase[number]}, not {ascii_uppercase[gold]}"


def named_options(options: Sequence[str], answer: str) -> set[int]:
    """Return the numbers of the options that an answer names, by letter, by text or both."""
    text = _strip_markup(answer)
    bare = _without_lead(text)
    if match := _BOTH_WAYS.fullmatch(bare.rstrip(".")):  # "20 (option B)"
        by_text, number = _options_with_text(options, match[1]), ascii_uppercase.index(match[2])
        if by_text and number < len(options):
            return by_text | {number}
    for candidate in (text, bare):
        if not (len(candidate) == 1 and candidate.isupper()) and (named := _options_with_text(options, candidate)):
            return named
    if not (letter := _LETTER.match(bare)):
        return set()
    number = ascii_uppercase.index((letter[1] or letter[2] or letter[3]).upper())
    rest = _DENIED.sub(" ", bare[letter.end() :])
    by_text = _options_with_text(options, rest) | _options_with_text(options, (letter[4] + rest).strip())
    if number in by_text:
        return {number}
    return ({number} if number < len(options) else set()) | _mentioned(options, rest) | by_text


def index_of(gold: str | int, options: Sequence[str]) -> int:
    """Return the number of the gold option, given as a letter, an index from 0 or its text.

    Raises:
        ValueError: `gold` names no option, or several.
    """
    if isinstance(gold, int) and not isinstance(gold, bool) and 0 <= gold < len(options):
        return gold
    named = named_options(options, str(gold))
    if len(named) != 1:
        raise ValueError(
            f"gold {gold!r} is none of the {len(options)} options: give a letter, an index from 0 or a text"
        )
    return named.pop()


def letter_of(options: Sequence[str], answer: str) -> str | None:
    """Return the letter of the option that an answer names; None if it names none or several."""
    named = named_options(options, answer) if len(answer) <= MAX_CHARACTERS else set()
    return ascii_uppercase[named.pop()] if len(named) == 1 else None


def _options_with_text(options: Sequence[str], text: str) -> set[int]:
    """Return the options with exactly this text, or those with the same normalised text if there are none."""
    texts = [_strip_markup(option) for option in options]
    exact = {i for i, option in enumerate(texts) if option == text}
    given = normalise(text)
    return exact or {i for i, option in enumerate(texts) if given and normalise(option) == given}


def _strip_markup(text: str) -> str:
    """Remove LaTeX and Markdown around words and make full-width letters narrow."""
    return _MARKUP.sub(lambda match: match[1] or "", unicodedata.normalize("NFKC", text)).strip()


def _without_lead(text: str) -> str:
    """Remove phrases such as "So the answer is" before an answer, and quotes and polite endings around a letter."""
    for _ in range(3):  # "Answer: the answer is therefore C"
        for phrase in (_ADVERB, _LEAD, _NOT_BUT):
            text = text.strip()
            text = text[match.end() :] if (match := phrase.match(text)) else text
    text = _TAIL.sub("", text.strip()) if len(text) < 12 else text.strip()
    quoted = _QUOTED.fullmatch(text)
    return quoted[2] if quoted else text


def _mentioned(options: Sequence[str], text: str) -> set[int]:
    article = _ARTICLE.match(text)  # "B. A large number"
    text = _COMBINED.sub(" ", text[article.end() :] if article else text)
    letters = (ascii_uppercase.index(match[1] or match[2]) for match in _MENTION.finditer(text))
    return {number for number in letters if number < len(options)}


def _read(problem: Problem) -> tuple[int, list[str]]:
    options = problem.extra["options"]
    if isinstance(options, int) and not isinstance(options, bool) and 2 <= options <= 26:  # only their number
        options = [f"option {letter}" for letter in ascii_uppercase[:options]]
    if isinstance(options, Mapping):  # {"A": ..., "B": ...}
        options = [options[letter] for letter in sorted(options)]
    options = [str(option) for option in options]
    if not 2 <= len(options) <= 26:
        raise ValueError(f"{len(options)} options: give 2 to 26, so that each has a letter")
    return index_of(problem.extra.get("gold", problem.answer), options), options


VERIFIER = Verifier(
    _read,
    judge_answers(lambda gold, answer: Ruling.of(refute(*gold, answer))),
    lambda gold, answer: letter_of(gold[1], answer),
    from_row=fields("options", "gold"),
)
