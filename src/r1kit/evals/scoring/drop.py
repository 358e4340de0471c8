"""DROP: exact match and F1 of lists of spans, as allennlp's scorer computes them (Dua et al. 2019, section 5)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from string import punctuation
from typing import Any, NamedTuple

from r1kit.data.store import DataError
from r1kit.evals.scoring.assignment import best_assignment
from r1kit.evals.scoring.base import Means, Options, Row, Scorer, field, shown, strings

_ARTICLE = re.compile(r"\b(?:a|an|the)\b")
_SEPARATOR = re.compile(r"[ -]")
_NO_PUNCTUATION = str.maketrans("", "", punctuation)
ROUNDING = 0.005 + 1e-9  # allennlp records F1 with two decimals


class DropScore(NamedTuple):
    """Exact match and F1, both from 0 to 1."""

    em: float
    f1: float


def normalise(span: str) -> str:
    """Return a span in lower case without punctuation and articles, with its numbers as floats."""
    tokens = (_normalise_token(token) for token in _SEPARATOR.split(span))
    return " ".join(token for token in tokens if token)


def _normalise_token(token: str) -> str:
    token = token.lower()
    if not _is_number(token):
        token = token.translate(_NO_PUNCTUATION)
    if _is_number(token):
        token = str(float(token))
    return " ".join(_ARTICLE.sub(" ", token).split())


def _is_number(token: str) -> bool:
    try:
        float(token)
    except ValueError:
        return False
    return True


def drop_score(predicted: Sequence[str], gold: Sequence[str]) -> DropScore:
    """Return EM and F1 of the predicted spans against one gold answer.

    F1 pairs spans one to one so that the sum of their F1 is largest, and divides by the longer list's length.
    """
    ours, theirs = [normalise(span) for span in predicted], [normalise(span) for span in gold]
    em = len(ours) == len(theirs) and set(ours) == set(theirs)
    table = [[_bag_f1(set(a.split()), set(b.split())) for b in ours] for a in theirs]
    longest = max(len(ours), len(theirs))
    return DropScore(float(em), best_assignment(table) / longest if longest else 1.0)


def best_score(predicted: Sequence[str], answers: Sequence[Sequence[str]]) -> DropScore:
    """Return the best EM and the best F1 over alternative gold answers; blank ones do not count."""
    scores = [drop_score(predicted, gold) for gold in answers if any(span.strip() for span in gold)]
    return DropScore(max((s.em for s in scores), default=0.0), max((s.f1 for s in scores), default=0.0))


def _bag_f1(gold: set[str], predicted: set[str]) -> float:
    """Return the F1 of two bags of tokens; 0 if the gold answer has numbers and none of them was predicted."""
    shared = gold & predicted
    gold_numbers = {token for token in gold if _is_number(token)}
    if gold_numbers and not gold_numbers & predicted:
        return 0.0
    precision = len(shared) / len(predicted) if predicted else 1.0
    recall = len(shared) / len(gold) if gold else 1.0
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


class Drop(Scorer):
    """Scores the spans `predicted`, a list or one text, by the spans `gold`."""

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._means = Means()

    def add(self, row: Row) -> None:
        """Score a row."""
        predicted, gold = (_spans(row, name) for name in ("predicted", "gold"))
        score = drop_score(predicted, gold)
        self._means.add(em=score.em, f1=score.f1)
        self.compare(row, {"f1": score.f1, "em": score.em}, ROUNDING)

    def metrics(self) -> dict[str, Any]:
        """Return EM and F1 in percent."""
        return self._means.percent()


def _spans(row: Row, name: str) -> list[str]:
    value = field(row, name)
    if not isinstance(value, str | list):
        raise DataError(f"{name} = {shown(value)}: must be a list of texts, or one text")
    return [value] if isinstance(value, str) else strings(row, name)
