"""Codeforces: the rating of a model from its verdicts and the standings of contests (CodeElo, arXiv 2501.01257)."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import sqrt
from statistics import fmean, stdev
from typing import Any

import numpy as np
from numpy.typing import NDArray

from r1kit.data.store import DataError
from r1kit.evals.metrics import Z95
from r1kit.evals.scoring.base import Options, Row, Scorer, strings, typed
from r1kit.evals.scoring.base import field as field_of
from r1kit.hashing import derive_seed

ACCEPTED = "AC"
MAX_ATTEMPTS = 8
MIN_RATED = 201  # contestants with a rating; smaller contests are skipped
PENALTY, PENALTY_WITHOUT_POINTS = 50, 10  # of a failed attempt
MARGIN = 100  # a rating is less than the best contestant's plus this
DRAWS = 200  # random orders of a problem's samples
SEED = 0
# (rating, percentile of human contestants): the pairs that the paper's tables print. Their population is not published.
PAPER_PERCENTILES = (
    *((717, 20.3), (759, 23.6), (1134, 58.7), (1444, 80.4), (1534, 84.5), (1687, 90.5)),
    *((1691, 90.6), (1746, 92.1), (1820, 93.4), (2029, 96.3), (2061, 96.6)),
)


@dataclass
class Contest:
    """The problems of a contest, and the standings of its official contestants."""

    name: str
    points: Mapping[str, float | None]
    """Problem index, such as "A" -> points; None where a problem counts one and time is a penalty."""
    standings: Sequence[tuple[float, float]]
    """(points, penalty) of each contestant."""
    old_ratings: NDArray[np.float64]
    """Ratings before the contest of those who had one."""
    _rating_of_rank: dict[int, int] = field(default_factory=dict)

    def rating(self, attempts: Mapping[str, Sequence[str]]) -> int:
        """Return the rating that explains a result: the largest at which the expected rank is not better.

        Args:
            attempts: Problem index -> verdicts in their order; those after MAX_ATTEMPTS do not count.
        """
        points = penalty = 0.0
        for index, worth in self.points.items():
            verdicts = list(attempts.get(index, ()))[:MAX_ATTEMPTS]
            if ACCEPTED not in verdicts:
                continue
            failed = verdicts.index(ACCEPTED)
            points += 1 if worth is None else max(0.0, worth - PENALTY * failed)
            penalty += PENALTY_WITHOUT_POINTS * failed if worth is None else 0
        if points == 0:
            return 0
        rank = sum((-p, q) <= (-points, penalty) for p, q in self.standings)
        if rank not in self._rating_of_rank:
            self._rating_of_rank[rank] = self._rating(rank)
        return self._rating_of_rank[rank]

    def _rating(self, rank: int) -> int:
        low, high = 0, int(self.old_ratings.max()) + MARGIN  # the rating is in [low, high)
        while high - low > 1:
            middle = (low + high) // 2
            expected = 1 + (1 / (1 + 10 ** ((middle - self.old_ratings) / 400))).sum()
            low, high = (middle, high) if expected >= rank else (low, middle)
        return low


def percentile_of(rating: float) -> float:
    """Return the percentile of a rating on the paper's scale, interpolated between its pairs and clamped."""
    ratings, percentiles = zip(*PAPER_PERCENTILES, strict=True)
    return float(np.interp(rating, ratings, percentiles))


class Codeforces(Scorer):
    """Rates `verdicts`, {"1A": ["WA", "AC"]}, by contests: `contest_id`, `problems` and `rows`, the standings.

    Verdicts are those of samples, whose order is random; under the name `attempts` they count in their order. They
    stand in a row of their own, or in the contest's.
    """

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._verdicts: dict[str, list[str]] = {}
        self._contests: list[Contest] = []
        self._skipped: list[str] = []
        self._in_order = False

    def add(self, row: Row) -> None:
        """Keep the verdicts or the contest of a row."""
        contest = str(row["contest_id"]) if "contest_id" in row else None
        for name in ("verdicts", "attempts"):
            if name in row:
                self._in_order |= name == "attempts"
                verdicts = typed(row, dict, name)
                self._verdicts |= {_key(contest, key): strings(verdicts, key) for key in verdicts}
        if contest is None:
            field_of(row, "verdicts", "attempts", "contest_id")
            return
        self.n += 1
        read = _contest(contest, row)
        if len(read.old_ratings) < MIN_RATED:
            self._skipped.append(contest)
        else:
            self._contests.append(read)

    def agreement(self) -> float | None:
        """Return None; DataError if a comparison was asked for, as contests have no recorded verdict of a rating."""
        if self.against is not None:
            raise DataError("codeforces has no recorded ratings to compare with: leave out --against")
        return None

    def metrics(self) -> dict[str, Any]:
        """Return the mean rating over contests with its interval of 95 %, and its percentile on the paper's scale."""
        if not self._contests or not self._verdicts:
            missing = "verdicts" if self._contests else f"contests with at least {MIN_RATED} rated contestants"
            raise DataError(f"no {missing}: codeforces needs standings of contests and verdicts, in one file or folder")
        ratings = {contest.name: self._mean_rating(contest) for contest in self._contests}
        rating = fmean(ratings.values())
        half = Z95 * stdev(ratings.values()) / sqrt(len(ratings)) if len(ratings) > 1 else None
        return {
            "rating": rating,
            "ci95": None if half is None else [rating - half, rating + half],
            "percentile": percentile_of(rating),
            "contests": ratings,
            **({"skipped_contests": self._skipped} if self._skipped else {}),
        }

    def _mean_rating(self, contest: Contest) -> float:
        verdicts = {index: self._verdicts.get(_key(contest.name, index), []) for index in contest.points}
        if self._in_order:
            return float(contest.rating(verdicts))
        order = random.Random(derive_seed("codeforces", SEED, contest.name))
        draws = [{index: order.sample(all_, len(all_)) for index, all_ in verdicts.items()} for _ in range(DRAWS)]
        return fmean(contest.rating(draw) for draw in draws)


def _key(contest: str | None, index: str) -> str:
    """Return "1A" for the problem A of contest 1, given with or without the contest."""
    return index if contest is None or index.startswith(contest) else f"{contest}{index}"


def _contest(name: str, row: Row) -> Contest:
    try:
        points = {str(problem["index"]): problem.get("points") for problem in typed(row, list, "problems")}
        rows = typed(row, list, "rows")
        standings = [(float(each["points"]), float(each["penalty"])) for each in rows]
        ratings = [float(each["old_rating"]) for each in rows if each.get("old_rating") is not None]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"contest {name}: {type(error).__name__} {error}: problems must have index, and rows points, penalty and "
            "old_rating"
        ) from error
    return Contest(name, points, standings, np.array(ratings))
