"""Language models as judges of benchmarks: a prompt and a reading of verdicts for each, and one way to ask."""
