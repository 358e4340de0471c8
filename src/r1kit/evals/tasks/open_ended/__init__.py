"""Open-ended questions: the program of the benchmark's authors compares the answers by a judge."""
