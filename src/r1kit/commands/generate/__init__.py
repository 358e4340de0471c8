"""Commands that generate texts."""
