"""Preference pairs from a judge's comparisons, as the paper builds them for its helpful reward model.

    two answers -> a judge asked QUERIES times, in both orders -> clear preferences -> neither side longer

Pure functions; who the judge is, an endpoint or a rule, is the caller's business.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from r1kit.data.response import split_response
from r1kit.hashing import derive_seed

QUERIES = 4  # paper: 4, with the two answers' places drawn at random; here each order twice, so that places cancel
MARGIN = 1.0  # paper: |difference| > 1 is kept
LENGTH_STEP = 0.25  # ratios of lengths within a factor of 2 ** 0.25 count as the same

# (prompt, answer shown first, answer shown second, number of the query) -> how much better the first is: from
# 2 (much better) over 1, 0 (equal) and -1 to -2 (much worse).
Judge = Callable[[str, str, str, int], float]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two answers to one prompt, one of them clearly better."""

    prompt: str
    chosen: str
    rejected: str


def ask_judge(prompt: str, one: str, other: str, judge: Judge) -> float:
    """How much better `one` is than `other`, -2 to 2: the mean over all queries, half of them with places swapped."""
    straight = [judge(prompt, one, other, query) for query in range(0, QUERIES, 2)]
    swapped = [-judge(prompt, other, one, query) for query in range(1, QUERIES, 2)]
    return fmean(straight + swapped)


def clear_pair(prompt: str, one: str, other: str, difference: float) -> Pair | None:
    """The pair, or None when the judge's mean difference is too small to learn from."""
    if abs(difference) <= MARGIN:
        return None
    return Pair(prompt, one, other) if difference > 0 else Pair(prompt, other, one)


def match_lengths(pairs: Sequence[Pair], seed: int) -> list[Pair]:
    """The largest part of the pairs in which length tells nothing, in their order.

    For every ratio of lengths as many pairs stay whose chosen answer is the longer one as pairs whose rejected one is,
    so the lengths are matched over the data set (paper) and preferring the longer answer is right half of the time.
    Lengths are those of summaries, which is what the reward model reads.
    """
    sides: dict[int, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
    kept: list[int] = []
    for i, pair in enumerate(pairs):
        ratio = math.log2(_length(pair.chosen) / _length(pair.rejected)) / LENGTH_STEP
        if ratio == 0:
            kept.append(i)
        else:
            sides[int(abs(ratio))][ratio > 0].append(i)
    for shorter, longer in sides.values():
        fewer = min(len(shorter), len(longer))
        for side in (shorter, longer):
            kept += sorted(side, key=lambda i: derive_seed("lengths", seed, pairs[i].prompt, i))[:fewer]
    return [pairs[i] for i in sorted(kept)]


def _length(response: str) -> int:
    return max(1, len(split_response(response, think_open=False).summary))
