"""Instruction constraints that a program can check: the 25 kinds of IFEval, by its names and keyword arguments.

Strict as in that benchmark: the reply is judged as it stands, and an empty one keeps no constraint (arXiv 2311.07911).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from r1kit.rewards.language.identify import code_of, dominant

LONGEST = 100_000  # characters of a reply

# A sentence ends at these, closing quotes included, before white space or the end of the text.
_SENTENCE_END = re.compile(r"[.!?…]+[\"'”’)\]]*(?=\s|$)|[。！？]+")
_ABBREVIATION = re.compile(
    r"(?:\b(?i:mr|mrs|ms|dr|prof|sr|jr|st|vs|etc|inc|ltd|co|no|fig|approx|dept|est|e\.g|i\.e|a\.m|p\.m|u\.s)|\b[A-Z])\.$"
)
_LIST_NUMBER = re.compile(r"(?:^|\n)\s*\d{1,3}\.$")
_TOKEN = re.compile(r"\w+(?:[.'’-]\w+)*")
_CHOICES = ("my answer is yes.", "my answer is no.", "my answer is maybe.")

Checker = Callable[..., bool]
CHECKERS: dict[str, Checker] = {}


class BadConstraint(ValueError):
    """A constraint that does not exist, or whose arguments are missing or of the wrong type."""


def check_all(reply: str, constraints: Sequence[tuple[str, Mapping[str, Any]]]) -> list[bool]:
    """Whether the reply keeps each (name, arguments). BadConstraint names the one that cannot be checked."""
    return [check(reply, name, arguments) for name, arguments in constraints]


def check(reply: str, name: str, arguments: Mapping[str, Any]) -> bool:
    if name not in CHECKERS:
        full = [one for one in CHECKERS if one.partition(":")[2] == name]
        name = full[0] if len(full) == 1 else name
    if name not in CHECKERS:
        raise BadConstraint(f"unknown constraint {name!r}: use one of {', '.join(sorted(CHECKERS))}")
    given = {key: value for key, value in arguments.items() if value is not None}
    try:
        return bool(reply.strip()) and len(reply) <= LONGEST and bool(CHECKERS[name](reply, **given))
    except (TypeError, AttributeError, ValueError) as error:  # of arguments: a reply is always text
        raise BadConstraint(f"constraint {name} with {given}: {error}") from error


def pairs_of(constraints: object, kwargs: object = None) -> list[tuple[str, Mapping[str, Any]]]:
    """Constraints in any form data sets have them in. BadConstraint when it is none.

    Beside `kwargs` a list of names; else a list of names, of [name, arguments], or of objects with the name under
    "id", "type", "name" or "instruction_id" and the arguments under "kwargs" or beside it; or {name: arguments}.
    """
    if isinstance(constraints, Mapping) and "instruction_id_list" in constraints:
        return pairs_of(constraints["instruction_id_list"], constraints.get("kwargs"))
    if isinstance(constraints, str):
        constraints = [constraints]
    if isinstance(constraints, Mapping):
        constraints = [constraints] if set(_NAME_KEYS) & set(constraints) else list(constraints.items())
    if not isinstance(constraints, Sequence) or not constraints:
        raise BadConstraint(f"no constraints in {constraints!r}: give a list of names with their arguments")
    if isinstance(kwargs, Sequence):
        if len(kwargs) != len(constraints):
            raise BadConstraint(f"{len(constraints)} constraints but {len(kwargs)} sets of arguments")
        return [(str(name), dict(arguments or {})) for name, arguments in zip(constraints, kwargs, strict=True)]
    return [_pair(item) for item in constraints]


_NAME_KEYS = ("id", "type", "name", "instruction_id")


def _pair(item: object) -> tuple[str, Mapping[str, Any]]:
    if isinstance(item, str):
        return item, {}
    if isinstance(item, Mapping) and (key := next((key for key in _NAME_KEYS if key in item), None)):
        beside = {name: value for name, value in item.items() if name not in (key, "kwargs")}
        return str(item[key]), {**beside, **(item.get("kwargs") or {})}
    if isinstance(item, Sequence) and len(item) == 2 and isinstance(item[1], Mapping | None):
        return str(item[0]), item[1] or {}
    raise BadConstraint(f"{item!r} is no constraint: give a name, or a name and its arguments")


def _kind(name: str) -> Callable[[Checker], Checker]:
    def register(checker: Checker) -> Checker:
        CHECKERS[name] = checker
        return checker

    return register


def _compare(count: int, relation: str, wanted: int) -> bool:
    if relation not in ("at least", "less than"):
        raise ValueError(f"relation {relation!r}: use 'at least' or 'less than'")
    return count >= wanted if relation == "at least" else count < wanted


def count_sentences(text: str) -> int:
    """Sentences by their ends. Abbreviations, initials and the numbers of a list end none."""
    count = start = 0
    for end in _SENTENCE_END.finditer(text):
        so_far = text[max(start, end.start() - 20) : end.end()]
        if _ABBREVIATION.search(so_far) or _LIST_NUMBER.search(text[max(0, end.start() - 20) : end.end()]):
            continue
        count += any(map(str.isalnum, text[start : end.start()]))
        start = end.end()
    return count + any(map(str.isalnum, text[start:]))


# -- the kinds -----------------------------------------------------------------------------------------------------


@_kind("keywords:existence")
def _existence(reply: str, keywords: Sequence[str]) -> bool:
    return all(_count(keyword, reply) for keyword in _strings(keywords))


@_kind("keywords:frequency")
def _frequency(reply: str, keyword: str, frequency: int, relation: str) -> bool:
    return _compare(_count(keyword, reply), relation, frequency)


@_kind("keywords:forbidden_words")
def _forbidden(reply: str, forbidden_words: Sequence[str]) -> bool:
    return not any(
        re.search(rf"\b{re.escape(word.strip())}\b", reply, re.IGNORECASE) for word in _strings(forbidden_words)
    )


@_kind("keywords:letter_frequency")
def _letters(reply: str, letter: str, let_frequency: int, let_relation: str) -> bool:
    return _compare(reply.lower().count(letter.lower()), let_relation, let_frequency)


@_kind("language:response_language")
def _language(reply: str, language: str) -> bool:
    return dominant(reply) == code_of(language)


@_kind("length_constraints:number_sentences")
def _sentences(reply: str, num_sentences: int, relation: str) -> bool:
    return _compare(count_sentences(reply), relation, num_sentences)


@_kind("length_constraints:number_words")
def _words(reply: str, num_words: int, relation: str) -> bool:
    return _compare(len(re.findall(r"\w+", reply)), relation, num_words)


@_kind("length_constraints:number_paragraphs")
def _paragraphs(reply: str, num_paragraphs: int) -> bool:
    """Paragraphs are set apart by the divider ***."""
    return _parts(reply, "***") == num_paragraphs


@_kind("length_constraints:nth_paragraph_first_word")
def _first_word(reply: str, num_paragraphs: int, nth_paragraph: int, first_word: str) -> bool:
    """Paragraphs are set apart by a blank line."""
    paragraphs = reply.split("\n\n")
    if sum(bool(paragraph.strip()) for paragraph in paragraphs) != num_paragraphs or nth_paragraph > len(paragraphs):
        return False
    words = paragraphs[nth_paragraph - 1].split()
    return bool(words) and re.split(r"[.,?!'\"]", words[0].lstrip("'\""))[0].lower() == first_word.lower()


@_kind("detectable_content:number_placeholders")
def _placeholders(reply: str, num_placeholders: int) -> bool:
    return len(re.findall(r"\[[^\[\]\n]*\]", reply)) >= num_placeholders


@_kind("detectable_content:postscript")
def _postscript(reply: str, postscript_marker: str) -> bool:
    """The marker, its letters with or without spaces between: P.S., P. S., P.P.S."""
    letters = [re.escape(letter) for letter in re.findall(r"\w", postscript_marker)]
    dotted = r"\.\s?".join(letters) if "." in postscript_marker else re.escape(postscript_marker)
    dotted += r"\." if postscript_marker.strip().endswith(".") else ""
    return bool(re.search(rf"(?<!\w){dotted}", reply, re.IGNORECASE))


@_kind("detectable_format:number_bullet_lists")
def _bullets(reply: str, num_bullets: int) -> bool:
    return len(re.findall(r"^[^\S\n]*(?:\*[^*\n]|-)", reply, re.MULTILINE)) == num_bullets


@_kind("detectable_format:constrained_response")
def _constrained(reply: str) -> bool:
    return any(choice in reply.lower() for choice in _CHOICES)


@_kind("detectable_format:number_highlighted_sections")
def _highlights(reply: str, num_highlights: int) -> bool:
    """*section* and **section** in Markdown; what is within is not blank."""
    found = re.findall(r"\*\*([^\n*]+)\*\*|\*([^\n*]+)\*", reply)
    return sum(bool((double or single).strip()) for double, single in found) >= num_highlights


@_kind("detectable_format:multiple_sections")
def _sections(reply: str, section_spliter: str, num_sections: int) -> bool:
    return len(re.findall(rf"{re.escape(section_spliter.strip())}\s?\d+", reply)) >= num_sections


@_kind("detectable_format:json_format")
def _json(reply: str) -> bool:
    body = re.sub(r"^```(?:json)?|```$", "", reply.strip(), flags=re.IGNORECASE)
    try:
        json.loads(body)
    except (ValueError, RecursionError):
        return False
    return True


@_kind("detectable_format:title")
def _title(reply: str) -> bool:
    """<<A title>>, on one line."""
    cuts = ((line, line.find("<<"), line.rfind(">>")) for line in reply.splitlines())
    return any(0 <= start < end and line[start:end].strip("<> \t") for line, start, end in cuts)


@_kind("combination:two_responses")
def _two_responses(reply: str) -> bool:
    """Two different answers, set apart by six asterisks."""
    return _parts(reply, "******") == 2 and len({part.strip() for part in reply.split("******") if part.strip()}) == 2


@_kind("combination:repeat_prompt")
def _repeat(reply: str, prompt_to_repeat: str) -> bool:
    return reply.strip().lower().startswith(prompt_to_repeat.strip().lower())


@_kind("startend:end_checker")
def _end(reply: str, end_phrase: str) -> bool:
    return reply.strip().strip('"').lower().endswith(end_phrase.strip().lower())


@_kind("startend:quotation")
def _quoted(reply: str) -> bool:
    text = reply.strip()
    return len(text) > 1 and text[0] == text[-1] == '"'


@_kind("change_case:capital_word_frequency")
def _capital_words(reply: str, capital_frequency: int, capital_relation: str) -> bool:
    return _compare(sum(word.isupper() for word in _TOKEN.findall(reply)), capital_relation, capital_frequency)


@_kind("change_case:english_capital")
def _capital(reply: str) -> bool:
    return reply.isupper() and dominant(reply.lower()) == "en"


@_kind("change_case:english_lowercase")
def _lowercase(reply: str) -> bool:
    return reply.islower() and dominant(reply) == "en"


@_kind("punctuation:no_comma")
def _no_comma(reply: str) -> bool:
    return "," not in reply


def _count(keyword: str, text: str) -> int:
    return text.lower().count(keyword.strip().lower())


def _strings(values: Sequence[str]) -> Sequence[str]:
    if isinstance(values, str) or not all(isinstance(value, str) for value in values):
        raise TypeError(f"{values!r} must be a list of words")
    return values


def _parts(text: str, divider: str) -> int:
    """How many parts a divider makes; 0 when one between two dividers is blank."""
    parts = [bool(part.strip()) for part in text.split(divider)]
    return sum(parts) if all(parts[1:-1]) else 0
