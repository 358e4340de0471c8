"""Find texts that overlap with evaluation sets: n words in a row (paper: 10), or a complete shorter question.

Words are compared without case, punctuation and white space. Each Chinese, Japanese or Korean character counts as a
word. Paraphrases are not found; the paper's filter does not find them either.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from r1kit.types import Problem

_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W_\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+")


class Match(NamedTuple):
    """What a text has in common with an evaluation set."""

    benchmark: str
    problem: Problem
    text: str  # all that is in common at one place, without case


class Contamination:
    """An index of evaluation sets.

    Args:
        benchmarks: Name -> problems. Their questions are indexed.
        n: Number of words in a row that count as an overlap.
        answers: Whether the reference answers are indexed too, if they have n words.
    """

    def __init__(self, benchmarks: Mapping[str, Sequence[Problem]], n: int = 10, answers: bool = False) -> None:
        self.n = n
        self._by_ngram: dict[bytes, tuple[str, Problem]] = {}  # hash -> the first benchmark that contains the n-gram
        self._by_short_question: dict[str, tuple[str, Problem]] = {}  # questions with fewer than n words
        for name, problems in benchmarks.items():
            for problem in problems:
                place = name, problem
                if len(_words(problem.question)) < n:
                    self._by_short_question.setdefault(normalize(problem.question), place)
                for text in (problem.question, problem.answer) if answers else (problem.question,):
                    for ngram in self._ngrams(_words(text)):
                        self._by_ngram.setdefault(ngram, place)

    def find(self, *texts: str) -> str | None:
        """Return the name of the first benchmark that one of the texts overlaps with, or None."""
        match = self.match(*texts)
        return None if match is None else match.benchmark

    def match(self, *texts: str) -> Match | None:
        """Return the first overlap of one of the texts, or None."""
        for text in texts:
            if (place := self._by_short_question.get(short := normalize(text))) is not None:
                return Match(*place, short)
            places = [self._by_ngram.get(ngram) for ngram in self._ngrams(_words(text))]
            first = next((i for i, place in enumerate(places) if place is not None), None)
            if first is not None and (place := places[first]) is not None:
                last = next((i for i, other in enumerate(places[first:], first) if other is None), len(places))
                return Match(*place, _span(text, first, last + self.n - 2))
        return None

    def _ngrams(self, words: Sequence[str]) -> Iterator[bytes]:
        for start in range(len(words) - self.n + 1):
            ngram = "\0".join(words[start : start + self.n])
            yield hashlib.blake2b(ngram.encode(errors="replace"), digest_size=8).digest()


def check_rows(rows: Iterable[Mapping[str, Any]], contamination: Contamination) -> dict[str, Any]:
    """Return {"rows", "contaminated", "benchmarks", "matches"} for the rows of a file: every text in them is compared.

    `benchmarks` counts rows by benchmark. `matches` has a row number, from 1, for each contaminated row.
    """
    matches, counts, number = [], Counter[str](), 0
    for number, row in enumerate(rows, start=1):
        if (match := contamination.match(*_texts(row))) is not None:
            counts[match.benchmark] += 1
            question = match.problem.question
            matches.append({"row": number, "benchmark": match.benchmark, "question": question, "match": match.text})
    by_benchmark = dict(counts.most_common())
    return {"rows": number, "contaminated": len(matches), "benchmarks": by_benchmark, "matches": matches}


def _texts(value: Any) -> Iterator[str]:
    """Yield every text in a row, also inside lists and objects, such as messages."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from (text for each in value.values() for text in _texts(each))
    elif isinstance(value, list | tuple):
        yield from (text for each in value for text in _texts(each))


def _span(text: str, first: int, last: int) -> str:
    """Return the text from one word to another, both by their index."""
    folded = text.casefold()
    words = list(_WORD.finditer(folded))
    return folded[words[first].start() : words[last].end()]


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def normalize(text: str) -> str:
    """Remove differences in case and white space. Signs are kept: 7+6 is a different question from 7*6."""
    return " ".join(text.casefold().split())
