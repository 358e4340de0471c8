"""Commands that measure models and answers."""
