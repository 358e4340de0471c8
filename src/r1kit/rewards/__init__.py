"""Verifiers and rewards: score completions by rule, by running programs in a sandbox, or by a judge."""
