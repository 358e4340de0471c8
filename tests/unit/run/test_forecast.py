"""Estimates of the remaining time."""

from __future__ import annotations

import pytest

from r1kit.plan import Plan, StagePlan
from r1kit.run.forecast import forecast, format_remaining


def test_forecast_scales_with_finished_stages_of_the_same_kind() -> None:
    rl = [
        StagePlan(name, "rl", (), {"completions": n, "steps": 7}, 10, {})
        for name, n in (("a", 100), ("b", 200), ("c", 400))
    ]
    planned = Plan("p", 0, (*rl, StagePlan("d", "sft", (), {"epochs": 2}, 10, {})))
    assert forecast(planned, {"a": 1.0, "b": 5.0}) == {"c": pytest.approx(8.0), "d": None}
    assert forecast(planned, {}) == dict.fromkeys("abcd")


@pytest.mark.parametrize(
    ("remaining", "text"),
    [
        ({}, "0:00"),
        ({"a": 90.0, "b": 30.0}, "about 2:00"),
        ({"a": 90.0, "b": None}, "about 1:30 and 1 stage without an estimate"),
        ({"a": None, "b": None}, "2 stages without an estimate"),
    ],
)
def test_remaining_time_counts_stages_without_an_estimate(remaining: dict[str, float | None], text: str) -> None:
    assert format_remaining(remaining) == text
