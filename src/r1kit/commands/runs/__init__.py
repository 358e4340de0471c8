"""Commands that read the directories of runs."""
