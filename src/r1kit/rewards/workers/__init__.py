"""Worker processes that score completions."""
