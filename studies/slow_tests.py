"""A reward that takes as long as a test suite in a container elsewhere: the worker waits and uses no core."""

from __future__ import annotations

import os
import time
from random import Random

from r1kit.rewards.reply import RewardInput

SECONDS = "SLOW_TESTS_SECONDS"  # environment variable: the median
SPREAD = 0.75  # of the logarithm: one in ten takes 2.6 times as long as the median, one in a hundred 5.7 times


def run(completion: RewardInput) -> float:
    """Wait. Equal completions wait equally long."""
    random = Random(f"{completion.problem.id}:{completion.text}")
    time.sleep(float(os.environ[SECONDS]) * random.lognormvariate(0, SPREAD))
    return 0.0
