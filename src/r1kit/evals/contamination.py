"""Find texts that overlap with evaluation sets: n words in a row (paper: 10), or a complete shorter question.

Words are compared without case, punctuation and white space. Each Chinese, Japanese or Korean character counts as a
word. Paraphrases are not found; the paper's filter does not find them either.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence

from r1kit.types import Problem

_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W_\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+")


class Contamination:
    """An index of evaluation sets.

    Args:
        benchmarks: Name -> problems. Their questions are indexed.
        n: Number of words in a row that count as an overlap.
    """

    def __init__(self, benchmarks: Mapping[str, Sequence[Problem]], n: int = 10) -> None:
        self.n = n
        self._by_ngram: dict[bytes, str] = {}  # hash -> the first benchmark that contains the n-gram
        self._by_short_question: dict[str, str] = {}  # questions with fewer than n words
        for name, problems in benchmarks.items():
            for problem in problems:
                if len(_words(problem.question)) < n:
                    self._by_short_question.setdefault(normalize(problem.question), name)
                for ngram in self._ngrams(problem.question):
                    self._by_ngram.setdefault(ngram, name)

    def find(self, *texts: str) -> str | None:
        """Return the name of the first benchmark that one of the texts overlaps with, or None."""
        for text in texts:
            if (name := self._by_short_question.get(normalize(text))) is not None:
                return name
            for ngram in self._ngrams(text):
                if (name := self._by_ngram.get(ngram)) is not None:
                    return name
        return None

    def _ngrams(self, text: str) -> Iterator[bytes]:
        words = _words(text)
        for start in range(len(words) - self.n + 1):
            ngram = "\0".join(words[start : start + self.n])
            yield hashlib.blake2b(ngram.encode(errors="replace"), digest_size=8).digest()


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def normalize(text: str) -> str:
    """Remove differences in case and white space. Signs are kept: 7+6 is a different question from 7*6."""
    return " ".join(text.casefold().split())
