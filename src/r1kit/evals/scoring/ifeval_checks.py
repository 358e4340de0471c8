"""The checks of IFEval as its authors' program makes them (Zhou et al. 2023, instructions.py).

Training judges some constraints more strictly, such as by escaping keywords (`rewards/checks/ifeval_constraints.py`);
benchmarks must count as published. Only the checks that differ stand here. Two are not the same without nltk and
langdetect: sentences end by punkt's rules without its learned lists, and languages are identified by r1kit.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from r1kit.data.language.english_tokens import count_capital_words, count_sentences
from r1kit.data.language.identify import dominant, language_code
from r1kit.rewards.checks.ifeval import Constraint, check
from r1kit.rewards.checks.ifeval_constraints import CHECKERS, Checker, compare

_BULLETS = re.compile(r"^[^\S\n]*\*[^*].*$", re.MULTILINE), re.compile(r"^[^\S\n]*-.*$", re.MULTILINE)
_HIGHLIGHTS = re.compile(r"\*[^\n*]*\*"), re.compile(r"\*\*[^\n*]*\*\*")
_CHOICES = ("My answer is yes.", "My answer is no.", "My answer is maybe.")


def strict(reply: str, constraints: Sequence[Constraint]) -> list[bool]:
    """Return for each constraint whether the reply follows it. BadConstraint names one that cannot be checked."""
    return [check(reply, name, arguments, OFFICIAL) for name, arguments in constraints]


def loose(reply: str, constraints: Sequence[Constraint]) -> list[bool]:
    """Return for each constraint whether one of eight forms of the reply follows it."""
    forms = list(dict.fromkeys(_forms(reply)))
    return [any(check(form, name, arguments, OFFICIAL) for form in forms) for name, arguments in constraints]


def _forms(reply: str) -> Iterator[str]:
    """Yield the reply, without its first line, without its last, without both, and each without asterisks."""
    lines = reply.split("\n")
    parts = [lines[1:], lines[:-1], lines[1:-1]]
    for form in (reply, *("\n".join(part).strip() for part in parts)):
        yield form
        yield form.replace("*", "")


def _hits(pattern: str, reply: str) -> int:
    """Count the matches of a keyword; the program reads keywords as regular expressions."""
    try:
        return len(re.findall(pattern, reply, re.IGNORECASE))
    except re.error:
        return len(re.findall(re.escape(pattern), reply, re.IGNORECASE))


def _existence(reply: str, keywords: Sequence[str]) -> bool:
    return all(_hits(keyword, reply) for keyword in keywords)


def _frequency(reply: str, keyword: str, frequency: int, relation: str) -> bool:
    return compare(_hits(keyword.strip(), reply), relation, frequency)


def _forbidden(reply: str, forbidden_words: Sequence[str]) -> bool:
    return not any(_hits(rf"\b{word}\b", reply) for word in forbidden_words)


def _language(reply: str, language: str) -> bool:
    """A text without words counts as followed."""
    return dominant(reply) in (None, language_code(language))


def _sentences(reply: str, num_sentences: int, relation: str) -> bool:
    return compare(count_sentences(reply), relation, num_sentences)


def _placeholders(reply: str, num_placeholders: int) -> bool:
    """Count spans from a bracket to the next closing one of the line, in linear time."""
    count = 0
    for line in reply.split("\n"):
        end = 0
        while (start := line.find("[", end)) >= 0 and (close := line.find("]", start)) >= 0:
            count, end = count + 1, close + 1
    return count >= num_placeholders


def _postscript(reply: str, postscript_marker: str) -> bool:
    known = {"P.P.S": r"p\.\s?p\.\s?s", "P.S.": r"p\.\s?s\."}
    marker = postscript_marker.strip()
    return bool(_hits(known.get(marker, marker.lower()), reply.lower()))


def _bullets(reply: str, num_bullets: int) -> bool:
    return sum(len(pattern.findall(reply)) for pattern in _BULLETS) == num_bullets


def _constrained(reply: str) -> bool:
    return any(choice in reply for choice in _CHOICES)


def _title(reply: str) -> bool:
    """A line has `<<`, a text and `>>`; brackets on the inner side of these belong to the text."""
    cuts = (line[line.find("<<") : line.rfind(">>") + 2] for line in reply.split("\n") if "<<" in line)
    return any(len(cut) > 4 and cut.lstrip("<").rstrip(">").strip() for cut in cuts)


def _first_word(reply: str, num_paragraphs: int, nth_paragraph: int, first_word: str) -> bool:
    """Of the quotes before a word, single ones are left out first, then double ones."""
    paragraphs = reply.split("\n\n")
    if sum(bool(each.strip()) for each in paragraphs) != num_paragraphs or nth_paragraph > num_paragraphs:
        return False
    words = paragraphs[nth_paragraph - 1].split()
    word = words[0].lstrip("'").lstrip('"') if words else ""
    return bool(words) and re.split(r"[.,?!'\"]", word)[0].lower() == first_word.lower()


def _highlights(reply: str, num_highlights: int) -> bool:
    """A bold span can count twice, as bold and as italic."""
    single, double = (pattern.findall(reply) for pattern in _HIGHLIGHTS)
    spans = [span.strip("*") for span in single] + [span[2:-2] for span in double]
    return sum(bool(span.strip()) for span in spans) >= num_highlights


def _capital_words(reply: str, capital_frequency: int, capital_relation: str) -> bool:
    return compare(count_capital_words(reply), capital_relation, capital_frequency)


OFFICIAL: Mapping[str, Checker] = {
    **CHECKERS,
    "keywords:existence": _existence,
    "keywords:frequency": _frequency,
    "keywords:forbidden_words": _forbidden,
    "language:response_language": _language,
    "length_constraints:number_sentences": _sentences,
    "length_constraints:nth_paragraph_first_word": _first_word,
    "detectable_content:number_placeholders": _placeholders,
    "detectable_content:postscript": _postscript,
    "detectable_format:number_bullet_lists": _bullets,
    "detectable_format:constrained_response": _constrained,
    "detectable_format:title": _title,
    "detectable_format:number_highlighted_sections": _highlights,
    "change_case:capital_word_frequency": _capital_words,
}
