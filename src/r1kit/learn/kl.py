"""The KL penalty: estimators of KL(policy || reference) from sampled tokens.

To add an estimator, write a function of (logp, ref_logp), enter it in `ESTIMATORS`, and give `RL` in config.py a key
that `KLPenalty.from_config` reads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from r1kit.config import RL


def k3(logp: Tensor, ref_logp: Tensor) -> Tensor:
    """Estimate KL as pi_ref/pi - log(pi_ref/pi) - 1: unbiased and never negative (R1, eq. 2)."""
    difference = ref_logp - logp
    return difference.exp() - difference - 1


def k1(logp: Tensor, ref_logp: Tensor) -> Tensor:
    """Estimate KL as log(pi/pi_ref): unbiased, but negative for some tokens (PPO; DeepSeekMath, eq. 2)."""
    return logp - ref_logp


KLEstimator = Callable[[Tensor, Tensor], Tensor]
ESTIMATORS: Mapping[str, KLEstimator] = {"k3": k3}


@dataclass(frozen=True, slots=True)
class KLPenalty:
    """The penalty in the loss, not in the reward (R1 supplement A.3): `beta` times the estimate."""

    beta: float
    estimate: KLEstimator = k3

    @classmethod
    def from_config(cls, config: RL) -> KLPenalty:
        """Return the penalty that a recipe asks for."""
        return cls(config.beta, ESTIMATORS["k3"])

    def __call__(self, logp: Tensor, ref_logp: Tensor) -> Tensor:
        """Return the penalty per element, in the shape of `logp`."""
        return self.beta * self.estimate(logp, ref_logp)
