"""The 25 kinds of constraints of IFEval (arXiv 2311.07911), by its names and keyword arguments."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence

from r1kit.data.language.identify import dominant, language_code

# The end of a sentence, with closing quotes, before white space or the end of the text.
SENTENCE_END = re.compile(r"(?<![.!?…])[.!?…]+[\"'”’)\]]*(?=\s|$)|[。！？]+")
ABBREVIATION = re.compile(
    r"(?:\b(?i:mr|mrs|ms|dr|prof|sr|jr|st|vs|etc|inc|ltd|co|no|fig|approx|dept|est|e\.g|i\.e|a\.m|p\.m|u\.s)|\b[A-Z])\.$"
)
_LIST_NUMBER = re.compile(r"(?:^|\n)\s*\d{1,3}\.$")
_TOKEN = re.compile(r"\w+(?:[.'’-]\w+)*")
_CHOICES = ("my answer is yes.", "my answer is no.", "my answer is maybe.")

Checker = Callable[..., bool]  # (reply, keyword arguments of the constraint) -> kept
CHECKERS: dict[str, Checker] = {}  # name of a constraint -> its check


def _constraint(name: str) -> Callable[[Checker], Checker]:
    def register(checker: Checker) -> Checker:
        CHECKERS[name] = checker
        return checker

    return register


def compare(count: int, relation: str, required: int) -> bool:
    """Return whether a count is "at least" or "less than" what is required. ValueError for other relations."""
    if relation not in ("at least", "less than"):
        raise ValueError(f"relation = {relation!r}: must be 'at least' or 'less than'")
    return count >= required if relation == "at least" else count < required


def count_sentences(text: str) -> int:
    """Count sentences by their ends. Abbreviations, initials and list numbers do not end one."""
    count = start = 0
    for end in SENTENCE_END.finditer(text):
        so_far = text[max(start, end.start() - 20) : end.end()]
        if ABBREVIATION.search(so_far) or _LIST_NUMBER.search(text[max(0, end.start() - 20) : end.end()]):
            continue
        count += any(map(str.isalnum, text[start : end.start()]))
        start = end.end()
    return count + any(map(str.isalnum, text[start:]))


@_constraint("keywords:existence")
def _existence(reply: str, keywords: Sequence[str]) -> bool:
    return all(_count(keyword, reply) for keyword in _strings(keywords))


@_constraint("keywords:frequency")
def _frequency(reply: str, keyword: str, frequency: int, relation: str) -> bool:
    return compare(_count(keyword, reply), relation, frequency)


@_constraint("keywords:forbidden_words")
def _forbidden(reply: str, forbidden_words: Sequence[str]) -> bool:
    return not any(
        re.search(rf"\b{re.escape(word.strip())}\b", reply, re.IGNORECASE) for word in _strings(forbidden_words)
    )


@_constraint("keywords:letter_frequency")
def _letters(reply: str, letter: str, let_frequency: int, let_relation: str) -> bool:
    return compare(reply.lower().count(letter.lower()), let_relation, let_frequency)


@_constraint("language:response_language")
def _language(reply: str, language: str) -> bool:
    return dominant(reply) == language_code(language)


@_constraint("length_constraints:number_sentences")
def _sentences(reply: str, num_sentences: int, relation: str) -> bool:
    return compare(count_sentences(reply), relation, num_sentences)


@_constraint("length_constraints:number_words")
def _words(reply: str, num_words: int, relation: str) -> bool:
    return compare(len(re.findall(r"\w+", reply)), relation, num_words)


@_constraint("length_constraints:number_paragraphs")
def _paragraphs(reply: str, num_paragraphs: int) -> bool:
    """The divider *** separates paragraphs."""
    return _parts(reply, "***") == num_paragraphs


@_constraint("length_constraints:nth_paragraph_first_word")
def _first_word(reply: str, num_paragraphs: int, nth_paragraph: int, first_word: str) -> bool:
    """A blank line separates paragraphs."""
    paragraphs = reply.split("\n\n")
    if sum(bool(paragraph.strip()) for paragraph in paragraphs) != num_paragraphs or nth_paragraph > len(paragraphs):
        return False
    words = paragraphs[nth_paragraph - 1].split()
    return bool(words) and re.split(r"[.,?!'\"]", words[0].lstrip("'\""))[0].lower() == first_word.lower()


@_constraint("detectable_content:number_placeholders")
def _placeholders(reply: str, num_placeholders: int) -> bool:
    return len(re.findall(r"\[[^\[\]\n]*\]", reply)) >= num_placeholders


@_constraint("detectable_content:postscript")
def _postscript(reply: str, postscript_marker: str) -> bool:
    """Accept the marker with or without spaces between its letters: P.S., P. S., P.P.S."""
    letters = [re.escape(letter) for letter in re.findall(r"\w", postscript_marker)]
    dotted = r"\.\s?".join(letters) if "." in postscript_marker else re.escape(postscript_marker)
    dotted += r"\." if postscript_marker.strip().endswith(".") else ""
    return bool(re.search(rf"(?<!\w){dotted}", reply, re.IGNORECASE))


@_constraint("detectable_format:number_bullet_lists")
def _bullets(reply: str, num_bullets: int) -> bool:
    return len(re.findall(r"^[^\S\n]*(?:\*[^*\n]|-)", reply, re.MULTILINE)) == num_bullets


@_constraint("detectable_format:constrained_response")
def _constrained(reply: str) -> bool:
    return any(choice in reply.lower() for choice in _CHOICES)


@_constraint("detectable_format:number_highlighted_sections")
def _highlights(reply: str, num_highlights: int) -> bool:
    """Count *section* and **section** in Markdown, if not blank inside."""
    sections = re.findall(r"\*\*([^\n*]+)\*\*|\*([^\n*]+)\*", reply)
    return sum(bool((double or single).strip()) for double, single in sections) >= num_highlights


@_constraint("detectable_format:multiple_sections")
def _sections(reply: str, section_spliter: str, num_sections: int) -> bool:
    return len(re.findall(rf"{re.escape(section_spliter.strip())}\s?\d+", reply)) >= num_sections


@_constraint("detectable_format:json_format")
def _json(reply: str) -> bool:
    body = re.sub(r"^```(?:json)?|```$", "", reply.strip(), flags=re.IGNORECASE)
    try:
        json.loads(body)
    except (ValueError, RecursionError):
        return False
    return True


@_constraint("detectable_format:title")
def _title(reply: str) -> bool:
    """Find <<a title>> on one line."""
    cuts = ((line, line.find("<<"), line.rfind(">>")) for line in reply.splitlines())
    return any(0 <= start < end and line[start:end].strip("<> \t") for line, start, end in cuts)


@_constraint("combination:two_responses")
def _two_responses(reply: str) -> bool:
    """Two different answers, separated by six asterisks."""
    return _parts(reply, "******") == 2 and len({part.strip() for part in reply.split("******") if part.strip()}) == 2


@_constraint("combination:repeat_prompt")
def _repeat(reply: str, prompt_to_repeat: str) -> bool:
    return reply.strip().lower().startswith(prompt_to_repeat.strip().lower())


@_constraint("startend:end_checker")
def _end(reply: str, end_phrase: str) -> bool:
    return reply.strip().strip('"').lower().endswith(end_phrase.strip().lower())


@_constraint("startend:quotation")
def _quoted(reply: str) -> bool:
    text = reply.strip()
    return len(text) > 1 and text[0] == text[-1] == '"'


@_constraint("change_case:capital_word_frequency")
def _capital_words(reply: str, capital_frequency: int, capital_relation: str) -> bool:
    return compare(sum(word.isupper() for word in _TOKEN.findall(reply)), capital_relation, capital_frequency)


@_constraint("change_case:english_capital")
def _capital(reply: str) -> bool:
    return reply.isupper() and dominant(reply.lower()) == "en"


@_constraint("change_case:english_lowercase")
def _lowercase(reply: str) -> bool:
    return reply.islower() and dominant(reply) == "en"


@_constraint("punctuation:no_comma")
def _no_comma(reply: str) -> bool:
    return "," not in reply


def _count(keyword: str, text: str) -> int:
    return text.lower().count(keyword.strip().lower())


def _strings(values: Sequence[str]) -> Sequence[str]:
    if isinstance(values, str) or not all(isinstance(value, str) for value in values):
        raise TypeError(f"{values!r}: must be a list of words")
    return values


def _parts(text: str, divider: str) -> int:
    """Count the parts that a divider makes; 0 if a part between two dividers is blank."""
    parts = [bool(part.strip()) for part in text.split(divider)]
    return sum(parts) if all(parts[1:-1]) else 0
