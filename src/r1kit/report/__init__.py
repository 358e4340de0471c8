"""The report of a run: reads the run's plain files and writes one HTML page, or tables for the terminal.

No other package depends on it, apart from the command line.
"""
