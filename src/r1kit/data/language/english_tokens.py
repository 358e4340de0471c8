"""Sentences and words of English text as nltk counts them, without nltk.

Sentences follow punkt's rules for what ends one. Its learned lists of abbreviations and of words that start sentences
are replaced by short lists. Words follow nltk's Treebank tokenizer in what decides how many are in capitals.
"""

from __future__ import annotations

import re
from itertools import pairwise

# A mark ends a sentence before white space and a word, or before one of these signs: then also inside "**a.** b".
_END = re.compile(r"[.?!](?=[)\";}\]*:@'({\[!?]|\s+(\S))")
_SPACE = re.compile(r"\s")
_CLOSING = re.compile(r"[\"')\]}]+(?=\s|--|$)", re.MULTILINE)  # belong to the sentence before them
_LAST_WORD = re.compile(r"[^\s(\"`{\[:;&#*@)}\]]*$")
_LONGEST = 20  # characters of a word that are read
_NUMBER = re.compile(r"-?[.,]?\d[\d,.-]*\.")
_INITIAL = re.compile(r"[A-Z]\.")
_ABBREVIATION = re.compile(r"(?i:mr|mrs|ms|dr|prof|sr|jr|st|vs|etc|inc|ltd|co|no|fig|approx|dept|est|e\.g|i\.e)\.")
_SHORTENED = re.compile(r"(?i:(?:[a-z]\.)+[a-z])\.")  # a.m., U.S.
_STARTER = re.compile(
    r"\s+(?:The|This|That|These|Those|It|He|She|They|We|You|But|And|However|When|While|After|Since|There|If|In|On|At)\b"
)


def count_sentences(text: str) -> int:
    """Count sentences as punkt does: numbers of lists are sentences, and so is what follows the last end."""
    count = start = 0
    for mark, later in pairwise([*_END.finditer(text), None]):
        assert mark is not None, "only the last is None"
        if later is not None and not _SPACE.search(text, mark.end(), later.start()):
            continue  # of a run without white space, only the last mark counts
        if not _ends_sentence(text, mark):
            continue
        closing = _CLOSING.match(text, mark.end())
        count += bool(text[start : mark.end()].strip())
        start = closing.end() if closing else mark.end()
    return count + bool(text[start:].strip())


def _ends_sentence(text: str, mark: re.Match[str]) -> bool:
    if mark[0] != ".":
        return True
    end, next_letter = mark.end(), mark[1] or ""
    word = _LAST_WORD.search(text[max(0, end - _LONGEST) : end])
    token = word[0] if word else "."
    if token.endswith(".."):
        return next_letter.isupper()
    if _NUMBER.fullmatch(token):
        return not next_letter.islower()
    if _INITIAL.fullmatch(token):
        return False
    if _ABBREVIATION.fullmatch(token) or _SHORTENED.fullmatch(token):
        return _STARTER.match(text, end) is not None and not token[0].isupper()
    return True


_APART = re.compile(r"[\[\](){}<>;@#$%&?!*«»“”„‘’`\"]|[,:](?=\D)|\.{2,}|--|''")
_CLITIC = re.compile(r"(?<=[^'\s])(?='(?:[sSmMdD]?|ll|LL|re|RE|ve|VE)(?!\S))|(?<=[^'\s])(?=(?:n't|N'T)(?!\S))")
_TWO_WORDS = re.compile(r"\b(can|gim|gon|got|lem|wan)(not|me|na|ta)\b", re.IGNORECASE)
_PAIRS = frozenset({"cannot", "gimme", "gonna", "gotta", "lemme", "wanna"})


def count_capital_words(text: str) -> int:
    """Count the tokens whose letters are all capitals: "AND/OR" and "U.S." are one, "DON'T" and "CANNOT" are two."""
    text = _APART.sub(" ", text)
    text = _TWO_WORDS.sub(lambda match: f"{match[1]} {match[2]}" if match[0].lower() in _PAIRS else match[0], text)
    return sum(token.isupper() for token in _CLITIC.sub(" ", text).split())
