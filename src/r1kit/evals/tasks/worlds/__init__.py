"""The generated worlds of tiny models."""
