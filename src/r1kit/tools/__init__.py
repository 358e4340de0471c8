"""Tools that a model may call: their descriptions, the calls in a completion, and what a call returns."""
