"""How long a stage still takes, from its first steps."""

from __future__ import annotations

import pytest

from r1kit.metrics.pace import seconds_left


def rl_rows(steps: int, per_rollout: int, eval_every: int) -> list[dict[str, float]]:
    """Rows of a stage whose first update takes 9 seconds, other updates 2, rollouts 40 and evaluations 30."""
    rows = []
    for step in range(1, steps + 1):
        row = {"step": step, "time/update": 9.0 if step == 1 else 2.0}
        if (step - 1) % per_rollout == 0:
            row["time/rollout"] = 38.0  # and 2 for rewards
        if eval_every and step % eval_every == 0:
            row["time/eval"] = 30.0
        sampled = 40.0 if "time/rollout" in row else 0.0
        rows.append({**row, "time/step": row["time/update"] + sampled + row.get("time/eval", 0.0)})
    return rows


@pytest.mark.parametrize(("per_rollout", "eval_every"), [(1, 0), (16, 0), (16, 10), (4, 2), (1, 1)])
def test_forecast_after_three_steps_is_within_30_percent(per_rollout: int, eval_every: int) -> None:
    rows = rl_rows(160, per_rollout, eval_every)
    expected = sum(row["time/step"] for row in rows[3:])
    evaluations = 1 / eval_every if eval_every else 0.0
    assert seconds_left(rows[:3], 160, 3, per_rollout, evaluations, 30 / 40) == pytest.approx(expected, rel=0.05)


def test_stage_without_rollouts_is_forecast_from_its_mean() -> None:
    rows = [{"step": 20, "time/step": 10.0}, {"step": 40, "time/step": 14.0}, {"step": 0, "eval/x": 1.0}]
    assert seconds_left(rows[:2], 100, 40) == pytest.approx(36.0)
    assert seconds_left([], 100, 0) is None and seconds_left(rows[2:], 100, 0) is None
    assert seconds_left(rows[:2], 100, 120) == 0
