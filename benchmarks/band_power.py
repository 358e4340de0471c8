"""Compute how often a band confirms that two equally good models are equal, or that one is at most so much worse.

    python benchmarks/band_power.py [--seeds 3 5] [--deviation 1.0]

Draws the differences of two models of independent trainings: for each seed a difference of both models' accuracy
(`deviation` is the standard deviation between trainings of one recipe, in points), and for each problem and seed what
`benchmarks/power.py` estimates (between, within). Judges them as `r1kit claims` does and prints the share of draws
whose 95 % interval lies above -margin, and the share of those that lie between -margin and +margin. The defaults are
the figures of docs/evaluation.md.
"""

from __future__ import annotations

import argparse
import json
from math import sqrt

import numpy as np
from machine import describe, today

from r1kit.evals.paired import pool

MARGINS = (1, 2, 3, 4, 5, 6)  # points


def intervals(seeds: int, deviation: float, residual: float, problems: int, draws: int) -> np.ndarray:
    """Return the ends of the 95 % interval of each draw, [draws, 2], in points."""
    rng = np.random.default_rng(0)
    ends = []
    for _ in range(draws):
        by_seed_R = rng.normal(0.0, sqrt(2) * deviation, seeds)
        values_RN = by_seed_R[:, None] + rng.normal(0.0, residual, (seeds, problems))
        high = [dict(enumerate(row)) for row in values_RN.tolist()]
        ends.append(pool(high, [dict.fromkeys(row, 0.0) for row in high]).ci95)
    return np.array(ends)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[3, 5])
    parser.add_argument("--deviation", type=float, default=1.0, help="points")
    parser.add_argument("--between", type=float, default=0.173**2)
    parser.add_argument("--within", type=float, default=0.064)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--problems", type=int, default=1004)
    parser.add_argument("--draws", type=int, default=2000)
    given = parser.parse_args()
    residual = 100 * sqrt(given.between + given.within / given.samples)
    print(f"{describe()}, {today()}: {given.draws} draws, {given.problems} problems")
    shares: dict[str, dict[str, list[float]]] = {}
    for seeds in given.seeds:
        low_D, high_D = intervals(seeds, given.deviation, residual, given.problems, given.draws).T
        print(f"{seeds} seeds: half width {np.median(high_D - low_D) / 2:.2f} points (median)")
        for margin in MARGINS:
            not_worse, equal = float((low_D > -margin).mean()), float(((low_D > -margin) & (high_D < margin)).mean())
            shares.setdefault(str(seeds), {})[str(margin)] = [not_worse, equal]
            print(f"  margin {margin}: not worse {100 * not_worse:3.0f} %, equal {100 * equal:3.0f} %")
    print(json.dumps({"bench": "band_power", "shares": shares}))


if __name__ == "__main__":
    main()
