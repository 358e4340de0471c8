"""Preference pairs from a judge's comparisons."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r1kit.data.pairs import Pair, ask_judge, clear_pair, match_lengths


def test_judge_is_asked_in_both_orders_so_that_position_bias_cancels() -> None:
    queries = []

    def prefers_the_first(prompt: str, first: str, second: str, query: int) -> float:
        queries.append((first, query))
        return 2.0 if first == "good" else 1.0  # the first answer is better, "good" even more so

    assert ask_judge("q", "good", "bad", prefers_the_first) == 0.5
    assert queries == [("good", 0), ("good", 2), ("bad", 1), ("bad", 3)]


@pytest.mark.parametrize(
    ("difference", "pair"),
    [
        (0.5, None),
        (1.0, None),
        (1.25, Pair("q", "good", "bad")),
        (-1.0, None),
        (-1.5, Pair("q", "bad", "good")),
    ],
)
def test_only_clear_preferences_become_pairs(difference: float, pair: Pair | None) -> None:
    assert clear_pair("q", "good", "bad", difference) == pair


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 60), st.integers(1, 60)), max_size=60), st.integers(0, 3))
def test_matched_lengths_do_not_predict_the_preference(lengths: list[tuple[int, int]], seed: int) -> None:
    pairs = [Pair(f"{i}", "<think>?</think>" + "c" * c, "r" * r) for i, (c, r) in enumerate(lengths)]
    kept = match_lengths(pairs, seed)
    sizes = [(pair.chosen.count("c"), pair.rejected.count("r")) for pair in kept]
    assert sum(c > r for c, r in sizes) == sum(c < r for c, r in sizes)
    assert [int(pair.prompt) for pair in kept] == sorted({int(pair.prompt) for pair in kept}), "the order is kept"
    assert sum(c == r for c, r in sizes) == sum(c == r for c, r in lengths), "pairs of equal lengths are kept"
