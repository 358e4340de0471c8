"""Compare two models on the same problems: the mean difference, its error, and tests that need no normal distribution.

Symbols: N problems, d_i the difference of the two models' mean scores on problem i.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb
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
