"""How a step's time divides among the paper's four modules."""

from __future__ import annotations

import pytest

from r1kit.metrics.modules import module_times


def test_seconds_of_the_trainer_add_up_to_its_time() -> None:
    one = {"step": 1, "time/rollout": 4.0, "time/grade": 1.5, "time/reward_models": 1.0, "time/update": 3.0}
    one |= {"time/reference": 0.5, "time/step": 9.0, "time/eval": 0.25}
    two = {"step": 2, "time/update": 2.0, "time/reference": 0.5, "time/step": 2.0, "time/save": 1.0}
    times = module_times([{"step": 0, "eval/x": 1.0}, one, two])
    assert {time.name: time.seconds for time in times} == {
        "rollout": 2.0,
        "inference": 1.0,
        "rule-based rewards": 0.25,
        "training": 2.0,
        "evaluation": 0.125,
        "checkpoints": 0.5,
        "other": 0.125,
    }
    assert sum(time.share for time in times) == pytest.approx(1) and not any(time.overlapped for time in times)


def test_overlapped_seconds_count_on_their_own() -> None:
    row = {"step": 1, "time/rollout": 0.0, "time/grade": 0.5, "time/update": 2.0, "time/step": 2.5}
    row |= {"time/overlapped/rollout": 3.0, "time/overlapped/grade": 1.0}
    row |= {
        "time/grading/math": 1.5,
        "time/grading/code": 4.0,
        "time/grading/failed": 7.0,
        "time/grading/restarts": 9.0,
    }
    overlapped = {time.name: time.overlapped for time in module_times([row]) if time.overlapped}
    assert overlapped == {"rollout": 3.0, "rule-based rewards": 5.0}


def test_stage_without_rollouts_has_no_modules() -> None:
    assert module_times([{"step": 1, "time/step": 2.0, "time/data": 1.0}]) == []
