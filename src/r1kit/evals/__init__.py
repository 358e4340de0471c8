"""Evaluation: benchmarks and their metrics, and the filters and statistics of curated data."""
