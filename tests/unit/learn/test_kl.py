"""KL estimators and the penalty made of them."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from r1kit.config import RL
from r1kit.learn.kl import KLPenalty, k3


@given(st.lists(st.floats(-20, 0), min_size=1, max_size=8), st.floats(-10, 10))
def test_k3_is_positive_except_at_zero_difference(logps, shift):
    logp = torch.tensor(logps, dtype=torch.float64)
    assert (k3(logp, logp + shift) > -1e-15).all(), "negative by more than rounding"
    assert (k3(logp, logp) == 0).all()
    if abs(shift) > 1e-3:
        assert (k3(logp, logp + shift) > 0).all()


def test_k3_is_unbiased():
    generator = torch.Generator().manual_seed(0)
    p, q = torch.softmax(torch.randn(2, 12, generator=generator, dtype=torch.float64), dim=-1)
    kl = float((p * (p.log() - q.log())).sum())
    # The exact expectation, then the mean of samples.
    assert float((p * k3(p.log(), q.log())).sum()) == pytest.approx(kl, rel=1e-12)
    sampled = torch.multinomial(p, 200_000, replacement=True, generator=generator)
    values = k3(p.log()[sampled], q.log()[sampled])
    assert abs(float(values.mean()) - kl) < 4 * float(values.std()) / 200_000**0.5


def test_penalty_scales_the_chosen_estimator():
    logp, ref = torch.tensor([-1.0, -2.0]), torch.tensor([-1.5, -2.0])
    k1 = KLPenalty(0.1, lambda logp, ref: logp - ref)
    torch.testing.assert_close(k1(logp, ref), torch.tensor([0.05, 0.0]))
    recipe = RL(kind="rl", model="m", prompts=["world:arithmetic"], beta=0.25)
    torch.testing.assert_close(KLPenalty.from_config(recipe)(logp, ref), 0.25 * k3(logp, ref))
