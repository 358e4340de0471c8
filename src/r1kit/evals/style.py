"""Statistics of how a completion is written: reflective words, repetition and languages."""

from __future__ import annotations

import re
from collections.abc import Sequence

# Words with which a model checks itself (paper, Extended Data Fig. 1), and their Chinese forms in the sprout world.
REFLECTIVE = re.compile(
    r"(?a:\b)(?:wait|mistake|however|but|retry|error|verify|wrong|evaluate|check)(?a:\b)|等等|错误|但是|不过|检查|验证",
    re.IGNORECASE,  # (?a:\b): a word may be next to a Chinese character
)
# A CJK character counts as much as a Latin word; digits, signs and single letters belong to no language.
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


def chinese_share(text: str) -> float | None:
    """Return the share of words that are Chinese; None without words."""
    chinese, latin = len(CJK.findall(text)), len(LATIN_WORD.findall(text))
    return chinese / (chinese + latin) if chinese + latin else None


def other_language_share(texts: Sequence[str], languages: Sequence[str]) -> float:
    """Return the mean share of words that are not in the question's language, over texts with words.

    Args:
        texts: Completions.
        languages: The language of each question, "en" or "zh".
    """
    shares = []
    for text, language in zip(texts, languages, strict=True):
        if (chinese := chinese_share(text)) is not None:
            shares.append(1 - chinese if language == "zh" else chinese)
    return sum(shares) / len(shares) if shares else 0.0
