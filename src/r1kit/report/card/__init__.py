"""The model card of a stage: what made it, what was measured, and how to use it, read from the files of a run."""
