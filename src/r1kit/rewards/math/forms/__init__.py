"""Vocabulary and special forms of final answers, which `check` reads before or after the general comparison."""
