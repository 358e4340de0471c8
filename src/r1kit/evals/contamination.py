"""What a text has in common with evaluation sets: n words in a row (paper: 10), or a whole question that is shorter.

Words are compared without case, signs or white space; a Chinese, Japanese or Korean character counts as a word. Texts
that say the same in other words are not found: the paper's filter does not find them either.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence

from r1kit.types import Problem

WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W_\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+")


class Contamination:
    """The evaluation sets, ready to be looked up."""

    def __init__(self, benchmarks: Mapping[str, Sequence[Problem]], n: int = 10):
        self.n = n
        self._grams: dict[bytes, str] = {}  # of n words -> the first benchmark that has them
        self._short: dict[str, str] = {}  # a whole question of fewer words
        for name, problems in benchmarks.items():
            for problem in problems:
                if len(words(problem.question)) < n:
                    self._short.setdefault(squeeze(problem.question), name)
                for gram in self._of(problem.question):
                    self._grams.setdefault(gram, name)

    def find(self, *texts: str) -> str | None:
        """The benchmark that one of the texts has something in common with."""
        for text in texts:
            if (name := self._short.get(squeeze(text))) is not None:
                return name
            for gram in self._of(text):
                if (name := self._grams.get(gram)) is not None:
                    return name
        return None

    def _of(self, text: str) -> Iterator[bytes]:
        found = words(text)
        for start in range(len(found) - self.n + 1):
            gram = "\0".join(found[start : start + self.n])
            yield hashlib.blake2b(gram.encode(errors="replace"), digest_size=8).digest()


def words(text: str) -> list[str]:
    return WORD.findall(text.casefold())


def squeeze(text: str) -> str:
    """One text for all that differ in case and white space only. Signs count: 7+6 is another question than 7*6."""
    return " ".join(text.casefold().split())
