"""Identify the languages of a text; see `identify`."""
