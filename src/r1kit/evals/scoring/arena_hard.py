"""Arena-Hard: verdicts of judges, and scores of models from battles (lmarena/arena-hard-auto, v0.1)."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from math import sqrt
from typing import Any

import numpy as np

from r1kit.data.store import DataError
from r1kit.evals.metrics import Z95
from r1kit.evals.scoring import bradley_terry
from r1kit.evals.scoring.base import Options, Row, Scorer, numbers, typed

_VERDICT = re.compile(r"\[\[([AB<>=]+)\]\]")
_MIRRORED = {"A<B": "B>A", "A<<B": "B>>A", "B<A": "A>B", "B<<A": "A>>B", "B=A": "A=B"}
STRONG = 3  # battles that a verdict such as A>>B counts
DRAWS = 1_000  # of the bootstrap; the official script draws 100
SEED = 42


def verdict_of(text: str) -> str | None:
    """Return the verdict of a judge, such as "A>>B"; None without one or with several that differ (rule of v0.1)."""
    verdicts = set(_VERDICT.findall(text))
    return verdicts.pop() if len(verdicts) == 1 else None


def battles_of(verdict: str | None, model: str) -> list[float]:
    """Return the battles that a verdict counts: 1 if the model wins, 0.5 for a tie, 0 if the baseline wins.

    Args:
        verdict: From `verdict_of`; unknown ones count no battle.
        model: The model's place in the game, "A" or "B".
    """
    verdict = _MIRRORED.get(verdict or "", verdict)
    if verdict == "A=B":
        return [0.5]
    if verdict not in ("A>B", "A>>B", "B>A", "B>>A"):
        return []
    return [float(verdict[0] == model)] * (STRONG if ">>" in verdict else 1)


class ArenaHard(Scorer):
    """Scores `model` against `baseline` by `scores`, the battles of a question: 1, 0.5 or 0.

    With `style` in every row, {"model": counts, "baseline": counts} as in `bradley_terry.style_difference`, there is
    also a score at equal style.
    """

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._battles: Counter[tuple[str, str, float]] = Counter()
        self._anchor: str | None = None
        self._styled: list[tuple[tuple[str, str, float], list[float]]] = []  # battles with their difference in style
        # (model, baseline) -> questions, and sums over questions of: wins, battles, wins^2, wins * battles, battles^2
        self._moments: defaultdict[tuple[str, str], list[float]] = defaultdict(lambda: [0.0] * 6)

    def add(self, row: Row) -> None:
        """Count the battles of a row."""
        model, baseline = typed(row, str, "model"), typed(row, str, "baseline")
        scores = numbers(row, "scores")
        if wrong := [score for score in scores if score not in (0, 0.5, 1)]:
            raise DataError(f"scores contains {wrong[0]}: must be 1 (the model wins), 0.5 or 0")
        self._anchor = self._anchor or baseline
        if "style" in row:
            difference = _style_difference(typed(row, dict, "style"))
            self._styled += [((model, baseline, float(score)), difference) for score in scores]
        for score in scores:
            self._battles[model, baseline, float(score)] += 1
        if scores:
            w, c = sum(scores), len(scores)
            sums = self._moments[model, baseline]
            self._moments[model, baseline] = [a + b for a, b in zip(sums, (1, w, c, w * w, w * c, c * c), strict=True)]
        self.compare(row, {"scores": scores})

    def metrics(self) -> dict[str, Any]:
        """Return for each model its score in percent with two intervals of 95 %, and its Elo rating.

        The score is the probability to beat the baseline in the Bradley-Terry model; between one model and its
        baseline alone it is the share of battles won. `ci95` resamples battles, as the official script does.
        `ci95_by_question` does not count the battles of a question as independent.
        """
        if self._anchor is None or not self._battles:
            return {"models": {}}
        ratings = bradley_terry.fit(self._battles, self._anchor)
        draws = bradley_terry.bootstrap(self._battles, self._anchor, DRAWS, SEED)
        models: dict[str, Any] = {}
        for model in ratings.models:
            if model == self._anchor:
                continue
            rates = [draw.win_rate(model) for draw in draws]
            models[model] = {
                "score": ratings.win_rate(model),
                "ci95": [float(bound) for bound in np.percentile(rates, [2.5, 97.5])],
                **self._clustered(model),
                "elo": ratings.elo(model),
                "battles": sum(count for (name, _, _), count in self._battles.items() if name == model),
            }
        metrics: dict[str, Any] = {"baseline": self._anchor, "models": models}
        if len(self._styled) == self._battles.total():
            at_equal_style = self._fit_style(self._anchor)
            for model, scores in models.items():
                scores["score_at_equal_style"] = at_equal_style.win_rate(model)
        if extreme := bradley_terry.undefeated(self._battles):
            metrics["half_wins_added_for"] = extreme
        return metrics

    def _fit_style(self, anchor: str) -> bradley_terry.Ratings:
        battles, differences = zip(*self._styled, strict=True)
        return bradley_terry.fit_with_style(battles, np.array(differences), anchor)[0]

    def _clustered(self, model: str) -> dict[str, list[float]]:
        """Return the interval that treats a question as one observation, for a model that met only the baseline."""
        if [pair for pair in self._moments if model in pair] != [(model, self._anchor)]:
            return {}
        questions, won, battles, ww, wc, cc = self._moments[model, self._anchor or ""]
        share = won / battles
        spread = max(0.0, ww - 2 * share * wc + share * share * cc) * questions / max(1.0, questions - 1)
        half = Z95 * sqrt(spread) / battles
        return {"ci95_by_question": [100 * (share - half), 100 * (share + half)]}


def _style_difference(style: Row) -> list[float]:
    try:
        return bradley_terry.style_difference(style["model"], style["baseline"])
    except (KeyError, TypeError) as error:
        raise DataError(f"style: {error}: must have model and baseline with {', '.join(bradley_terry.STYLE)}") from None


class ArenaJudge(Scorer):
    """Reads the verdict in a judge's text: `judgment`, or `tail`, its end."""

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._verdicts: Counter[str] = Counter()

    def add(self, row: Row) -> None:
        """Read a row."""
        verdict = verdict_of(typed(row, str, "judgment", "tail", "output"))
        self._verdicts[verdict or "unparsed"] += 1
        self.compare(row, {"score": verdict})

    def metrics(self) -> dict[str, Any]:
        """Return the share of each verdict in percent."""
        return {name: 100 * count / self.n for name, count in sorted(self._verdicts.items())}
