"""Multiple choice: one letter or one option's text. An answer that names two options is wrong."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from string import ascii_uppercase

from r1kit.rewards.checks.base import Verifier, fields, verdict_of
from r1kit.rewards.checks.choice_words import AFTER, BEFORE, DENIAL, HEADING, OR
from r1kit.rewards.checks.text import normalise
from r1kit.rewards.extract import rule_on_all
from r1kit.rewards.reply import Reply
from r1kit.rewards.verdict import Ruling, Verdict
from r1kit.types import Problem

MAX_CHARACTERS = 4_000  # of an answer
_DENIED = re.compile(  # "not B", "(B) is wrong"
    r"\bnot\s+(?:option\s+|choice\s+)?[(\[]?[A-Z][)\]]?(?![\w'’])"
    r"|(?:[(\[][A-Z][)\]]|\b[A-Z](?![\w'’]))\s+(?:is|are)\s+(?:wrong|incorrect|false)\b"
)
_COMBINED = re.compile(r"\b(?:both|neither)\s+[A-Z]\s+(?:and|nor)\s+[A-Z](?![\w'’])", re.IGNORECASE)  # an option's text
_ARTICLE = re.compile(
    r"\s*A(?=\s+(?!(?:and|or|nor|is|but|as|if|too|also|could|would|should|may|might|can|because)\b)[a-z])"
)
_BOTH_WAYS = re.compile(
    r"(.*[^\s,])\s*(?:[(\[]|,\s+(?:which|that)\s+is)\s*(?:(?:option|choice|answer)\s+)?([A-Z])\s*[)\]]?", re.DOTALL
)
_MARKUP = re.compile(
    r"\\(?:text|mathrm|mathbf|textbf|boxed)\s*\{([^{}]*)\}|\\[()\[\]]|[*`$]|^_+|_+$|^[ \t]*#+[ \t]+", re.MULTILINE
)
_QUOTE = "'\"“”‘’«»「」"
_LETTER = re.compile(  # in Chinese, Japanese and Korean, a word may follow without a space
    rf"\(\s*([A-Za-z])\s*\)|\[{{1,2}}\s*([A-Za-z])\s*\]{{1,2}}|\{{([A-Za-z])\}}|<([A-Za-z])>|[{_QUOTE}]\s*([A-Za-z])\s*[{_QUOTE}]"
    r"|([A-Za-z])(?![^\W\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7af]|['’])"
)
# "B. text", "B: text", "B - text", "B = text": a letter set apart from the text that follows
_APART = re.compile(
    r"\s*[.:、,;)!。，；：](?![!?])\s*|\s+[-–—]+\s+|\s*[=/]\s*|\s*$|(?=\s*\()|\s+(?=(?:because|since|as|weil|porque|car)\b)|\s*\n\s*"
)
# a second letter: in brackets, at the start, alone on a line, or after "or", "and", a comma or a slash
_MENTION = re.compile(
    rf"[(\[]\s*([A-Z])\s*[)\]]|(?:(?<!\w)(?:{OR})\s+|[/,;&|、，和或與与跟及]\s*|^)([A-Z])(?![\w'’])"
    r"|\n\s*([A-Z])[.)]?\s*(?=\n|$)"
)
_LISTED = re.compile(r"^\s*[(\[]?([A-Z])[)\].:]+\s+(.+)$", re.MULTILINE)


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
    text = _strip_markup(HEADING.split(answer)[-1]) or _strip_markup(answer)
    bare = _without_lead(text)[0]
    if match := _BOTH_WAYS.fullmatch(bare.rstrip(".")):  # "20 (option B)"
        by_text, number = _options_with_text(options, match[1]), ascii_uppercase.index(match[2])
        if by_text and number < len(options):
            return by_text | {number}
    for candidate in (text, bare):
        if not (len(candidate) == 1 and candidate.isupper()) and (named := _options_with_text(options, candidate)):
            return named
    named = _named_by_letter(options, bare)
    last = text.rpartition("\n")[2]
    return named if named or last == text or not _without_lead(last)[1] else named_options(options, last)


def _named_by_letter(options: Sequence[str], text: str) -> set[int]:
    """Return the options that a text names which begins with a letter."""
    if not (letter := _LETTER.match(text)):
        return set()
    number = ascii_uppercase.index(next(filter(None, letter.groups())).upper())
    rest = text[letter.end() :]
    confirmed = AFTER.match(rest)
    rest = rest[confirmed.end() :] if confirmed else rest
    apart = _APART.match(rest)
    texts = [rest] if apart is None else [rest, rest[apart.end() :], (apart[0] + rest[apart.end() :]).strip()]
    by_text = set().union(*(_options_with_text(options, part.strip(" ()")) for part in texts))
    if number in by_text:
        return {number}
    if DENIAL.match(rest) or not (apart or letter[1] or letter[2]):
        return set()
    rest = _DENIED.sub(" ", rest[apart.end() :] if apart else rest)
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


def _without_lead(text: str) -> tuple[str, bool]:
    """Return a text without words such as "So the answer is" at its start, and whether there were any."""
    end, words = 0, False
    while match := BEFORE.match(text, end):
        end = match.end()
        words = words or any(map(str.isalpha, match[0]))
    return text[end:], words


def _mentioned(options: Sequence[str], text: str) -> set[int]:
    article = _ARTICLE.match(text)  # "B. A large number"
    text = _COMBINED.sub(" ", text[article.end() :] if article else text)
    letters = (ascii_uppercase.index(match[1] or match[2] or match[3]) for match in _MENTION.finditer(text))
    listed = ((ascii_uppercase.index(match[1]), match[2]) for match in _LISTED.finditer(text))
    return {number for number in letters if number < len(options)} | {
        number for number, option in listed if number in _options_with_text(options, option)
    }


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


def _judge(gold: tuple[int, list[str]], reply: Reply) -> Verdict:
    """Judge the answers that a reply states; where no tags were asked for, its first and last line may be one."""
    answers = reply.answers
    if not answers and not reply.answer_tags and (lines := (reply.body or "").strip().splitlines()):
        ends = [line for line in (lines[0], lines[-1]) if len(line) <= MAX_CHARACTERS]
        answers = [line for line in ends if named_options(gold[1], line)]
    if not answers:
        return reply.no_answer()
    return verdict_of(rule_on_all(answers, lambda answer: Ruling.of(refute(*gold, answer))), answers[-1])


VERIFIER = Verifier(
    _read,
    _judge,
    lambda gold, answer: letter_of(gold[1], answer),
    from_row=fields("options", "gold"),
)
