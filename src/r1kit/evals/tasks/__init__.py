"""The benchmarks, one file each, in folders by subject. `evals/task.py` finds them by their names."""
