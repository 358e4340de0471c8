"""Identify the language of a question or of reasoning; see `identify`."""
