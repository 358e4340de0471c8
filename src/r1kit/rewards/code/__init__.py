"""Rewards for programs: `grade` runs the program of a response on its tests, in the sandbox."""

from r1kit.rewards.code.grading import LIMITS, Mode, grade, mode_of
from r1kit.rewards.code.program import language_of

__all__ = ["LIMITS", "Mode", "grade", "language_of", "mode_of"]
