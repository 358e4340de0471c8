"""The reward that the environment of an episode gives; see `environments.base.Episode.score`."""

from __future__ import annotations

from r1kit.rewards.checks.base import Reward, ScoreRequest
from r1kit.rewards.verdict import Verdict


def _judge(request: ScoreRequest) -> Verdict:
    if request.environment is None and request.truncated:
        return Verdict(0.0, None, "cut off before the environment gave a score", "wrong")
    if request.environment is None:
        raise ValueError("no environment gave this completion a score")
    return Verdict(request.environment, None, "score of the environment", "right")


REWARD = Reward(_judge, from_row=None)
