"""Verifiers for programs: `grade_program` runs the program of a response on its tests, in the sandbox."""

from r1kit.rewards.code.grade import LIMITS, Mode, grade_program, mode_of
from r1kit.rewards.code.program import language_of

__all__ = ["LIMITS", "Mode", "grade_program", "language_of", "mode_of"]
