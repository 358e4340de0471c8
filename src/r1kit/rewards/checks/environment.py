"""The score that the environment of an episode gives, as a reward and as the accuracy of its problems.

See `environments.base.Episode.score`.
"""

from __future__ import annotations

from r1kit.rewards.checks.base import Reward, ScoreRequest, Verifier
from r1kit.rewards.reply import Reply
from r1kit.rewards.verdict import Verdict
from r1kit.types import Problem

CUT_OFF = "cut off before the environment gave a score"


def _judge(request: ScoreRequest) -> Verdict:
    if request.environment is None and request.truncated:
        return Verdict(0.0, None, CUT_OFF, "wrong")
    if request.environment is None:
        raise ValueError("no environment gave this completion a score")
    return Verdict(request.environment, None, "score of the environment", "right")


def _threshold(problem: Problem) -> float:
    return float(problem.extra.get("pass_threshold", 1.0))


def _judge_score(threshold: float, reply: Reply) -> Verdict:
    if (score := reply.environment) is None:
        if reply.truncated:
            return Verdict(0.0, None, CUT_OFF, "wrong")
        return Verdict(0.0, None, "no environment gave a score: set the key environment", "infra_error")
    reason = f"score of the environment: {score:g}, right from {threshold:g}"
    return Verdict(min(1.0, max(0.0, score)), None, reason, "right" if score >= threshold else "wrong")


REWARD = Reward(_judge, from_row=None)
VERIFIER = Verifier(_threshold, _judge_score, extracts=False)
