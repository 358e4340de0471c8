from __future__ import annotations

from collections.abc import Callable

import pytest
from learner_batches import config

from r1kit.learn.learner import Learner


@pytest.fixture
def learner(make_decoder) -> Callable[..., Learner]:
    """Make learners, called with changes to the config. The reference model differs from the policy."""

    def make(**changes: object) -> Learner:
        made = Learner(make_decoder(0), config(**changes))
        if made.reference:
            for weight, other in zip(made.reference.parameters(), make_decoder(1).parameters(), strict=True):
                weight.data.lerp_(other, 0.05)
        return made

    return make
