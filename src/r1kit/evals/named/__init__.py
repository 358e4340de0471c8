"""Benchmarks by name: their data, their authors' programs, the list of them and the paper's numbers."""
