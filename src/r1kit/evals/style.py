"""Statistics of how a completion is written: reflective words, repetition and languages."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from r1kit.data.language.scripts import SCRIPTS

# Words with which a model checks itself (paper, Extended Data Fig. 1), and their Chinese forms in the sprout world.
REFLECTIVE = re.compile(
    r"(?a:\b)(?:wait|mistake|however|but|retry|error|verify|wrong|evaluate|check)(?a:\b)|等等|错误|但是|不过|检查|验证",
    re.IGNORECASE,  # (?a:\b): a word may be next to a Chinese character
)
# A CJK character counts as much as a word in another script; digits, signs and single letters belong to no language.
LATIN_WORD = re.compile(r"[^\W\d_\u4e00-\u9fff]{2,}")
CJK = re.compile(r"[\u4e00-\u9fff]")
REPETITION_TOKENS = 1024  # the last tokens of a completion


def reflective_words(text: str) -> int:
    """Return the number of reflective words."""
    return len(REFLECTIVE.findall(text))


def repetition(token_ids: Sequence[int]) -> float:
    """Return the share of 4-grams that occurred before, in the last REPETITION_TOKENS tokens.

    The end is enough, because a model that starts to repeat itself rarely stops.
    """
    tail = token_ids[-REPETITION_TOKENS:]
    grams = list(zip(*(tail[i:] for i in range(4)), strict=False))
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def other_language_share(texts: Sequence[str], languages: Sequence[str]) -> float:
    """Return the mean share of words in a script that is not the question language's, over texts with words.

    A word with letters of several scripts counts as such a word.

    Args:
        texts: Completions.
        languages: The language of each question, as an ISO 639-1 code.
    """
    shares = []
    for text, language in zip(texts, languages, strict=True):
        if words := CJK.findall(text) + LATIN_WORD.findall(text):
            is_own = _words_in_scripts_of(language).fullmatch
            shares.append(sum(is_own(word) is None for word in words) / len(words))
    return sum(shares) / len(shares) if shares else 0.0


@lru_cache
def _words_in_scripts_of(language: str) -> re.Pattern[str]:
    """Return the pattern of a word in the scripts of a language, with the same words as CJK and LATIN_WORD."""
    own = {name: script.characters for name, script in SCRIPTS.items() if language in script.languages}
    han = own.pop("Han", None)
    patterns = ([CJK.pattern] if han else []) + ([f"[{''.join(own.values())}]{{2,}}"] if own else [])
    return re.compile("|".join(patterns))
