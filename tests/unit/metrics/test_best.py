"""The best evaluation: the first of equal ones, never NaN, and no other metric's."""

from __future__ import annotations

import math

import pytest

from r1kit.metrics.best import Best


@pytest.mark.parametrize(
    ("metric", "values", "chosen"),
    [
        ("eval/sums/pass@1", [0.1, 0.5, 0.4, 0.5], 2),
        ("eval/sums/pass@1", [0.0, 0.0], 1),
        ("eval/loss", [2.0, 1.0, 1.5, 1.0], 2),
        ("eval/loss", [math.nan, 3.0, math.nan, math.inf], 2),
        ("eval/loss", [-math.inf, math.nan], None),
        ("eval/loss", [], None),
    ],
)
def test_best_of_several_evaluations(metric: str, values: list[float], chosen: int | None) -> None:
    best = Best(metric)
    for step, value in enumerate(values, start=1):
        best.offer(step, {metric: value, "eval/other": -value})
        best.offer(step, {})  # a step without an evaluation
    assert best.step == chosen
    assert best.summary() == ({"published_step": chosen, metric: values[chosen - 1]} if chosen else {})


def test_last_model_is_published_without_a_metric() -> None:
    best = Best(None)
    assert not best.offer(1, {"eval/loss": 1.0}) and best.summary() == {} == best.pack()
    assert best.instead_of(1) is None


def test_saved_best_is_restored_for_the_same_metric_only() -> None:
    best = Best("eval/loss")
    best.offer(4, {"eval/loss": 1.0})
    same, other = Best("eval/loss"), Best("eval/accuracy")
    for each in (same, other):
        each.restore(best.pack())
    assert (same.step, same.value, other.step) == (4, 1.0, None)
    assert not same.offer(5, {"eval/loss": 1.5}) and other.offer(5, {"eval/accuracy": 0.5})
    assert (same.instead_of(5), same.instead_of(4)) == (4, None)
