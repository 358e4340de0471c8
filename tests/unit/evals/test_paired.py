"""Differences pooled over runs and problems: against textbook values, known cases and simulated coverage."""

from __future__ import annotations

from math import sqrt
from statistics import stdev

import numpy as np
import pytest

from r1kit.evals.paired import Pooled, compare, pool, student95


def runs(values_RN: object) -> list[dict[str, float]]:
    """A matrix, runs by problems, as `pool` takes it."""
    return [{str(i): float(value) for i, value in enumerate(row)} for row in np.asarray(values_RN)]


def zeros(like: list[dict[str, float]]) -> list[dict[str, float]]:
    return [dict.fromkeys(run, 0.0) for run in like]


@pytest.mark.parametrize(
    ("freedom", "quantile"),
    [(1, 12.7062), (2, 4.3027), (3, 3.1824), (10, 2.2281), (100, 1.9840), (5_000, 1.9604), (1e9, 1.9600)],
)
def test_student_quantiles_are_those_of_the_tables(freedom: float, quantile: float) -> None:
    assert student95(freedom) == pytest.approx(quantile, abs=2e-4)


def test_one_run_is_the_paired_comparison() -> None:
    a, b = [1.0, 0.5, 0.75, 0.0, 1.0, 0.25], [0.5, 0.5, 0.25, 0.25, 0.5, 0.0]
    pooled, one = pool(runs([a]), runs([b])), compare(a, b)
    assert (pooled.difference, pooled.standard_error) == pytest.approx((one.difference, one.standard_error))
    assert pooled.problems == 6
    half = 2.5706 * one.standard_error  # Student's quantile for five degrees of freedom
    assert pooled.ci95 == pytest.approx((one.difference - half, one.difference + half), abs=1e-4)


def test_without_problems_only_runs_vary() -> None:
    pooled = pool([{"": 5.0}, {"": 7.0}, {"": 9.0}], [{"": 1.0}] * 3)
    assert pooled.difference == 6 and pooled.by_run == (4, 6, 8) and pooled.problems == 0
    assert pooled.standard_error == pytest.approx(stdev([4, 6, 8]) / sqrt(3))
    assert pooled.ci95 == pytest.approx((6 - 4.3027 * 2 / sqrt(3), 6 + 4.3027 * 2 / sqrt(3)), abs=1e-3)


def test_one_value_has_no_interval() -> None:
    assert pool([{"": 2.0}], [{"": 1.0}]) == Pooled(1.0, (1.0,), None, None, 0)


def test_pairing_removes_the_difficulty_of_problems() -> None:
    difficulty = np.linspace(0, 1, 50)
    low = runs([difficulty, difficulty])
    high = runs([difficulty + 0.1, difficulty + 0.1])
    assert pool(high, low).ci95 == pytest.approx((0.1, 0.1))
    other = [{f"other {key}": value for key, value in run.items()} for run in low]
    least, most = pool(high, other).ci95
    assert least < 0 < most, "other problems are not paired"


def test_only_problems_of_all_runs_count() -> None:
    pooled = pool([{"a": 1.0, "b": 1.0, "c": 1.0}, {"a": 1.0, "b": 1.0}], [{"b": 0.0, "a": 0.0, "d": 5.0}] * 2)
    assert pooled.problems == 2 and pooled.difference == 1


def test_runs_that_differ_widen_the_interval() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.1, (3, 400))
    same, apart = runs(noise), runs(noise + np.array([[-0.05], [0.0], [0.05]]))
    assert pool(apart, zeros(apart)).standard_error > 3 * pool(same, zeros(same)).standard_error


@pytest.mark.parametrize("seed_error", [0.0, 0.01, 0.05])
def test_intervals_cover_the_true_difference(seed_error: float) -> None:
    """Simulate runs, problems and their interaction; 95 of 100 intervals contain the true 0.3 or more."""
    rng, covered, draws = np.random.default_rng(1), 0, 400
    for _ in range(draws):
        effects = rng.normal(0, seed_error, (3, 1)) + rng.normal(0, 0.1, (1, 200)) + rng.normal(0, 0.15, (3, 200))
        high = runs(0.3 + effects)
        least, most = pool(high, zeros(high)).ci95
        covered += least <= 0.3 <= most
    assert covered / draws > 0.92


@pytest.mark.parametrize(("high", "low"), [([], []), ([{"a": 1.0}], []), ([{"a": 1.0}, {"b": 1.0}], [{"a": 0.0}] * 2)])
def test_what_cannot_be_compared_is_refused(high: list, low: list) -> None:
    with pytest.raises(ValueError, match=r"must be as many|no problem in common"):
        pool(high, low)
