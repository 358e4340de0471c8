"""Metrics of a run: the log files, the explanation of every metric, and the watchdogs that check them."""
