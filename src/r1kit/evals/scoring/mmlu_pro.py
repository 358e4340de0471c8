"""MMLU-Pro: the letter that the official script reads from an answer (TIGER-AI-Lab/MMLU-Pro, evaluate_from_api.py).

Every step takes linear time; the official patterns are quadratic in texts without a match.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from typing import Any

from r1kit.evals.scoring.base import Groups, Options, Row, Scorer, answer_text, field, group_of, same, typed

_SENTENCE = re.compile(r"answer is \(?([A-J])\)?")  # stage 1
_LABEL = re.compile(r"(?=[aA]nswer:\s*([A-J]))")  # stage 2; the A of "Answer: Answer: B" is no letter
_ALONE = re.compile(r"\b[A-J]\b")  # stage 3


def letter_of(text: str, stages: int = 3) -> str | None:
    """Return the letter A to J that the first successful stage finds; None without one, never a guess.

    Stage 1 takes the first "answer is (X)". Stage 2 takes, from the first line with "Answer: X", the last of them.
    Stage 3 takes the last letter that stands alone; older versions of the script do not have it.
    """
    if match := _SENTENCE.search(text):
        return match[1]
    if letter := _labelled(text):
        return letter
    alone = _ALONE.findall(text) if stages == 3 else []
    return alone[-1] if alone else None


def _labelled(text: str) -> str | None:
    first = _LABEL.search(text)
    if first is None:
        return None
    end = text.find("\n", first.start())
    last = first
    for match in _LABEL.finditer(text, first.start()):
        if 0 <= end < match.start():
            break
        last = match
    return last[1]


class MmluPro(Scorer):
    """Scores `output` by `answer`, the right letter; `model` and `category` are optional."""

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._means = Groups()
        self._agreed: defaultdict[str, Counter[int]] = defaultdict(Counter)  # model -> stages -> rows

    def add(self, row: Row) -> None:
        """Score a row."""
        text, gold = answer_text(row), typed(row, str, "answer")
        letters = {stages: letter_of(text, stages) for stages in (3, 2)}
        model = group_of(row, "model")
        right = letters[3] == gold
        groups = {"models": model, "categories": group_of(row, "category")}
        self._means.add(groups, accuracy=right, unparsed=letters[3] is None)
        self.n += 1
        if self.against is not None:
            recorded = field(row, self.against)
            for stages, letter in letters.items():
                ours = letter == gold if isinstance(recorded, bool) else letter
                self._agreed[model or ""][stages] += same(recorded, ours)

    def agreement(self) -> float | None:
        """Return the share of equal letters; each model counts by the version of the script that recorded it.

        The official result files come from two versions, with two and with three stages. One version made all rows of
        a model: the one that agrees with more of them.
        """
        return None if self.against is None else sum(max(c.values()) for c in self._agreed.values()) / self.n

    def metrics(self) -> dict[str, Any]:
        """Return accuracy and the share of answers without a letter, in percent, by model and category."""
        metrics = self._means.percent()
        if self._agreed:
            metrics["recorded_stages"] = {
                model or "all": max(counts, key=lambda stages: (counts[stages], stages))
                for model, counts in self._agreed.items()
            }
        return metrics
