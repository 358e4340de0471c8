"""How a completion is written: words of second thoughts, and which language its words are in."""

from __future__ import annotations

import re
from collections.abc import Sequence

# Words by which a model re-checks itself (paper, Extended Data Fig. 1), and how the sprout world says them in Chinese.
REFLECTIVE = re.compile(
    r"(?a:\b)(?:wait|mistake|however|but|retry|error|verify|wrong|evaluate|check)(?a:\b)|等等|错误|但是|不过|检查|验证",
    re.IGNORECASE,  # (?a:\b): a word may stand right beside a Chinese character
)
# A CJK character is about as much as a Latin word; digits, signs and single letters belong to no language.
LATIN_WORD = re.compile(r"[^\W\d_\u4e00-\u9fff]{2,}")
CJK = re.compile(r"[\u4e00-\u9fff]")
REPETITION_TOKENS = 1024  # of an answer's end


def reflective_words(text: str) -> int:
    return len(REFLECTIVE.findall(text))


def repetition(token_ids: Sequence[int]) -> float:
    """Share of the 4-grams of tokens that have come before; of the end alone, as who runs in circles stays in them."""
    tail = token_ids[-REPETITION_TOKENS:]
    grams = list(zip(*(tail[i:] for i in range(4)), strict=False))
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def chinese_share(text: str) -> float | None:
    """Share of words that are Chinese; None without any word."""
    chinese, latin = len(CJK.findall(text)), len(LATIN_WORD.findall(text))
    return chinese / (chinese + latin) if chinese + latin else None


def other_language_share(texts: Sequence[str], languages: Sequence[str]) -> float:
    """Mean share of words not in the language of the question ("en" or "zh"), over texts with words."""
    shares = []
    for text, language in zip(texts, languages, strict=True):
        if (chinese := chinese_share(text)) is not None:
            shares.append(1 - chinese if language == "zh" else chinese)
    return sum(shares) / len(shares) if shares else 0.0
