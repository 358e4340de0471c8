"""Compute how many problems and samples show a difference of some points, from the variances of finished evaluations.

    python benchmarks/power.py RUN/STAGE RUN/STAGE ... [--problems 174 600 1004] [--samples 4 8 16]

Every pair of the given evaluations is one comparison: two models on the same problems. The difference of two means over
N problems with k samples each, paired by problem, has the variance

    (between + within / k) / N

where `between` is the variance over problems of the difference of the two true success rates, and `within` the mean
over problems of both variances of a single sample. Prints the medians of both over all pairs, and for each N and k half
the width of the 95 % interval, in points.
"""

from __future__ import annotations

import argparse
import itertools
import json
from math import sqrt
from statistics import fmean, median, stdev, variance

from machine import describe, today

from r1kit.evals.compare import Scores, read_results
from r1kit.evals.metrics import Z95


def variances(a: Scores, b: Scores) -> tuple[float, float]:
    """Return (between, within) of the problems that both have; each needs two samples or more."""
    pairs = [(a[problem], b[problem]) for problem in a if problem in b]
    within = fmean(variance(x) + variance(y) for x, y in pairs)
    observed = variance([fmean(x) - fmean(y) for x, y in pairs])
    sampling = fmean(variance(x) / len(x) + variance(y) / len(y) for x, y in pairs)
    return max(0.0, observed - sampling), within


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("evaluations", nargs="+", metavar="RUN/STAGE")
    parser.add_argument("--benchmark", help="a benchmark of all of them; the first one by default")
    parser.add_argument("--problems", type=int, nargs="+", default=[174, 600, 1004])
    parser.add_argument("--samples", type=int, nargs="+", default=[4, 8, 16])
    given = parser.parse_args()
    if len(given.evaluations) < 2:
        parser.error("give two evaluations or more")
    results = [read_results(name) for name in given.evaluations]
    scores = [result.scores[given.benchmark or next(iter(result.scores))] for result in results]
    means = [fmean(map(fmean, own.values())) for own in scores]
    pairs = [variances(a, b) for a, b in itertools.combinations(scores, 2)]
    between, within = (median(column) for column in zip(*pairs, strict=True))
    half = {
        f"{n} x {k}": round(100 * Z95 * sqrt((between + within / k) / n), 2)
        for n in given.problems
        for k in given.samples
    }
    print(f"{describe()}, {today()}: {len(pairs)} pairs of models on {len(scores[0])} problems")
    print(f"pass@1 {100 * fmean(means):.1f} %, standard deviation between models {100 * stdev(means):.2f} points")
    print(f"between: {sqrt(between):.3f} squared; within: {within:.4f}")
    for size, width in half.items():
        print(f"  {size:>9}: +-{width:.2f} points")
    print(json.dumps({"bench": "power", "between": between, "within": within, "half_width_points": half}))


if __name__ == "__main__":
    main()
