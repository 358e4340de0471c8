"""Preference pairs from a judge's comparisons, as the paper builds them for its helpful reward model.

    1. Ask a judge QUERIES times to compare two answers, half of the time in swapped order.
    2. Keep pairs with a clear preference.
    3. Match lengths, so that longer answers are not preferred.

Pure functions. The caller provides the judge: a language model or a rule.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from r1kit.data.response import split_response
from r1kit.hashing import derive_seed

QUERIES = 4  # paper: 4 in random order; here twice in each order, so that position bias cancels
MARGIN = 1.0  # paper: pairs with |difference| > 1 are kept
LENGTH_STEP = 0.25  # length ratios are binned by factors of 2 ** 0.25

# (prompt, first answer, second answer, query number) -> how much better the first is, from 2 (much better) over
# 0 (equal) to -2 (much worse).
Judge = Callable[[str, str, str, int], float]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two answers to one prompt, of which one is clearly better."""

    prompt: str
    chosen: str
    rejected: str


def ask_judge(prompt: str, one: str, other: str, judge: Judge) -> float:
    """Return how much better `one` is than `other`, from -2 to 2: the mean over all queries."""
    in_order = [judge(prompt, one, other, query) for query in range(0, QUERIES, 2)]
    swapped = [-judge(prompt, other, one, query) for query in range(1, QUERIES, 2)]
    return fmean(in_order + swapped)


def clear_pair(prompt: str, one: str, other: str, difference: float) -> Pair | None:
    """Return the pair, or None when the mean difference is not above MARGIN."""
    if abs(difference) <= MARGIN:
        return None
    return Pair(prompt, one, other) if difference > 0 else Pair(prompt, other, one)


def match_lengths(pairs: Sequence[Pair], seed: int) -> list[Pair]:
    """Return the largest subset of pairs, in order, in which length does not predict the preference.

    In every bin of length ratios, as many pairs have a longer chosen as a longer rejected answer. So lengths are
    matched over the data set (paper), and preferring the longer answer is right half of the time. Lengths are those
    of summaries, which the reward model reads.
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
