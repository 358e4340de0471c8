"""Sampling and scoring completions, for RL, curation and evaluation alike."""
