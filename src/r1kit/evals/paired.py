"""Compare two models on the same problems: the mean difference, its error, and tests that need no normal distribution.

Symbols: N problems, R runs with different seeds, d_i the difference of the two models' mean scores on problem i.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import comb, sqrt
from statistics import fmean

import numpy as np

from r1kit.evals.metrics import Z95, standard_error

FLIPS = 10_000  # random signs of the permutation test
EXACT = 13  # differences other than 0 whose 2^13 signs are all tried
BLOCK = 1 << 22  # signs drawn together
DETECTABLE = 2.8  # standard errors that 80 % power at the 5 % level needs: 1.96 + 0.84


@dataclass(frozen=True, slots=True)
class Paired:
    """The difference of two models on N problems, as shares from -1 to 1."""

    problems: int
    a: float  # mean score of the first model
    b: float
    difference: float  # a - b
    standard_error: float
    ci95: tuple[float, float]
    better_a: int  # problems on which the first model scores higher
    better_b: int
    p_value: float
    test: str
    minimum_detectable: float  # the smallest true difference that such a comparison finds in 80 % of all cases


def compare(a: Sequence[float], b: Sequence[float], *, binary: bool = False, seed: int = 0) -> Paired:
    """Return the paired difference of two models' scores on the same problems.

    The interval is the normal one (Miller 2024, arXiv 2411.00640, section 4.2). ValueError without problems.

    Args:
        a: Mean score of the first model on each problem.
        b: That of the second model, in the same order.
        binary: Whether each is one sample that is right (1) or wrong (0): tested by McNemar, else by flipping signs.
        seed: Seed of the flips.
    """
    if not a:
        raise ValueError("no problems: a comparison needs at least one that both models answered")
    differences = [x - y for x, y in zip(a, b, strict=True)]
    mean, error = fmean(differences), standard_error(differences)
    better_a, better_b = sum(d > 0 for d in differences), sum(d < 0 for d in differences)
    p_value = mcnemar(better_a, better_b) if binary else sign_flip_test(differences, seed)
    return Paired(
        problems=len(differences),
        a=fmean(a),
        b=fmean(b),
        difference=mean,
        standard_error=error,
        ci95=(mean - Z95 * error, mean + Z95 * error),
        better_a=better_a,
        better_b=better_b,
        p_value=p_value,
        test="exact McNemar" if binary else "sign-flip permutation",
        minimum_detectable=DETECTABLE * error,
    )


@dataclass(frozen=True, slots=True)
class Pooled:
    """The difference of two values, each measured in R runs on N problems."""

    difference: float  # high - low, the mean of the runs
    by_run: tuple[float, ...]
    standard_error: float | None  # None for one run without problems
    ci95: tuple[float, float] | None
    problems: int  # that both have, or else the fewer of both; 0 if one side has none


def pool(high: Sequence[Mapping[str, float]], low: Sequence[Mapping[str, float]]) -> Pooled:
    """Return high - low with a 95 % interval for other seeds and other problems of the same kind.

    Problems that both sides have in every run are paired: their differences are the values d_RN below. If there are
    none, as for problems of two levels, each side has a part of its own. Runs and problems are crossed random effects,
    because every run has the same problems. The variance of the mean is that of a two-way analysis of variance,

        var(run means) / R + var(problem means) / N - residual variance / (R N),

    and the quantile Student's with Satterthwaite's degrees of freedom: about R - 1 where runs vary most, about N - 1
    where problems do. One run says nothing about other seeds, so its interval is that over problems.

    Args:
        high: Problem -> value, for each run. A single key, such as "", for a value that belongs to no problem.
        low: The same of the other side, with as many runs.
    """
    if not high or len(high) != len(low):
        raise ValueError(f"{len(high)} and {len(low)} runs: must be as many, at least one")
    if both := common_problems([*high, *low]):
        sides = [_matrix(high, both) - _matrix(low, both)]
    else:
        sides = [_matrix(runs, common_problems(runs)) for runs in (high, low)]
    problems = min(side.shape[1] for side in sides)
    if not problems:
        raise ValueError("no problem in common: the runs were evaluated on other data")
    means_R, *others = (side.mean(axis=1) for side in sides)
    by_run_R = means_R - others[0] if others else means_R
    mean, (variance, freedom) = float(by_run_R.mean()), _variance(by_run_R, sides)
    error = None if variance is None else sqrt(variance)
    half = None if error is None else student95(freedom) * error
    interval = None if half is None else (mean - half, mean + half)
    return Pooled(mean, tuple(map(float, by_run_R)), error, interval, problems if problems > 1 else 0)


def common_problems(runs: Sequence[Mapping[str, float]]) -> list[str]:
    """Return the problems that all runs have."""
    return [key for key in runs[0] if all(key in run for run in runs)]


def _matrix(runs: Sequence[Mapping[str, float]], keys: Sequence[str]) -> np.ndarray:
    """Return the values of these problems with a row for each run."""
    return np.array([[run[key] for key in keys] for run in runs], np.float64).reshape(len(runs), len(keys))


def _variance(by_run_R: np.ndarray, sides: Sequence[np.ndarray]) -> tuple[float | None, float]:
    """Return the variance of the mean difference and its degrees of freedom; None if nothing shows how it varies."""
    runs = len(by_run_R)
    parts = [(by_run_R.var(ddof=1) / runs, runs - 1)] if runs > 1 else []  # (variance, degrees of freedom)
    taken = 0.0  # residual variance that the parts contain twice
    for x_RN in (side for side in sides if side.shape[1] > 1):
        n = x_RN.shape[1]
        parts.append((x_RN.mean(axis=0).var(ddof=1) / n, n - 1))
        if runs > 1:
            residual = x_RN - x_RN.mean(axis=0) - x_RN.mean(axis=1, keepdims=True) + x_RN.mean()
            freedom = (runs - 1) * (n - 1)
            twice = float((residual**2).sum()) / freedom / (runs * n)
            taken += min(twice, parts[-1][0])
    if not parts:
        return None, 1.0
    variance = sum(part for part, _ in parts) - taken
    spread = sum(part**2 / freedom for part, freedom in parts)
    return float(variance), float(variance**2 / spread) if spread else 1.0


@lru_cache
def student95(freedom: float) -> float:
    """Return the 97.5th percentile of Student's t distribution.

    With t = sqrt(freedom) tan(angle), its density is proportional to cos(angle)^(freedom - 1).
    """
    if freedom > 10_000:
        return Z95
    angles = np.linspace(0, np.pi / 2, 200_001)
    density = np.cos(angles) ** (max(freedom, 1.0) - 1)
    mass = np.cumsum((density[1:] + density[:-1]) / 2)
    return float(sqrt(max(freedom, 1.0)) * np.tan(np.interp(0.95 * mass[-1], mass, angles[1:])))


def mcnemar(only_a: int, only_b: int) -> float:
    """Return the two-sided p-value of the exact McNemar test.

    Args:
        only_a: Problems that only the first model solves.
        only_b: Problems that only the second model solves.
    """
    n, fewer = only_a + only_b, min(only_a, only_b)
    one_sided: float = sum(comb(n, i) for i in range(fewer + 1)) / 2**n
    return min(1.0, 2 * one_sided)


def sign_flip_test(differences: Sequence[float], seed: int = 0) -> float:
    """Return the two-sided p-value of the mean difference under random signs.

    All signs are tried for up to EXACT differences other than 0. Else FLIPS draws: p = (1 + those at least as
    extreme) / (1 + FLIPS).
    """
    d_M = np.array([d for d in differences if d], np.float64)
    observed = abs(d_M.sum()) * (1 - 1e-9)  # sums in another order differ in the last digits
    if len(d_M) <= EXACT:
        signs_SM = 1 - 2.0 * ((np.arange(2 ** len(d_M))[:, None] >> np.arange(len(d_M))) & 1)
        return float((np.abs(signs_SM @ d_M) >= observed).mean())
    rng, rows, extreme = np.random.default_rng(seed), max(1, BLOCK // len(d_M)), 0
    for start in range(0, FLIPS, rows):
        flips_RM = rng.integers(0, 2, (min(rows, FLIPS - start), len(d_M)), dtype=np.int8)
        extreme += int((np.abs(d_M.sum() - 2.0 * (flips_RM @ d_M)) >= observed).sum())
    return (1 + extreme) / (1 + FLIPS)
