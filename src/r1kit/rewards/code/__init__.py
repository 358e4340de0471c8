"""Rewards for programs: `grade` runs the program of a response on its tests, in the sandbox."""

from r1kit.rewards.code.grading import LIMITS, Mode, grade

__all__ = ["LIMITS", "Mode", "grade"]
