"""How far runs have come, read from their files alone: without torch, and without the recipe's code."""
