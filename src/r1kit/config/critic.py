"""The critic of PPO."""

from __future__ import annotations

from r1kit.config.base import Optimizer


class Critic(Optimizer):
    """The critic of PPO and its optimizer. By default, its optimizer is that of the policy."""

    model: str | None = None
    """Reward model that the critic starts from: an earlier preference stage, or its directory. By default the critic
    starts as the policy with a new head, and all its values are 0. Paper: undisclosed."""
